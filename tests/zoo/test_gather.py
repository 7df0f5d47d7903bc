"""Claims about stages.zoo.gather."""

from dataclasses import replace

import pytest

from stages.lib.core.errors import MismatchError
from stages.zoo import embed, gather
from stages.zoo.records import Failure

ONE = replace(embed.failed(None), identity="a", preprocessing_hash="h", images=4, bytes=10, seconds=2.0)


def shard(computed, seconds, **changed):
    return replace(ONE, computed=computed, seconds_per_image=seconds, **changed)


def test_shards_of_features_are_added_up():
    whole = gather.embedded([shard(1, 0.5), shard(3, 0.1), replace(embed.failed(None), seconds=1.0)])
    assert (whole.images, whole.bytes, whole.computed, whole.seconds) == (8, 20, 4, 5.0)
    assert whole.seconds_per_image == pytest.approx((0.5 + 3 * 0.1) / 4)


def test_the_seconds_of_features_that_were_found_are_those_that_were_kept():
    assert gather.embedded([shard(0, 0.5), shard(0, 0.25)]).seconds_per_image == 0.375
    assert gather.embedded([shard(0, 0.5), shard(2, 0.25)]).seconds_per_image == 0.25
    assert gather.embedded([shard(0, None)]).seconds_per_image is None


def test_a_shard_that_failed_is_the_failure_of_all():
    failure = Failure(stage="embed", error="ModelError", reason="gone")
    assert gather.embedded([shard(1, 0.5), embed.failed(failure)]).failure == failure


def test_shards_of_different_models_are_refused():
    with pytest.raises(MismatchError, match="identity differs"):
        gather.embedded([shard(1, 0.5), shard(1, 0.5, identity="b")])

"""Which sentences are asked about, and what is shown with them."""

import lofi_grounding as fake
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.errors import DataError
from stages.lib.detect import shown


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 4), min_size=2), st.integers(0, 9))
def test_every_image_gets_one_of_another_patient_and_each_is_shown_once(numbers, seed):
    patients = {name: f"p{number}" for name, number in numbers.items()}
    most = max(list(patients.values()).count(one) for one in patients.values())
    if 2 * most > len(patients):
        with pytest.raises(DataError, match=f"found {most} of {len(patients)} images of one patient"):
            shown.instead(patients, seed)
        return
    found = shown.instead(patients, seed)
    assert sorted(found) == sorted(found.values()) == sorted(patients)
    assert all(patients[name] != patients[other] for name, other in found.items())
    assert shown.instead(patients, seed) == found


@pytest.fixture
def made(tmp_path):
    return fake.make(tmp_path / "results", fake.study(), 28)


def own(made, most=99, seed=0):
    return shown.sentences(made.pairs, made.manifest, made.normalized, made.results, split="test", most=most, seed=seed)


def test_the_boxed_sentences_of_the_split_are_asked_by_image_and_number(made):
    assert [(one.image_id, one.number) for one in own(made)] == [(f"test{k}", n) for k in range(3) for n in range(2)]


def test_a_limit_draws_by_seed(made):
    few = {seed: [(one.image_id, one.number) for one in own(made, 3, seed)] for seed in range(6)}
    assert {len(ones) for ones in few.values()} == {3}
    assert all(ones == sorted(ones) for ones in few.values())
    assert len({tuple(ones) for ones in few.values()}) > 1
    assert few[0] == [(one.image_id, one.number) for one in own(made, 3, 0)]


def test_all_sentences_of_an_image_are_shown_the_same_other_one_and_nothing_else_changes(made):
    asked = own(made)
    shuffled = shown.with_images(asked, "shuffled", 1)
    for before, after in zip(asked, shuffled, strict=True):
        assert (before.image_id, before.number, before.text) == (after.image_id, after.number, after.text)
        assert after.shown_patient_id != before.patient_id
        assert after.png.name == f"{after.shown_id}.png"
    assert len({(one.image_id, one.shown_id) for one in shuffled}) == 3


def test_the_grey_image_is_grey_and_of_nobody(made):
    one = shown.with_images(own(made), "grey", 1)[0]
    assert (one.shown_id, one.shown_patient_id, one.png) == (None, None, None)
    assert np.unique(one.pixels(28)).tolist() == [128]
    assert one.pixels(28).shape == (28, 28)


def test_a_split_without_boxes_is_refused(made):
    with pytest.raises(DataError, match="no sentence with boxes in the split val"):
        shown.sentences(made.pairs, made.manifest, made.normalized, made.results, split="val", most=1, seed=0)

"""Examples for grounders: their order, their draw, and which may not be shown."""

from dataclasses import replace
from pathlib import Path

import lofi_grounding as fake
import pyarrow as pa
import pytest

from stages.lib.core.errors import DataError
from stages.lib.detect import demonstrations
from stages.lib.detect.demonstrations import Example, Pool


def examples(*names):
    """Examples of images by "image/number"."""
    made = {}
    for name in names:
        image, number = name.split("/")
        one = Example(image, int(number), f"p-{image}", f"finding {number}", ((0.1, 0.1, 0.2, 0.2),), Path(image))
        made.setdefault(image, []).append(one)
    return Pool({image: tuple(ones) for image, ones in made.items()}, {})


def names(found):
    return [one.name for one in found]


def test_the_pool_has_the_boxed_sentences_of_training_images_with_boxes_of_the_padded_square(tmp_path):
    made = fake.make(tmp_path / "results", fake.study(), 28)
    pool = demonstrations.pool(made.pairs, made.manifest, made.normalized, made.results)
    assert names(pool.examples) == ["train0/0", "train0/1", "train1/0"]
    # 80 x 100 pixels are padded by 10 columns on either side to 100 x 100
    assert pool.examples[0].boxes == (pytest.approx((0.2, 0.2, 0.4, 0.45)),)
    assert pool.examples[0].png == made.results / "normalized/train0.png"


def test_an_image_that_was_not_normalized_is_named(tmp_path):
    made = fake.make(tmp_path / "results", fake.study(), 28)
    with pytest.raises(DataError, match="image train0: found no size, or no normalized image"):
        demonstrations.pool(made.pairs, made.manifest, made.normalized.slice(0, 3), made.results)


def test_the_nearest_come_by_similarity_then_image_then_sentence():
    pool = examples("a/0", "a/1", "b/0", "c/0", "d/0")
    found = demonstrations.nearest(pool, [("c", 0.5), ("b", 0.9), ("a", 0.5), ("x", 0.99)], 4)
    assert names(found) == ["b/0", "a/0", "a/1", "c/0"]


def test_a_draw_is_decided_by_seed_and_image_has_no_example_twice_and_keeps_images_together():
    pool = examples(*(f"{name}/{number}" for name in "abcdefgh" for number in range(3)))
    found = demonstrations.drawn(pool.examples, 12, 1, "query")
    assert names(found) == names(demonstrations.drawn(pool.examples, 12, 1, "query"))
    assert names(found) != names(demonstrations.drawn(pool.examples, 12, 1, "other"))
    assert names(found) != names(demonstrations.drawn(pool.examples, 12, 2, "query"))
    assert len(set(names(found))) == 12
    images = [one.image_id for one in found]
    assert len([k for k in range(1, 12) if images[k] != images[k - 1]]) + 1 == len(set(images))


def test_examples_of_the_same_patient_of_the_image_and_of_its_duplicates_may_not_be_shown():
    pool = replace(examples("a/0", "b/0", "c/0"), groups={"b": "twins", "query": "twins"})
    a, b, c = pool.examples
    assert pool.may_be_shown(c, ["p-query"], ["query"])
    assert not pool.may_be_shown(c, ["p-c"], ["query"])
    assert not pool.may_be_shown(a, ["p-query"], ["a"])
    assert not pool.may_be_shown(b, ["p-query"], ["query"])
    assert pool.may_be_shown(c, ["p-query", None], ["query", None])


def test_neighbours_that_may_not_be_shown_are_refused_all_at_once():
    pool = examples("a/0", "b/0")
    found = {"q": [("a", 0.9), ("x", 0.8)], "r": [("b", 0.7)]}
    with pytest.raises(DataError) as told:
        demonstrations.check(pool, found, {"q": "p-a", "r": "p-r"})
    assert told.value.problems == (
        "image q: its neighbour a is of the same patient, or a duplicate",
        "image q: its neighbour x is no training image with boxes",
    )
    demonstrations.check(pool, {"r": found["r"]}, {"r": "p-r"})


def test_a_pool_that_shares_patients_with_what_is_asked_is_refused_and_all_are_named():
    pool = examples("a/0", "b/0", "c/0")
    with pytest.raises(DataError) as told:
        demonstrations.check_patients(pool, {"q": "p-b", "r": "p-a", "s": "p-s"})
    assert [line.split(":")[0] for line in told.value.problems] == ["patient p-a", "patient p-b"]
    demonstrations.check_patients(pool, {"s": "p-s"})


def test_without_a_pool_there_is_no_example():
    empty = pa.table({name: pa.array([], type_) for name, type_ in (("image_id", pa.string()),)})
    assert empty.num_rows == 0
    assert demonstrations.nearest(Pool({}, {}), [("a", 0.5)], 3) == []
    assert demonstrations.drawn((), 3, 0, "q") == []

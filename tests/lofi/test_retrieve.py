"""Claims about stages.lofi.retrieve, on a few vectors of two and three numbers by hand."""

import json

import lofi_vectors as fake
import numpy as np
import pytest
from lofi_vectors import unit

from stages.lib.core import sentence_tables, tables
from stages.lib.core.errors import PoolError, TableError
from stages.lofi import retrieve

PARAMS = retrieve.Params(found=2, neighbours=1)
BOX = [[0.0, 0.0, 5.0, 5.0]]
# Three test images; the second text of "a" is that of "b", and "c" is of the study of "b".
IMAGES = fake.images(
    [
        ("a", "pa", "test", unit(1, 0, 0)),
        ("b", "pb", "test", unit(0, 1, 0)),
        ("c", "pc", "test", unit(0, 0.9, 1)),
        ("d", "pd", "test", unit(0, 0, 1)),  # without a text
        ("t", "pt", "train", unit(1, 1, 1)),
    ]
)
TEXTS = fake.texts(
    [
        ("a", 0, "pa", "test", "Mass.", unit(1, 0, 0)),
        ("a", 1, "pa", "test", "Heart normal.", unit(0, 1, 0)),
        ("b", 0, "pb", "test", "heart Normal.", unit(0, 1, 0)),
        ("c", 0, "pc", "test", "Effusion.", unit(0, 1, 0.8)),
        ("t", 0, "pt", "train", "Mass.", unit(1, 0, 0)),
    ]
)
MANIFEST = fake.manifest(
    [{"image_id": name, "patient_id": f"p{name}", "study_id": {"b": "s", "c": "s"}.get(name)} for name in "abcdt"]
)


def found(column, direction, table=None):
    rows = (retrieve.ranks(IMAGES, TEXTS, MANIFEST, PARAMS) if table is None else table).to_pylist()
    return {(row["image_id"], row["part"]): row[column] for row in rows if row["direction"] == direction}


def test_images_look_for_texts_among_those_of_the_test_split():
    assert found("rank", "image_to_text") == {
        ("a", None): 1,
        ("b", None): 2,  # the equal text of "a" is as similar, and comes first
        ("c", None): 1,
    }
    assert found("tied", "image_to_text") == {("a", None): 0, ("b", None): 1, ("c", None): 0}
    assert set(found("n_pool", "image_to_text").values()) == {4}
    assert found("n_right", "image_to_text") == {("a", None): 2, ("b", None): 1, ("c", None): 1}


def test_texts_look_for_images_and_an_image_without_a_text_is_found_but_does_not_look():
    assert found("rank", "text_to_image") == {("a", 0): 1, ("a", 1): 4, ("b", 0): 1, ("c", 0): 1}
    assert set(found("n_pool", "text_to_image").values()) == {4}


def test_an_equal_text_whatever_its_case_and_an_image_of_the_same_study_are_right_where_one_is_lenient():
    assert found("rank_lenient", "image_to_text")[("b", None)] == 1
    assert found("n_right_lenient", "image_to_text") == {("a", None): 3, ("b", None): 3, ("c", None): 2}
    assert found("rank_lenient", "text_to_image")[("a", 1)] == 1
    assert found("n_right_lenient", "text_to_image") == {("a", 0): 1, ("a", 1): 2, ("b", 0): 3, ("c", 0): 2}


def test_the_first_ones_are_kept_with_their_cosines_ties_by_id():
    assert found("found", "image_to_text")[("b", None)] == ["a/1", "b/0"]
    assert found("similarities", "image_to_text")[("b", None)] == [1.0, 1.0]
    assert found("found", "text_to_image")[("a", 0)] == ["a", "b"]


def test_the_order_of_the_rows_changes_nothing():
    turned = retrieve.ranks(
        IMAGES.take([4, 2, 0, 1, 3]), TEXTS.take([3, 1, 4, 0, 2]), MANIFEST.take([1, 0, 2, 4, 3]), PARAMS
    )
    assert turned.equals(retrieve.ranks(IMAGES, TEXTS, MANIFEST, PARAMS))


def test_an_encoder_that_does_not_read_is_ranked_by_nothing():
    assert retrieve.ranks(IMAGES, TEXTS.slice(0, 0), MANIFEST, PARAMS).num_rows == 0


def test_a_text_without_its_image_is_refused():
    with pytest.raises(TableError, match="no vector of c, wanted one of each text"):
        retrieve.ranks(IMAGES.filter(np.array([True, True, False, True, True])), TEXTS, MANIFEST, PARAMS)


# Training images lie on a circle, from the nearest to the farthest of the test image "q".
CIRCLE = {name: unit(1, step) for step, name in enumerate(["near", "copy", "twin", "plain", "far"])}


def circle(**changed):
    """Vectors, pairs and manifest; `changed` are columns of the manifest by image."""
    rows = [("q", "pq", "test", unit(1, 0)), ("v", "pv", "val", unit(0, 1))]
    rows += [(name, f"p{name}", "train", vector) for name, vector in CIRCLE.items()]
    pairs = [
        {
            "image_id": name,
            "patient_id": patient,
            "split": split,
            "boxes": [] if name == "plain" else BOX,
        }
        for name, patient, split, _ in rows
    ]
    manifest = [{"image_id": name, "patient_id": patient, **changed.get(name, {})} for name, patient, _, _ in rows]
    return fake.images(rows), fake.pairs(pairs), fake.manifest(manifest)


def names(table, image):
    return [row["neighbour"] for row in table.to_pylist() if row["image_id"] == image]


def test_neighbours_are_training_images_with_boxes_the_most_alike_first():
    near = retrieve.neighbours(*circle(), retrieve.Params(found=1, neighbours=4))
    assert names(near, "q") == ["near", "copy", "twin", "far"]
    assert names(near, "v") == ["far", "twin", "copy", "near"]
    assert near["similarity"].to_pylist()[:2] == [1.0, round(2**-0.5, 6)]


def test_neither_an_image_of_equal_pixels_nor_a_near_duplicate_is_a_neighbour():
    same = circle(
        near={"pixel_sha256": "one"},
        q={"pixel_sha256": "one", "duplicate_group": "g"},
        twin={"duplicate_group": "g"},
    )
    near = retrieve.neighbours(*same, retrieve.Params(found=1, neighbours=2))
    assert names(near, "q") == ["copy", "far"]
    assert names(near, "v") == ["far", "twin"]


def test_more_neighbours_than_there_are_is_refused_with_their_number():
    with pytest.raises(PoolError, match=r"lofi\.retrieve\.neighbours(.|\n)*found 5, wanted at most 4"):
        retrieve.neighbours(*circle(), retrieve.Params(found=1, neighbours=5))


def test_reports_without_any_box_are_ranked_and_have_no_neighbours():
    images, pairs, manifest = circle()
    without = fake.pairs([{**row, "boxes": []} for row in pairs.to_pylist()])
    assert retrieve.neighbours(images, without, manifest, PARAMS).num_rows == 0


def test_a_pool_that_shares_patients_with_the_queries_is_refused():
    images, pairs, manifest = circle()
    rows = [
        (row["image_id"], "pq" if row["image_id"] == "far" else row["patient_id"], row["split"], row["vector"])
        for row in images.to_pylist()
    ]
    with pytest.raises(PoolError, match="found the patients pq among the training images and those that look"):
        retrieve.neighbours(fake.images(rows), pairs, manifest, PARAMS)


def test_a_pair_without_a_vector_is_refused():
    images, pairs, manifest = circle()
    with pytest.raises(TableError, match="no vector of q, wanted one of each pair"):
        retrieve.neighbours(images.filter(np.array(images["image_id"].to_pylist()) != "q"), pairs, manifest, PARAMS)


def test_the_stage_reads_and_writes_its_tables(tmp_path):
    images, pairs, manifest = circle()
    texts = fake.texts([("q", 0, "pq", "test", "Mass.", unit(1, 0))])
    schemas = {
        "image-vectors": sentence_tables.IMAGE_VECTORS,
        "text-vectors": sentence_tables.TEXT_VECTORS,
        "pairs": sentence_tables.PAIRS,
        "manifest": tables.MANIFEST,
    }
    options = []
    for name, table in zip(schemas, (images, texts, pairs, manifest), strict=True):
        tables.write(tmp_path / name, table, schemas[name])
        options += [f"--{name}", str(tmp_path / name)]
    section = {"lofi": {"retrieve": {"found": 3, "neighbours": 2}}}
    retrieve.main(
        ["--params", json.dumps(section), *options, "--ranks", str(tmp_path / "r"), "--neighbours", str(tmp_path / "n")]
    )
    assert tables.read(tmp_path / "r", sentence_tables.RANKS)["rank"].to_pylist() == [1, 1]
    assert tables.read(tmp_path / "n", sentence_tables.NEIGHBOURS).num_rows == 4

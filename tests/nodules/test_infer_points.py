"""Claims about stages.nodules.infer_points and the kind of classifier that it scores for."""

import pyarrow.compute as pc
import pytest

from stages.lib.core import tables
from stages.lib.core.errors import TableError
from stages.lib.detect import driver
from stages.lib.detect.choice import SelectParams
from stages.nodules import infer_points as stage


def localized(found):
    """Points as tables.LOCALIZE: of each image the confidences of its points, the first of them not shown."""
    rows = [
        {"image_id": image, "rank": rank, "x": 1.0, "y": 2.0, "confidence": confidence, "shown": rank > 0}
        for image, ones in found.items()
        for rank, confidence in enumerate(ones)
    ]
    return tables.from_rows(rows, tables.LOCALIZE)


def responses(images):
    rows = [{"image_id": image, "prompt": "p", "view": "whole", "response": "", "parsed": "ok"} for image in images]
    return tables.from_rows(rows, tables.RESPONSES)


def split(**images):
    rows = [{"image_id": i, "patient_id": i, "split": s, "label": label} for i, (s, label) in images.items()]
    return tables.from_rows(rows, tables.SPLIT)


def test_an_image_scores_as_its_surest_point_and_none_where_nothing_was_found():
    table = stage.infer(
        "spot",
        localized({"a": [0.2, 0.7, 0.4], "b": [0.9], "t": [0.3]}),
        responses("abct"),
        split(a=("test", 1), b=("val", 0), c=("test", None), t=("train", 1)),
    )
    assert [(r["image_id"], r["split"], r["label"], r["score"]) for r in table.to_pylist()] == [
        ("a", "test", 1, 0.7),
        ("b", "val", 0, 0.9),
        ("c", "test", None, 0.0),
    ]
    assert {table[name].null_count for name in ("logit_negative", "logit_positive", "answer_mass")} == {3}


def test_without_a_split_every_image_that_was_asked_is_scored():
    table = stage.infer("spot", localized({"a": [0.2]}), responses("ab"), None)
    assert table.select(["image_id", "score"]).to_pydict() == {"image_id": ["a", "b"], "score": [0.2, 0.0]}


def test_points_without_confidences_cannot_rank_images():
    with pytest.raises(TableError, match="boxes: 1 of 2 points have no confidence"):
        stage.infer("boxes", localized({"a": [None, 0.5]}), responses("a"), None)


def test_a_measured_image_that_the_localizer_never_saw_is_named():
    known = split(a=("test", 1), b=("val", 0), c=("val", None))
    with pytest.raises(TableError, match=r"spot: 1 of 3 images of val and test were not put to it \(first: b\)"):
        stage.infer("spot", localized({"a": [0.2]}), responses("a"), known)


@pytest.mark.parametrize(("images", "more"), [("measured", set()), ("scored", {"v0", "v1"})])
def test_validation_images_are_localized_where_a_classifier_ranks_by_points(images, more):
    known = split(a=("test", 0), v0=("val", 0), v1=("val", None), t=("train", 0))
    empty = tables.POINTS.arrow.empty_table()
    rows = [{"image_id": i, "png": i, "preprocessing_hash": "h"} for i in ("a", "t", "v0", "v1")]
    facts = dict.fromkeys(("low", "high", "scale"), 1.0) | dict.fromkeys(("pad_x_px", "pad_y_px", "side_px"), 1)
    normalized = tables.from_rows([row | facts for row in rows], tables.NORMALIZED)
    section = driver.Params(views=("whole",), images=images)
    how = SelectParams(splits=("train",), max_prompts=1, negative_images=1, false_points_per_image=1.0, seed=0)
    chosen = driver.chosen_images(normalized, known.filter(pc.not_equal(known["split"], "train")), empty, section, how)
    assert set(chosen["image_id"].to_pylist()) == {"a"} | more

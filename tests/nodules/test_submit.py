"""Claims about stages.nodules.submit."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core import csvtext, documents, tables
from stages.lib.core.errors import CalibrationError, TableError
from stages.lib.metrics.binary_suite import Scored, calls
from stages.lib.metrics.calibration import Calibration
from stages.nodules import submit as stage
from stages.nodules import unanswered
from stages.nodules.submission import SubmitParams

PARAMS = {
    "classifier": "tuned",
    "localizer": "medgemma",
    "threshold": "f1",
    "max_points": 2,
    "points_for": "positive_images",
}
HOSTILE = 'a, "quoted"\nand broken.png'


def fitted(on="score_calibrated", **changed):
    facts = {
        "model": "tuned",
        "method": "platt",
        "intercept": 0.0,
        "temperature": 1.0,
        "at_bound": False,
        "world_prevalence": 0.1,
        "sources": ("nih",),
        "n": 9,
        "n_positive": 3,
        "form_losses": {},
        "thresholds_on": on,
        "thresholds": {"half": 0.5, "f1": 0.2, "youden": 0.1, "specificity_95": None},
        "reason": None,
    }
    return Calibration(**{**facts, **changed})


IMAGES = [
    ("a", HOSTILE, "ok", 0.30),
    ("b", "b.png", "ok", 0.20),
    ("c", "c.png", "ok", 0.19),
    ("d", "d.png", "rejected", None),
]
MANIFEST = tables.from_rows(
    [
        {"image_id": i, "file_name": n, "path": n, "source": "nih", "patient_id": i, "status": status}
        for i, n, status, _ in IMAGES
    ],
    tables.MANIFEST,
)
INFER = tables.from_rows(
    [
        {
            "image_id": i,
            "logit_negative": 0.0,
            "logit_positive": 0.0,
            "score": 0.5,
            "score_calibrated": s,
            "answer_mass": 1.0,
        }
        for i, _, _, s in IMAGES
        if s is not None
    ],
    tables.INFER,
)
SPLIT = tables.from_rows(
    [{"image_id": i, "patient_id": i, "split": s} for i, s in (("a", "test"), ("b", "train"), ("c", "test"))],
    tables.SPLIT,
)


def points(*rows):
    return tables.from_rows(
        [{"image_id": i, "rank": rank, "x": x, "y": y, "confidence": c, "shown": True} for i, rank, x, y, c in rows],
        tables.LOCALIZE,
    )


POINTS = points(
    ("a", 0, 1.005, 2.0, None), ("a", 1, 3.14159, 4.006, None), ("a", 2, 5.0, 6.0, None), ("c", 0, 7.0, 8.0, None)
)


def submit(split=SPLIT, localize=POINTS, calibration=None, infer=INFER, **changed):
    return stage.submit(
        MANIFEST, split, infer, localize, calibration or fitted(), SubmitParams(**{**PARAMS, **changed})
    )


def test_each_test_image_has_one_row_with_its_label_and_calibrated_score():
    images, _ = submit()
    assert images == [[HOSTILE, "Nodule", 0.30], ["c.png", "No Finding", 0.19]]


def test_half_calls_the_images_that_the_measures_count_at_half():
    """The score as the model gave it is cut at .5, not the calibrated one."""
    rows = [{**row, "score": score} for row, score in zip(INFER.to_pylist(), (0.4, 0.6, 0.7), strict=True)]
    raw = tables.from_rows(rows, tables.INFER)
    images, _ = submit(infer=raw, split=None, threshold="half")
    assert images == [[HOSTILE, "No Finding", 0.30], ["b.png", "Nodule", 0.20], ["c.png", "Nodule", 0.19]]
    labels = np.array([0, 1, 1])
    scored = Scored(
        ids=[row["image_id"] for row in rows],
        labels=labels,
        patients=labels,
        scores=raw["score"].to_numpy(),
        evidence=raw["score"].to_numpy(),
        calibrated=raw["score_calibrated"].to_numpy(),
        thresholds=fitted().thresholds,
        reason="",
    )
    assert calls(scored)["half"].positive.tolist() == [row[1] == "Nodule" for row in images]
    images, _ = submit(infer=raw, split=None, threshold="f1")
    assert calls(scored)["f1"].positive.tolist() == [row[1] == "Nodule" for row in images]


def test_without_a_split_every_image_that_was_not_rejected_has_a_row():
    images, _ = submit(split=None)
    assert images == [[HOSTILE, "Nodule", 0.30], ["b.png", "Nodule", 0.20], ["c.png", "No Finding", 0.19]]


def test_points_are_those_of_positive_images_first_ones_first_rounded_with_the_score_of_the_image():
    _, places = submit()
    assert places == [[HOSTILE, 1.0, 2.0, 0.30], [HOSTILE, 3.14, 4.01, 0.30]]


def test_points_of_all_images_can_be_submitted():
    _, places = submit(points_for="all_images", max_points=1)
    assert places == [[HOSTILE, 1.0, 2.0, 0.30], ["c.png", 7.0, 8.0, 0.19]]


def test_the_most_confident_points_come_first_with_their_own_confidence():
    some = points(("a", 0, 1.0, 1.0, 0.1), ("a", 1, 2.0, 2.0, 0.9), ("a", 2, 3.0, 3.0, 0.4))
    _, places = submit(localize=some)
    assert places == [[HOSTILE, 2.0, 2.0, 0.9], [HOSTILE, 3.0, 3.0, 0.4]]


def test_if_nothing_was_fitted_the_score_itself_counts():
    raw = fitted(on="score", intercept=None, temperature=None, reason="validation has no nodule")
    images, _ = submit(calibration=raw, threshold="half")
    assert images == [[HOSTILE, "Nodule", 0.5], ["c.png", "Nodule", 0.5]]


def test_a_threshold_that_was_not_chosen_is_refused():
    with pytest.raises(CalibrationError, match="'specificity_95' was not chosen"):
        submit(threshold="specificity_95")


def test_a_image_without_a_score_is_refused_by_name():
    with pytest.raises(TableError, match="1 of 2 images have no score_calibrated: c"):
        submit(infer=INFER.slice(0, 2))


def test_at_most_five_images_without_a_score_are_named():
    more = [f"x{number}" for number in range(6)]
    split = tables.from_rows([{"image_id": i, "patient_id": i, "split": "test"} for i in more], tables.SPLIT)
    with pytest.raises(TableError, match=r"6 of 6 images have no score_calibrated: x0, x1, x2, x3, x4$"):
        submit(split=split)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_file_name_comes_back_from_the_csv(name):
    text = csvtext.csv_bytes(["file_name", "x"], [[name, 1.5]]).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["file_name", "x"], [name, "1.5"]]


def write_inputs(tmp_path):
    """Write the inputs of the command; return its arguments, and those of the split apart."""
    tables.write(tmp_path / "manifest.parquet", MANIFEST, tables.MANIFEST)
    tables.write(tmp_path / "split.parquet", SPLIT, tables.SPLIT)
    tables.write(tmp_path / "infer.parquet", INFER, tables.INFER)
    tables.write(tmp_path / "localize.parquet", POINTS, tables.LOCALIZE)
    documents.write(tmp_path / "calibration.json", fitted())
    options = [
        ("manifest", "manifest.parquet"),
        ("infer", "infer.parquet"),
        ("localize", "localize.parquet"),
        ("calibration", "calibration.json"),
    ]
    options += [("classification", "out/c.csv"), ("localization", "out/l.csv")]
    argv = [text for name, path in options for text in (f"--{name}", str(tmp_path / path))]
    argv += ["--params", json.dumps({"nodules": {"submit": PARAMS}})]
    return argv, ["--split", str(tmp_path / "split.parquet")]


def test_the_two_files_have_the_headings_and_labels_of_the_challenge(tmp_path):
    argv, split = write_inputs(tmp_path)
    stage.main([*argv, *split])
    images = list(csv.DictReader(io.StringIO((tmp_path / "out/c.csv").read_bytes().decode(), newline="")))
    assert list(images[0]) == ["file_name", "label", "confidence"]
    assert [(row["file_name"], row["label"]) for row in images] == [(HOSTILE, "Nodule"), ("c.png", "No Finding")]
    places = list(csv.DictReader(io.StringIO((tmp_path / "out/l.csv").read_bytes().decode(), newline="")))
    assert list(places[0]) == ["file_name", "x", "y", "confidence"] and places[1]["x"] == "3.14"


def test_images_that_were_rejected_are_named_where_every_image_is_submitted_and_only_there(tmp_path, caplog):
    argv, split = write_inputs(tmp_path)
    with caplog.at_level("WARNING"):
        stage.main([*argv, *split])
        assert caplog.text == ""
        stage.main(argv)
    assert "1 images were rejected and have no row: d.png" in caplog.text
    assert len((tmp_path / "out/c.csv").read_text().splitlines()) == 1 + 3 + 1  # a name holds a line break


def test_images_without_an_answer_are_listed_with_the_reason_and_have_rows_in_the_csv_only_if_asked_for(tmp_path):
    rejected = [
        {**row, "problem": "an empty file"} if row["status"] == "rejected" else row for row in MANIFEST.to_pylist()
    ]
    argv, _ = write_inputs(tmp_path)
    tables.write(tmp_path / "manifest.parquet", tables.from_rows(rejected, tables.MANIFEST), tables.MANIFEST)
    listed = str(tmp_path / "unanswered.csv")
    unanswered.main(["--manifest", str(tmp_path / "manifest.parquet"), "--unanswered", listed])
    assert (tmp_path / "unanswered.csv").read_text() == "file_name,reason\nd.png,an empty file\n"
    stage.main(argv)
    without = [(tmp_path / "out" / name).read_bytes() for name in ("c.csv", "l.csv")]
    stage.main([*argv, "--unanswered", listed])
    assert [(tmp_path / "out" / name).read_bytes() for name in ("c.csv", "l.csv")] == [
        without[0] + b"d.png,,\n",
        without[1],
    ]


def test_a_list_of_images_without_an_answer_that_is_none_is_refused(tmp_path):
    argv, _ = write_inputs(tmp_path)
    (tmp_path / "unanswered.csv").write_text("file_name,why\n")
    with pytest.raises(TableError, match="found the heading 'file_name,why', wanted file_name,reason"):
        stage.main([*argv, "--unanswered", str(tmp_path / "unanswered.csv")])

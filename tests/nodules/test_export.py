"""What predict says of each image, in files of its own: the same as in the CSV files, and of nobody but its patient."""

import csv
import io
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
import yaml
from dicoms import dicom

from stages.data import ingest, normalize
from stages.lib.core import documents, tables
from stages.lib.core.errors import DataError
from stages.lib.images import preprocess
from stages.lib.metrics.calibration import Calibration
from stages.lib.models import adapters
from stages.lib.models.snapshot import Identity, Snapshot
from stages.nodules import export, submit, unanswered
from stages.nodules.export import Prediction

SIDE_PX = 32
BASE = Identity(base="tiny", commit=None, sha256="ab" * 32)
PLANTED = {  # what names a patient, and must stand nowhere but in the DICOM objects
    "PatientName": "Zweistein^Albertine",
    "PatientBirthDate": "19391101",
    "AccessionNumber": "ACC77123401",
    "ReferringPhysicianName": "Quacksalver^Ignaz",
    "InstitutionName": "Spital zum Heiligen Geist",
    "StudyDescription": "Thorax of Zweistein",
    "PatientComments": "a neighbour of Quacksalver",
    "OtherPatientIDs": "OTHER990017",
    "PatientAddress": "Planck Lane 7",
}
IDS = {"PatientID": "MRN55500042", "StudyID": "STUDYID808"}
SUBMIT = {"classifier": "tuned", "localizer": "combined", "threshold": "f1", "max_points": 2}
SUBMIT |= {"points_for": "positive_images"}
POINTS = [("a", 0, 10.004, 20.25, 0.4), ("a", 1, 3.0, 4.0, 0.9), ("a", 2, 5.0, 6.0, 0.1), ("b", 0, 1.0, 1.0, 0.8)]
SCORES = {"a": 0.7, "b": 0.1, "c": 0.3}


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (48, 64)).astype(np.uint16)


def uids(number: int) -> dict[str, str]:
    return {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
        "SOPInstanceUID": f"1.2.3.4.5.{number}",
        "StudyInstanceUID": f"1.2.3.{number}",
        "SeriesInstanceUID": f"1.2.3.4.{number}",
    }


def write_tables(results: Path) -> None:
    """What infer, localize, calibrate, fetch and train write."""
    infer = [
        {"image_id": name, "logit_negative": 0.0, "logit_positive": 0.0, "score": 0.5, "score_calibrated": score}
        | {"answer_mass": 1.0}
        for name, score in SCORES.items()
    ]
    points = [
        {"image_id": name, "rank": rank, "x": x, "y": y, "confidence": confidence, "shown": True}
        for name, rank, x, y, confidence in POINTS
    ]
    tables.write(results / "infer.parquet", tables.from_rows(infer, tables.INFER), tables.INFER)
    tables.write(results / "localize.parquet", tables.from_rows(points, tables.LOCALIZE), tables.LOCALIZE)
    thresholds = {"half": 0.5, "f1": 0.25, "youden": None, "specificity_95": None}
    fitted = {"model": "tuned", "method": "platt", "intercept": 0.0, "temperature": 1.0, "at_bound": False}
    fitted |= {"world_prevalence": 0.1, "sources": ("nih",), "n": 9, "n_positive": 3, "form_losses": {}}
    fitted |= {"thresholds_on": "score_calibrated", "thresholds": thresholds, "reason": None}
    documents.write(results / "calibration.json", Calibration(**fitted))
    record = Snapshot(**asdict(BASE), revision="none", folder=results, files={})
    documents.write(results / "fetch.json", record)
    card = adapters.Card(
        preprocessing_hash="c0ffee", base=BASE, prompt={}, model={}, train={}, step=7, training_odds=1.0,
        positive_weight=1.0,
    )  # fmt: skip
    documents.write(results / "adapter/noduleflow.json", card)
    (results / "adapter/adapter_model.safetensors").write_bytes(b"weights")


def options(folder: Path, /, *names: str, **more: Any) -> list[str]:
    known = {
        "manifest": folder / "manifest.parquet",
        "points": folder / "points.parquet",
        "files": folder / "files.parquet",
        "normalized": folder / "normalized.parquet",
        "infer": folder / "infer.parquet",
        "localize": folder / "localize.parquet",
        "calibration": folder / "calibration.json",
        "base": folder / "fetch.json",
        "adapter-folder": folder / "adapter",
        "unanswered": folder / "unanswered.csv",
        "classification": folder / "submission/classification_test_results.csv",
        "localization": folder / "submission/localization_test_results.csv",
    }
    words = [word for name in names for word in (f"--{name}", str(known[name]))]
    return words + [word for name, value in more.items() for word in (f"--{name}", str(value))]


def predict(data: Path, results: Path) -> None:
    """What the rules of predict run, with tables in the place of a model."""
    shipped = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["data"]["ingest"]
    section = json.dumps({"data": {"ingest": shipped | {"root": str(data), "max_rejected": 9}}})
    ingest.main(options(results, "manifest", "points", "files", params=section))
    unanswered.main(options(results, "manifest", "unanswered"))
    section = json.dumps({"data": {"normalize": {"low_percentile": 0.5, "high_percentile": 99.5, "side_px": SIDE_PX}}})
    more = {"results": results, "shard": "1-of-1", "folder": results / "normalized"}
    normalize.main(options(results, "manifest", "normalized", params=section, **more))
    write_tables(results)
    tell(results, "json", "sr", "gsps")


def tell(results: Path, *outputs: str, adapter: bool = True) -> Path:
    """Write the CSV files and the objects."""
    asked = {"params": json.dumps({"nodules": {"submit": SUBMIT}})}
    names = ["manifest", "infer", "localize", "calibration"]
    submit.main(options(results, *names, "classification", "localization", **asked))
    names += ["normalized", "base", *(["adapter-folder"] if adapter else [])]
    export.main([*options(results, *names, folder=results / "objects", **asked), "--outputs", *outputs])
    return results / "objects"


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Results of a DICOM image with points, one without, a PNG and a damaged file; and all that was logged."""
    folder = tmp_path_factory.mktemp("predict")
    data, results, log = folder / "data", folder / "results", io.StringIO()
    data.mkdir()
    for number, name in enumerate(("a", "b")):
        known = uids(number) if name == "a" else uids(number) | {"StudyInstanceUID": ""}
        dicom(data / f"{name}.dcm", grey(number), **known, **PLANTED, **IDS)
    cv2.imwrite(str(data / "c.png"), grey(3))
    whole = (data / "a.dcm").read_bytes()
    (data / "d.dcm").write_bytes(whole[: len(whole) - 2000])
    handler, root = logging.StreamHandler(log), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        predict(data, results)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return results, log.getvalue()


def of(results: Path, kind: str) -> set[str]:
    return {path.stem for path in (results / "objects" / kind).iterdir()}


def test_an_image_with_an_answer_has_each_kind_of_file_and_one_without_has_none(predicted: tuple[Path, str]) -> None:
    results, log = predicted
    assert (of(results, "json"), of(results, "sr"), of(results, "gsps")) == ({"a", "b", "c"}, {"a", "b"}, {"a", "b"})
    assert "export: of 3 images with an answer: 3 json, 2 sr, 2 gsps" in log
    assert "1 images have no sr and no gsps (no DICOM image): c.png" in log
    assert "1 images do not name their study or series, and their objects are in one of their own: b.dcm" in log
    listed = list(csv.reader((results / "unanswered.csv").read_text().splitlines()))
    assert [row[0] for row in listed] == ["file_name", "d.dcm"]


def test_json_says_what_the_csv_files_say_and_who_has_answered(predicted: tuple[Path, str]) -> None:
    results, _ = predicted
    found = {name: documents.read(results / f"objects/json/{name}.json", Prediction) for name in SCORES}
    rows = list(csv.DictReader((results / "submission/classification_test_results.csv").read_text().splitlines()))
    assert [(one.decision, one.confidence) for one in found.values()] == [
        (row["label"], float(row["confidence"])) for row in rows
    ]
    places = list(csv.DictReader((results / "submission/localization_test_results.csv").read_text().splitlines()))
    assert [(point.x, point.y, point.confidence) for one in found.values() for point in one.points] == [
        (float(row["x"]), float(row["y"]), float(row["confidence"])) for row in places
    ]
    assert [(point.x, point.y) for point in found["a"].points] == [(3.0, 4.0), (10.0, 20.25)]
    one = found["a"]
    assert (one.width_px, one.height_px, one.score, one.threshold, one.threshold_name) == (64, 48, 0.7, 0.25, "f1")
    assert one.statement.startswith("Research use only.")
    assert one.model.base == BASE
    assert one.model.adapter is not None
    assert one.model.adapter.step == 7
    made = preprocess.preprocessing_hash(low_percentile=0.5, high_percentile=99.5, side_px=SIDE_PX)
    assert one.model.preprocessing_hash == made


def test_the_dicom_objects_say_what_the_csv_files_say(predicted: tuple[Path, str]) -> None:
    results, _ = predicted
    report = highdicom.sr.srread(results / "objects/sr/a.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    assert [tuple(group.roi.value[0] - 0.5) for group in groups] == [(3.0, 4.0), (10.0, 20.25)]
    assert [group.get_measurements()[0].value for group in groups] == [90.0, 40.0]
    state = pydicom.dcmread(results / "objects/gsps/a.dcm")
    drawn = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    assert [tuple(point.GraphicData) for point in drawn] == [(3.5, 4.5), (10.5, 20.75)]
    negative = highdicom.sr.srread(results / "objects/sr/b.dcm").content
    assert negative.get_planar_roi_measurement_groups() == []


def test_the_patient_is_named_by_the_dicom_objects_and_by_nothing_else(predicted: tuple[Path, str]) -> None:
    results, log = predicted
    words = {
        word
        for value in [*PLANTED.values(), IDS["PatientID"]]
        for word in value.replace("^", " ").split()
        if len(word) > 6
    }
    assert len(words) == 9
    for kind in ("sr", "gsps"):
        made = pydicom.dcmread(results / f"objects/{kind}/a.dcm")
        assert (made.PatientName, made.AccessionNumber) == (PLANTED["PatientName"], PLANTED["AccessionNumber"])
    told = {"log": log}
    for path in results.rglob("*"):
        if path.is_file() and path.parent.name not in ("sr", "gsps"):
            content = path.read_bytes()
            told[path.name] = content.decode("utf-8", "replace")
            if path.suffix == ".parquet":
                told[path.name] += str(tables.pq.read_table(path).to_pylist())
    assert len(told) > 10
    assert {(where, word) for where, text in told.items() for word in words if word in text} == set()


def test_only_what_is_asked_for_is_written_and_old_files_are_cleared_away(
    predicted: tuple[Path, str], tmp_path: Path
) -> None:
    results = tmp_path / "results"
    write_tables(results)
    for name in ("manifest", "normalized"):
        (results / f"{name}.parquet").write_bytes((predicted[0] / f"{name}.parquet").read_bytes())
    (results / "objects/json").mkdir(parents=True)
    (results / "objects/json/of_another_folder.json").write_text("{}")
    folder = tell(results, "csv", "sr", adapter=False)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == ["sr/a.dcm", "sr/b.dcm"]
    folder = tell(results, "json", adapter=False)
    assert documents.read(folder / "json/a.json", Prediction).model.adapter is None


def test_an_image_that_has_changed_since_it_was_read_gets_no_object(tmp_path: Path) -> None:
    data, results = tmp_path / "data", tmp_path / "results"
    data.mkdir()
    for number, name in enumerate("abc"):
        dicom(data / f"{name}.dcm", grey(number), **uids(number), **PLANTED)
    predict(data, results)
    dicom(data / "b.dcm", grey(1), **uids(7), PatientName="Somebody^Else")
    with pytest.raises(DataError, match=r"'b\.dcm' has changed since it was read; run predict again"):
        tell(results, "sr")

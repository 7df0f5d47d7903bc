"""Whatever stands at any place of the tables of reports is read or told, and is no fault of the code."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lofi_folders import (
    ingest_params,
    mimic,
    mimic_annotation,
    mimic_answers,
    mimic_ids,
    own,
    padchest_gr,
    padchest_report,
    write_csv,
)

from stages.lib.core.errors import DataError
from stages.lofi import ingest

NUMBERS = (None, True, 0, -1.5, 1e400)
TEXTS = ("", "nan", "a\nb", "\ud800")
NESTED = ([], [[]], {}, {"a": 1}, [1, 2, 3, 4], [None])
ODD: tuple[Any, ...] = (*NUMBERS, *TEXTS, *NESTED)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON document."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        inside = list(document.items())
    elif isinstance(document, list):
        inside = list(enumerate(document))
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


def replaced(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value at a place."""
    if not at:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return changed


def read(root: Path) -> None:
    try:
        found = ingest.ingest(ingest_params(root, terms="credentialed"))
    except DataError as error:
        assert error.problems and all("found" in told or "wanted" in told for told in error.problems)
    else:
        assert found.sentences.num_rows


PADCHEST = [padchest_report(0), padchest_report(1)]
ANNOTATIONS = [mimic_annotation(0), mimic_annotation(1)]
ANSWERS = mimic_answers(0)


@pytest.fixture(scope="module")
def padchest_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return padchest_gr(tmp_path_factory.mktemp("padchest"), count=2)


@pytest.fixture(scope="module")
def mimic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mimic(tmp_path_factory.mktemp("mimic"), count=2)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(places(PADCHEST)), st.sampled_from(ODD))
def test_a_report_of_padchest_gr_with_an_odd_value_anywhere_is_read_or_told(padchest_folder: Path, at, value) -> None:
    path = padchest_folder / "grounded_reports_20240819.json"
    path.write_text(json.dumps(replaced(PADCHEST, at, value)))
    read(padchest_folder)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(places(ANNOTATIONS)), st.sampled_from(ODD))
def test_an_annotation_of_mimic_with_an_odd_value_anywhere_is_read_or_told(mimic_folder: Path, at, value) -> None:
    path = mimic_folder / "chat_train_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
    before = path.read_text()
    path.write_text(json.dumps(replaced(ANNOTATIONS, at, value)))
    try:
        read(mimic_folder)
    finally:
        path.write_text(before)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(places(ANSWERS)), st.sampled_from(ODD))
def test_answers_about_a_study_with_an_odd_value_anywhere_are_read_or_told(mimic_folder: Path, at, value) -> None:
    path = next(mimic_folder.rglob(f"s{mimic_ids(0)['study']}.qa.json"))
    path.write_text(json.dumps(replaced(ANSWERS, at, value)))
    read(mimic_folder)


CELLS = (*("", "nan", "inf", "-1", "1e400", "0.5", "7", "x; y|"), *("../a.png", "/a.png", "a.png", "é" * 300))
OWN = {
    "sentences.csv": [
        {"image": name, "number": number, "sentence": "A nodule.", "abnormal": "true", "labels": "nodule"}
        for name in ("a.png", "b.png")
        for number in range(2)
    ],
    "boxes.csv": [
        {"image": name, "number": 0, "x0": 1, "y0": 2, "x1": 30, "y1": 20, "unit": "pixels", "reader": "first"}
        for name in ("a.png", "b.png")
    ],
    "images.csv": [
        {"image": name, "patient_id": name, "study_id": name, "split": "train", "view": "PA", "sex": "F", "age": 7}
        for name in ("a.png", "b.png")
    ],
}


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own(tmp_path_factory.mktemp("own"), names=("a.png", "b.png"))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(name, *at) for name, rows in OWN.items() for at in places(rows) if len(at) == 2]),
    st.sampled_from(CELLS),
)
def test_an_own_table_with_an_odd_cell_anywhere_is_read_or_told(own_folder: Path, at, value) -> None:
    for name, rows in OWN.items():
        write_csv(own_folder / name, replaced(rows, at[1:], value) if name == at[0] else rows)
    read(own_folder)

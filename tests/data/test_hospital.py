"""A mixed export of a hospital, as ingest and doctor tell of it."""

import json
import logging
from collections import Counter
from pathlib import Path

import hospital
import pytest
from folders import folder_document, folder_params

from stages.data import ingest
from workflow import doctor

NAMED = len(hospital.ODD) - len(hospital.REMARKED)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hospital.write(tmp_path_factory.mktemp("export") / "hospital")


def test_each_of_the_12_odd_images_gets_its_notice_and_no_other_image_does(
    export: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        found = ingest.ingest(folder_params(export, max_rejected=NAMED, max_pixels=1_000_000))
    rows = {row["file_name"]: row for row in found.manifest.to_pylist()}
    assert len(rows) == hospital.IMAGES
    told = {name: row["notices"] for name, row in rows.items() if row["notices"]}
    assert {name: kinds[0] for name, kinds in told.items()} == hospital.ODD
    assert {len(kinds) for kinds in told.values()} == {1}
    rejected = {name for name, row in rows.items() if row["status"] == "rejected"}
    assert rejected == {name for name, kind in hospital.ODD.items() if kind not in hospital.REMARKED}
    for name in told:
        assert f"{name}: " in caplog.text
    assert {row["file_name"]: row["role"] for row in found.files.to_pylist()} == hospital.OTHERS
    assert len(rows) + found.files.num_rows == hospital.FILES
    assert "Planted" not in caplog.text + json.dumps(list(rows.values()))


def test_every_image_has_its_label_and_its_patient_and_points_are_where_they_were_drawn(export: Path) -> None:
    found = ingest.ingest(folder_params(export, max_rejected=NAMED, max_pixels=1_000_000))
    rows = [row for row in found.manifest.to_pylist() if row["status"] == "ok"]
    assert {row["label_from"] for row in rows} == {"labels.csv"}
    assert {row["label"] for row in rows} == {0, 1}
    assert {row["patient_from"] for row in rows} == {"table"}
    assert Counter(Counter(row["patient_id"] for row in rows).values()) == {2: 8, 1: 12}
    positive = {row["image_id"] for row in rows if row["label"] == 1}
    assert {point["image_id"] for point in found.points.to_pylist()} == positive


def test_the_doctor_says_what_ingest_finds(export: Path) -> None:
    document = folder_document(export) | {"weights": {"fetch": {"base": "workflow/demo_base", "revision": "none"}}}
    line = next(str(line) for line in doctor.checks(document, doctor.look(document)) if "data: " in str(line))
    assert line.startswith("OK") and "36 images" in line

"""Small inputs that once came out wrong, each with what is expected of it: beside the checkout, where they are given.

Their drawn twins, in the tests of layouts, decoding, duplicates, predict and fetch, are always run.
"""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from checkout import CASES
from folders import folder_document, folder_params

from stages.data import ingest
from stages.lib.core.errors import DataError
from stages.lib.images import preprocess, reading
from workflow import doctor

pytestmark = pytest.mark.cases
NOT_PART_OF_A_CASE = ("README.txt", ".gitkeep")
MAX_PIXELS = 50_000_000
# Scenarios run a command, and have a test of their own that makes the same input.
SCENARIOS = {
    "13_model_without_chat_template": "tests/weights/test_fetch.py",
    "14_env_utf16": "tests/weights/test_fetch.py",
    "15_max_rejected_retrains": "tests/workflow/test_predict.py",
}
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text()) if CASES.is_dir() else {}
FOLDERS = sorted(name for name, wanted in EXPECTED.items() if not wanted.get("scenario"))


class Found:
    """What ingest and doctor make of one case."""

    def __init__(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.root = root
        self.refused = ""
        self.rows: list[dict[str, Any]] = []
        self.points: list[dict[str, Any]] = []
        with caplog.at_level(logging.INFO):
            try:
                found = ingest.ingest(folder_params(root, max_rejected=1000, max_pixels=MAX_PIXELS))
                self.rows, self.points = found.manifest.to_pylist(), found.points.to_pylist()
                assert isinstance(found.files, pa.Table)
            except DataError as error:
                self.refused = str(error)
        self.told = "\n".join([caplog.text, self.refused, *(row["problem"] or "" for row in self.rows)])

    @property
    def doctor(self) -> str:
        """The line of the doctor about the data."""
        document = folder_document(self.root, max_rejected=1000, max_pixels=MAX_PIXELS)
        document["weights"] = {"fetch": {"base": "workflow/demo_base", "revision": "none"}}
        return next(str(line) for line in doctor.checks(document, doctor.look(document)) if "data: " in str(line))


def body_range(path: Path) -> tuple[float, float]:
    """1st and 99th percentile of a normalized image, of the pixels that the unpadded body takes: its middle half."""
    image = reading.read_grey(path, max_pixels=MAX_PIXELS)
    square, _, _ = preprocess.normalize_pixels(
        image.pixels, low_percentile=0.5, high_percentile=99.5, side_px=max(image.pixels.shape), counts=image.histogram
    )
    body = square[:, (square > 0).any(axis=0)][(square > 0).any(axis=1)]
    return float(np.percentile(body, 1)), float(np.percentile(body, 99))


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Found:
    root = tmp_path / "data"
    shutil.copytree(CASES / request.param, root, ignore=shutil.ignore_patterns(*NOT_PART_OF_A_CASE))
    return Found(root, caplog)


@pytest.mark.parametrize(("case", "wanted"), [(n, EXPECTED[n]) for n in FOLDERS], indirect=["case"], ids=FOLDERS)
def test_a_folder_that_once_came_out_wrong_is_read_as_expected(case: Found, wanted: dict[str, Any]) -> None:
    found = {
        "rows": len(case.rows),
        "ok": sum(row["status"] == "ok" for row in case.rows),
        "patients": len({row["patient_id"] for row in case.rows}),
        "points_in_pixels_below_1": sum(point["x"] < 1 and point["y"] < 1 for point in case.points),
        "patients_named_like_nan": sum(row["patient_id"].casefold() in ("nan", "na") for row in case.rows),
        "without_notice": sorted(Path(row["file_name"]).stem for row in case.rows if row["problem"] is None),
    }
    for name in found.keys() & wanted.keys():
        assert found[name] == wanted[name], name
    if "notice" in wanted:
        assert re.search(wanted["notice"], case.told), case.told
    if "labels_from" in wanted:
        assert {row["label_from"] for row in case.rows} == {wanted["labels_from"]}
    if "doctor" in wanted:
        assert case.doctor.startswith(wanted["doctor"]) and str(wanted["rows"]) in case.doctor
    if "doctor_and_ingest_agree" in wanted:
        assert case.doctor.startswith("OK") == (not case.refused)
    if levels := wanted.get("same_body_range_within_grey_levels"):
        ranges = [body_range(Path(row["path"])) for row in case.rows]
        assert np.ptp(ranges, axis=0).max() <= levels, ranges
    known = {*found, "notice", "labels_from", "doctor", "doctor_and_ingest_agree", "same_body_range_within_grey_levels"}
    assert not set(wanted) - known, "an expectation that this test does not know"


def test_every_scenario_has_a_test_of_its_own() -> None:
    scenarios = {name for name, wanted in EXPECTED.items() if wanted.get("scenario")}
    assert scenarios == set(SCENARIOS)
    root = Path(__file__).parents[2]
    assert [path for path in SCENARIOS.values() if not (root / path).is_file()] == []

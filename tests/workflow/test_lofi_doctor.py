"""What the doctor says of the chapter lofi: its folder of images with reports, and the models that its rows name."""

from pathlib import Path
from typing import Any

import lofi_folders
import pytest
import yaml

from workflow import lofi_doctor

MIMIC = Path(__file__).parents[2] / "workflow" / "presets" / "lofi_mimic.yaml"


@pytest.fixture
def document(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A preset on a machine that fetches nothing."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found: dict[str, Any] = yaml.safe_load(MIMIC.read_text())
    return found


def test_a_model_that_lacks_is_named_once_with_the_parameters_of_its_own_row(document: dict[str, Any]) -> None:
    found = dict(lofi_doctor.lines(document)[1:])
    assert [line.split(":")[0] for line in found] == [
        "LoFi's encoder",
        "LoFi's decoder",
        "encoder medsiglip",
        "grounder in_context_0",
    ]
    for mend, key in zip(
        found.values(),
        ("lofi.model.encoder", "lofi.model.decoder", "lofi.encoders.medsiglip", "lofi.grounders.in_context_0"),
        strict=True,
    ):
        assert mend is not None
        assert f"set {key}" in mend
        assert "weights.fetch" not in mend


def test_a_folder_is_told_by_its_images_sentences_and_layout(document: dict[str, Any], tmp_path: Path) -> None:
    document["lofi"]["ingest"]["root"] = str(lofi_folders.mimic(tmp_path / "mimic", count=3))
    said, mend = lofi_doctor.lines(document)[0]
    assert (said.split(", ")[1:], mend) == (["3 images", "9 sentences (mimic)"], None)


def test_a_folder_that_is_not_there_is_told_with_the_page_that_says_how_to_get_it(document: dict[str, Any]) -> None:
    document["lofi"]["ingest"]["root"] = "/nowhere"
    said, mend = lofi_doctor.lines(document)[0]
    assert said == "images with reports: /nowhere"
    assert mend is not None
    assert "workflow/docs/lofi.md" in mend

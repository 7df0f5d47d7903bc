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
    (said, mend), disk = lofi_doctor.lines(document)[:2]
    assert (said.split(", ")[1:], mend) == (["3 images", "9 sentences (mimic)"], None)
    assert disk[0].startswith("disk for them: ")
    assert "patches of 2 images with boxes 0)" in disk[0]  # its third image is of the test split


def test_patches_that_two_frozen_towers_leave_of_mimic_are_counted_before_the_disk_is_full(
    document: dict[str, Any],
) -> None:
    said, mend = lofi_doctor.disk(document["lofi"], images=200_000, boxed=100_000, free=100 * 10**9)
    # 200,000 x 512 x 512 x 0.46 bytes; 2 x 100,000 x 256 x 1,152 x 2 bytes
    assert said == (
        "disk for them: 100 GB free, wanted 142 (normalized images 24, patches of 100000 images with boxes 118)"
    )
    assert mend is not None
    assert lofi_doctor.disk(document["lofi"], images=200_000, boxed=100_000, free=150 * 10**9)[1] is None


def test_without_a_frozen_tower_no_patches_are_kept(document: dict[str, Any]) -> None:
    document["lofi"]["tune"]["tower"] = "lora"
    said, _ = lofi_doctor.disk(document["lofi"], images=0, boxed=100_000, free=1)
    assert said.endswith("patches of 100000 images with boxes 0)")


def test_a_folder_that_is_not_there_is_told_with_the_page_that_says_how_to_get_it(document: dict[str, Any]) -> None:
    document["lofi"]["ingest"]["root"] = "/nowhere"
    said, mend = lofi_doctor.lines(document)[0]
    assert said == "images with reports: /nowhere"
    assert mend is not None
    assert "workflow/docs/lofi.md" in mend

"""What the rows of the zoo lack on a machine, offline."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core import documents
from stages.lib.demo import untrained
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.own_environment import Environment, Unbuilt
from stages.lib.models.snapshot import Snapshot
from workflow import chapters, zoo_costs, zoo_doctor, zoo_names
from workflow.costs import GPUS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return found


def test_the_demo_lacks_nothing(shipped: dict[str, Any]) -> None:
    found = zoo_doctor.lines(shipped)
    assert len(found) == 7  # one for each tiny model, however many rows name it
    assert all(mend is None and "is made by the pipeline itself" in what for what, mend in found)


def test_a_model_that_cannot_be_had_is_told_with_what_to_do(
    shipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    rows = shipped["zoo"]["models"]
    rows["dinov2"] |= {"source": "microsoft/rad-dino", "revision": "main", "licence": "MSRLA"}
    rows["siglip"] |= {"source": str(tmp_path / "nowhere")}
    told = {what.partition(":")[0]: (what, mend) for what, mend in zoo_doctor.lines(shipped)}
    what, mend = told["dinov2"]
    assert "microsoft/rad-dino may not be had" in what and "licence MSRLA" in what
    assert mend and "HF_HUB_OFFLINE" in mend
    _, mend = told["siglip"]
    assert mend and "zoo.models.siglip.source: there is no folder" in mend


def test_a_vision_model_needs_no_tokenizer_and_one_that_is_asked_does(shipped: dict[str, Any], tmp_path: Path) -> None:
    rows = shipped["zoo"]["models"]
    for name, architecture in (("dinov2", "Dinov2Model"), ("qwen", "Qwen2_5_VLForConditionalGeneration")):
        (tmp_path / name).mkdir()
        untrained.build(tmp_path / name, architecture, 1, 112)
        for path in [*(tmp_path / name).glob("tokenizer*"), *(tmp_path / name).glob("vocab*")]:
            path.unlink()
        rows[name]["source"] = str(tmp_path / name)
    told = {what.partition(":")[0]: mend for what, mend in zoo_doctor.lines(shipped)}
    assert told["dinov2"] is None
    assert told["qwen"] and "there is no tokenizer" in told["qwen"]


def test_licences_that_forbid_commercial_use_are_a_fault_of_a_commercial_study_alone(shipped: dict[str, Any]) -> None:
    shipped["zoo"]["models"]["siglip"]["commercial"] = False
    for commercial in (False, True):
        shipped["study"]["commercial"] = commercial
        [mend] = [mend for what, mend in zoo_doctor.lines(shipped) if what == "non-commercial licence: siglip"]
        assert (mend is not None) == commercial


def test_the_estimate_names_the_rows_that_it_does_not_count(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
    rows = document["zoo"]["models"]
    rows["soup"] = {"kind": "soup", "members": ["efficientnet", "convnext"], "side_px": 512, "shifts": 1}
    rows["unheard"] = {**rows["rad_dino"], "source": "somebody/unheard-of"}
    *_, last = zoo_costs.lines(document, GPUS["RTX 4090"], tmp_path)
    assert "not counted" in last
    assert "soup (a soup)" in last and "unheard (unheard-of)" in last


def test_a_chapter_that_runs_on_demand_is_estimated_behind_the_study(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
    assert document["study"]["chapters"] == ["nodules"]
    found = list(chapters.estimates(document, GPUS["RTX 4090"], tmp_path))
    place = found.index("on demand, as study.chapters is without it: snakemake zoo")
    assert found[0].startswith("estimate on one RTX 4090") and found[place + 1].startswith("zoo, computed")
    document["study"]["chapters"] = ["nodules", "zoo"]
    assert not [line for line in chapters.estimates(document, GPUS["RTX 4090"], tmp_path) if "on demand" in line]


def test_the_demo_which_runs_on_a_processor_has_no_estimate(shipped: dict[str, Any], tmp_path: Path) -> None:
    [line] = zoo_costs.lines(shipped, GPUS["RTX 4090"], tmp_path)
    assert "no estimate of workflow/demo_base" in line


def test_a_release_that_is_converted_is_told_and_so_is_the_environment(shipped: dict[str, Any]) -> None:
    row = {**shipped["zoo"]["models"]["dinov2"], "library": "torchxrayvision", "source": "densenet121-res224-pc"}
    shipped["zoo"]["models"]["dinov2"] = row
    told = dict(zoo_doctor.lines(shipped))
    what = "dinov2: densenet121-res224-pc is downloaded and converted when it is first needed; licence Apache-2.0"
    assert told[what] is None
    assert any(what.startswith("vision environment, of dinov2: ") for what in told)


def test_what_was_found_is_told_with_its_size_for_chexagent_and_a_release_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(zoo_doctor, "RECORDS", tmp_path)
    document = yaml.safe_load((ROOT / "workflow/presets/nodulocc.yaml").read_text())
    rows = document["zoo"]["models"]
    (tmp_path / "model.safetensors").write_bytes(b"0" * 20_000_000)

    def found(base: str) -> Snapshot:
        files = {"model.safetensors": "0" * 64}
        return Snapshot(base=base, revision="none", commit=None, folder=tmp_path, sha256="0" * 64, files=files)

    first, second, released = rows["chexagent_first"], rows["chexagent"], rows["xrv_all"]
    parts = Parts(model=found(first["model"]), code=found(first["model"]), encoder=None)
    documents.write(tmp_path / "chexagent_first_parts.json", parts)
    parts = Parts(model=found("another/model"), code=found("another/model"), encoder=found(second["encoder"]))
    documents.write(tmp_path / "chexagent_parts.json", parts)  # the row was changed since
    documents.write(tmp_path / f"{zoo_names.weights(released)}.json", found(released["source"]))
    told = [what for what, _ in zoo_doctor.lines(document) if " (0.02 GB on the disk); licence " in what]
    assert [what.partition(" ")[0] for what in told] == ["xrv_all:", "chexagent:", "chexagent_first:"]
    assert "XraySigLIP" in told[1] and told[2].endswith("(0.02 GB on the disk); licence not stated")


def test_a_pickled_file_is_looked_for_on_the_hub_or_here(
    shipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    rows = shipped["zoo"]["models"]
    rows["dinov2"] |= {"library": "open_clip", "source": "owner/name/weights/tiny.bin", "revision": "main"}
    rows["siglip"] |= {"library": "timm", "source": str(tmp_path / "tiny.pt"), "revision": "none"}
    told = {what.partition(":")[0]: (what, mend) for what, mend in zoo_doctor.lines(shipped)}
    what, mend = told["dinov2"]
    assert "owner/name/weights/tiny.bin may not be had" in what
    assert mend and "owner/name at 'main' is not whole in the local cache" in mend
    assert told["siglip"][1] == f"zoo.models.siglip.source: there is no file or folder {tmp_path / 'tiny.pt'}"
    (tmp_path / "tiny.pt").write_bytes(b"")
    [what] = [what for what, mend in zoo_doctor.lines(shipped) if what.startswith("siglip: ") and mend is None]
    assert "is here, and converted when it is first needed" in what


def test_an_environment_that_could_not_be_built_or_is_gone_is_to_be_mended(
    shipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped["zoo"]["models"]["dinov2"] |= {"library": "timm", "source": str(tmp_path), "architecture": "test_vit"}
    monkeypatch.chdir(tmp_path)
    record = tmp_path / zoo_doctor.RECORDS / "vision_environment.json"

    def said() -> tuple[str, str | None]:
        [found] = [line for line in zoo_doctor.lines(shipped) if line[0].startswith("vision environment, of dinov2")]
        return found

    assert said() == ("vision environment, of dinov2: is built when it is first needed (gigabytes)", None)
    record.parent.mkdir(parents=True)
    documents.write(record, Unbuilt(missing="no disk"))
    assert said() == ("vision environment, of dinov2: could not be built, or is gone", "no disk")
    documents.write(record, Environment(python=tmp_path / "gone", kind="full", locks="0", versions={}))
    what, mend = said()
    assert what.endswith("is gone") and mend and "make setup-vision" in mend
    documents.write(record, Environment(python=Path(sys.executable), kind="given", locks="0", versions={}))
    assert said() == ("vision environment, of dinov2: is built", None)

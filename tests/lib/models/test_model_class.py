"""A model with an odd configuration is a failure of its row, by whichever class of error a library tells it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import zoo_tuning

from stages.lib.core.errors import ModelError
from stages.lib.demo import untrained
from stages.lib.models import image_network, model_class
from stages.lib.models.answerer import AnswererParams, AnswererSetting
from stages.lib.models.answering import qwen25_vl
from stages.lib.models.backbone import BackboneParams, BackboneSetting
from stages.lib.models.backbones import transformers as backbones

SIDE = 56
QWEN = "Qwen2_5_VLForConditionalGeneration"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for architecture in ("Dinov2Model", QWEN):
        made[architecture] = tmp_path_factory.mktemp(architecture)
        untrained.build(made[architecture], architecture, 3, SIDE)
    return made


def changed(source: Path, folder: Path, changes: dict[str, Any]) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "wide"},  # StrictDataclassError
        {"hidden_size": -3},  # RuntimeError
        {"hidden_act": "nosuch"},  # KeyError
        {"dtype": "nonsense"},  # AttributeError
        {"architectures": [["Dinov2Model"]]},
        {"architectures": "Dinov2Model"},
        {"architectures": {}},
    ],
)
def test_an_odd_configuration_is_a_failure_of_the_row_and_no_fault_of_the_code(
    changes: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    found = zoo_tuning.snapshot(changed(folders["Dinov2Model"], tmp_path / "odd", changes))
    row = BackboneParams(
        library="transformers", source="a", revision="none", architecture="Dinov2Model", side_px=SIDE, shifts=1
    )
    with pytest.raises(ModelError, match=r"a_row: .*config\.json"):
        backbones.load(row, BackboneSetting(row="a_row", found=found))
    with pytest.raises(ModelError, match=r"a_row: .*config\.json"):
        image_network.start(row, "a_row", found, "random", 1)


@pytest.mark.parametrize(
    "changes",
    [{"vision_config": 5}, {"vision_config": {"hidden_size": "wide"}}, {"vision_config": {"patch_size": "small"}}],
)
def test_so_is_that_of_a_model_that_is_asked(changes: dict[str, Any], folders: dict[str, Path], tmp_path: Path) -> None:
    found = zoo_tuning.snapshot(changed(folders[QWEN], tmp_path / "odd", changes))
    said = {"seen": "no", "licence": "none", "commercial": True, "source": "a", "revision": "none", "shifts": 1}
    row = AnswererParams(**said, architecture=QWEN, dtype="float32", side_px=SIDE)
    with pytest.raises(ModelError, match=r"a_row: .*cannot be read as Qwen.*config\.json"):
        qwen25_vl.load(row, AnswererSetting(row="a_row", found=found, model=None))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: b"\xff" * 8 + whole[8:], lambda _: b""])
def test_damaged_weights_are_a_failure_of_the_row(damage: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(folders["Dinov2Model"], tmp_path / "odd", {})
    weights = folder / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(ModelError, match=r"a_row: .*cannot be read as Dinov2Model: .*and its weights"):
        model_class.load(folder, "Dinov2Model", "a_row")


def test_weights_that_would_have_to_be_unpickled_are_not_read(folders: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = changed(folders["Dinov2Model"], tmp_path / "odd", {})
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"a_row: .*no file named model\.safetensors"):
        model_class.load(folder, "Dinov2Model", "a_row")

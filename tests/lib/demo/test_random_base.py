"""Tiny models of real classes with random weights: made alike twice, and loaded by the real classes."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages.lib.core import kinds, params
from stages.lib.core.errors import ParamsError
from stages.lib.demo import untrained
from stages.lib.demo.bases import random
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting
from stages.lib.models.backbones import transformers as library
from stages.lib.models.snapshot import Snapshot
from stages.weights import pretrain
from workflow import base_record

SIDE = 112
MAX_BYTES = 500_000
NAMES = sorted(untrained.CONFIGURATIONS)
SEEING = [name for name in NAMES if not name.startswith("Qwen")]
RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) for _ in range(2)]


def make(folder: Path, architecture: str, seed: int = 1) -> Path:
    given = random.Params(architecture=architecture, seed=seed, side_px=SIDE)
    assert random.pretrain(folder, given, SimpleNamespace()) == {}
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name), name) for name in NAMES}


def backbone(folder: Path, architecture: str) -> Backbone:
    row = BackboneParams(
        library="transformers", source=str(folder), revision="none", architecture=architecture, side_px=SIDE, shifts=1
    )
    found = Snapshot(base=str(folder), revision="none", commit=None, folder=folder, sha256="0", files={})
    return library.load(row, BackboneSetting(row=architecture, found=found))


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_decides_each_byte_and_another_seed_the_weights(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    again, other = make(tmp_path / "again", name), make(tmp_path / "other", name, seed=2)
    held = sorted(path.name for path in folders[name].iterdir())
    assert held == sorted(path.name for path in again.iterdir())
    for file in held:
        assert (folders[name] / file).read_bytes() == (again / file).read_bytes(), file
    weights = "model.safetensors"
    assert (other / weights).read_bytes() != (again / weights).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_small_and_says_that_its_weights_are_random(name: str, folders: dict[str, Path]) -> None:
    assert sum(path.stat().st_size for path in folders[name].iterdir()) < MAX_BYTES
    config = json.loads((folders[name] / "config.json").read_text())
    assert config["architectures"] == [name]
    assert config["random_weights"] is True


@pytest.mark.parametrize("name", SEEING)
def test_its_features_are_numbers_that_tell_images_apart_in_half_precision(name: str, folders: dict[str, Path]) -> None:
    loaded = backbone(folders[name], name)
    assert loaded.facts.random_weights
    found = loaded.tokens(IMAGES).patches.astype(np.float16)
    apart = np.abs(found[0].mean(axis=(0, 1)) - found[1].mean(axis=(0, 1)))  # (features,)
    assert np.isfinite(found).all()
    assert (apart > 0).mean() > 0.5


def test_a_siglip_compares_images_with_texts_and_no_two_texts_read_alike(folders: dict[str, Path]) -> None:
    import torch
    from transformers import SiglipModel

    from stages.lib.models.lofi.words import tower_words

    model = SiglipModel.from_pretrained(folders["SiglipModel"], local_files_only=True)
    words = tower_words(folders["SiglipModel"], model.config.text_config.max_position_embeddings)
    ids = words.encode(["A chest X-ray with a lung nodule", "A chest X-ray without a lung nodule"])
    assert (ids == words.encode(["a chest x-ray with a lung nodule"])[0]).all(axis=1).tolist() == [True, False]
    pixels = torch.from_numpy(np.stack([[image] * 3 for image in IMAGES]).astype(np.float32)) / 127.5 - 1
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids), pixel_values=pixels).logits_per_image  # (images, texts)
    contrast = logits[:, 0] - logits[:, 1]
    assert torch.isfinite(logits).all()
    assert (contrast.abs() > 1e-4).all() and (contrast[0] - contrast[1]).abs() > 1e-5


def test_a_qwen_answers_a_conversation_with_an_image_and_each_answer_is_one_token(folders: dict[str, Path]) -> None:
    import torch
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    folder = folders["Qwen2_5_VLForConditionalGeneration"]
    model, told = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, output_loading_info=True
    )
    assert not told["missing_keys"] and not told["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for answer in ("Yes", "No", "yes", "no"):
        assert len(tokenizer.encode(answer, add_special_tokens=False)) == 1
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is there a nodule?"}]}]
    text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert text.count("<|image_pad|>") == 1
    pixels = Qwen2VLImageProcessorPil.from_pretrained(folder)([np.dstack([IMAGES[0]] * 3)], return_tensors="pt")
    assert pixels["image_grid_thw"].tolist() == [[1, 8, 8]]
    seen = int(pixels["image_grid_thw"].prod()) // 4
    batch = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * seen), return_tensors="pt")
    types = (batch["input_ids"] == model.config.image_token_id).int()
    assert int(types.sum()) == seen
    with torch.no_grad():
        logits = model(**batch, **pixels, mm_token_type_ids=types).logits
    assert torch.isfinite(logits).all()
    assert tokenizer.decode(batch["input_ids"][0]).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(("name", "step"), [("DINOv3ViTModel", 16), ("Qwen2_5_VLForConditionalGeneration", 28)])
def test_a_side_that_the_class_does_not_divide_is_refused(name: str, step: int) -> None:
    row = {"kind": "random", "architecture": name, "seed": 1, "side_px": 100}
    with pytest.raises(ParamsError, match=f"side_px 100: wanted a multiple of {step}"):
        params.parse({"weights": {"pretrain": {"one": row}}}, {"weights.pretrain": kinds.rows(kinds.BASES)})


def test_each_class_that_a_row_may_name_is_made() -> None:
    assert set(untrained.CONFIGURATIONS) == set(untrained.STEPS) == set(untrained.PROCESSORS)
    for name in NAMES:
        random.Params(architecture=name, seed=0, side_px=SIDE)


def test_the_stage_writes_it_with_a_page_that_says_what_it_is(tmp_path: Path) -> None:
    row = {"kind": "random", "architecture": "Dinov2Model", "seed": 1, "side_px": SIDE}
    document = {"weights": {"pretrain": {"tiny_dino": row}}}
    out = tmp_path / "tiny_dino"
    pretrain.main(["--params", json.dumps(document), "--base", "tiny_dino", "--out", str(out)])
    text = (out / "README.md").read_text()
    assert "not trained at all" in text and '"architecture": "Dinov2Model"' in text
    assert "--out results/weights/pretrain/tiny_dino" in text
    assert backbone(out, "Dinov2Model").facts.random_weights


def test_the_records_of_shipped_bases_leave_it_out(tmp_path: Path) -> None:
    import yaml

    root = Path(__file__).parents[3]
    preset = yaml.safe_load((root / base_record.PRESET).read_text())
    row = {"kind": "random", "architecture": "Dinov2Model", "seed": 1, "side_px": SIDE}
    preset["weights"]["pretrain"]["tiny_dino"] = row
    copy = tmp_path / base_record.PRESET
    copy.parent.mkdir(parents=True)
    copy.write_text(yaml.safe_dump(preset))
    assert set(base_record.bases(tmp_path)) == {"chest", "slices", "lofi"}

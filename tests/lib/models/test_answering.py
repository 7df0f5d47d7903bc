"""Models that are asked: tiny random ones of the real classes, saved to a folder and loaded from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.core import files
from stages.lib.core.errors import ModelError
from stages.lib.demo import untrained
from stages.lib.models import answerer
from stages.lib.models.answerer import Answerer, AnswererParams, AnswererSetting, Wording, first_tokens
from stages.lib.models.answering import qwen25_vl, text_pairs
from stages.lib.models.snapshot import Snapshot

SIDE = 56
ASKED = Wording("Is there a lung nodule?", "Yes", "No")
TEXTS = Wording(None, "a lung nodule", "clear lungs")
MODULES = {"Qwen2_5_VLForConditionalGeneration": qwen25_vl, "SiglipModel": text_pairs}


def snapshot(folder: Path) -> Snapshot:
    hashes = {path.name: files.sha256_file(path) for path in sorted(folder.iterdir())}
    return Snapshot(
        base=str(folder), revision="none", commit=None, folder=folder, sha256=files.sha256_json(hashes), files=hashes
    )


def params(architecture: str, **changes: Any) -> AnswererParams:
    row = {
        "source": "some/folder",
        "revision": "none",
        "architecture": architecture,
        "dtype": "float32",
        "side_px": SIDE,
        "shifts": 1,
        "seen": "no",
        "licence": "Apache-2.0",
        "commercial": True,
    }
    return AnswererParams(**{**row, **changes})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for architecture in MODULES:
        made[architecture] = tmp_path_factory.mktemp(architecture)
        untrained.build(made[architecture], architecture, 3, SIDE)
    return made


@pytest.fixture(scope="module")
def answerers(folders: dict[str, Path]) -> dict[str, Answerer]:
    return {
        name: module.load(params(name), AnswererSetting(row="a_row", found=snapshot(folders[name]), model=None))
        for name, module in MODULES.items()
    }


def images(count: int, seed: int = 1, side: int = SIDE) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, side, side), dtype=np.uint8))


def wording(answerer: Answerer) -> Wording:
    return TEXTS if answerer.compares else ASKED


@pytest.mark.parametrize("architecture", MODULES)
def test_logits_depend_on_the_image_and_the_wording_and_on_no_other_image(
    architecture: str, answerers: dict[str, Answerer]
) -> None:
    answerer = answerers[architecture]
    asked, shown = wording(answerer), images(5)
    together = answerer.ask(shown, asked)
    assert together.shape == (5, 3)
    assert len(np.unique(together[:, 1])) == 5
    alone = np.concatenate([answerer.ask([image], asked) for image in shown])
    backwards = answerer.ask(shown[::-1], asked)[::-1]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == pytest.approx(backwards, abs=1e-5)
    swapped = answerer.ask(shown, replace(asked, positive=asked.negative, negative=asked.positive))
    assert swapped[:, :2] == pytest.approx(together[:, 1::-1], abs=1e-5)
    assert answerer.random_weights
    assert answerer.operations is not None and answerer.operations > 1e5


def test_the_patches_of_qwen_are_those_of_its_own_image_processor(
    folders: dict[str, Path], answerers: dict[str, Answerer]
) -> None:
    import torch
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from stages.lib.models import preprocessor

    folder = folders["Qwen2_5_VLForConditionalGeneration"]
    shown = images(2)
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
    wanted = processor([np.dstack([image] * 3) for image in shown], return_tensors="pt")
    values = torch.from_numpy(preprocessor.greys(folder, "a_row"))
    found = qwen25_vl.patches(preprocessor.pixels(values, shown, SIDE, "a_row"), 14, 2, 2)
    assert wanted["image_grid_thw"].tolist() == [[1, 4, 4], [1, 4, 4]]
    assert torch.allclose(found.float(), wanted["pixel_values"], atol=1e-5)


def test_an_image_s_tokens_have_places_along_three_axes_and_without_types_other_logits_come_out(
    folders: dict[str, Path],
) -> None:
    import torch

    from stages.lib.models import last_token, model_class

    folder = folders["Qwen2_5_VLForConditionalGeneration"]
    model = model_class.load(folder, qwen25_vl.CLASS, "a_row")
    tokenizer = qwen25_vl._tokenizer(folder, "a_row")
    token = model.config.image_token_id
    prompt = qwen25_vl.prompt_tokens(tokenizer, ASKED, 4, token, "a_row")
    cut = torch.randn(2 * 16, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(1))
    given = qwen25_vl.inputs(cut, prompt, 4, 2, token)
    places, _ = model.model.get_rope_index(
        given["input_ids"], given["mm_token_type_ids"], given["image_grid_thw"], attention_mask=given["attention_mask"]
    )
    start = int(np.flatnonzero(prompt == token)[0])
    for image in range(2):
        seen = places[:, image, start : start + 4] - start
        assert seen.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]]
        assert places[:, image, start + 4].tolist() == [start + 2] * 3  # the text goes on behind the larger side
    pair = qwen25_vl.answer_tokens(tokenizer, ASKED, "a_row")
    without = {name: value for name, value in given.items() if name != "mm_token_type_ids"}
    with torch.inference_mode():
        right = last_token.logits(model, given, pair).pair
        wrong = last_token.logits(model, without, pair).pair
    assert not torch.equal(right, wrong)


def test_another_side_another_class_and_answers_that_begin_alike_are_refused(
    folders: dict[str, Path], answerers: dict[str, Answerer]
) -> None:
    qwen = snapshot(folders["Qwen2_5_VLForConditionalGeneration"])
    siglip = snapshot(folders["SiglipModel"])
    for name, module, found, side, said in (
        ("Qwen2_5_VLForConditionalGeneration", qwen25_vl, qwen, 60, "side_px 60, wanted a multiple of 28"),
        ("SiglipModel", text_pairs, siglip, 60, "side_px 60, wanted a multiple of 14"),
        ("Qwen2_5_VLForConditionalGeneration", qwen25_vl, siglip, SIDE, "found SiglipModel, wanted Qwen2_5_VL"),
        ("SiglipModel", text_pairs, qwen, SIDE, "found Qwen2_5_VLForConditionalGeneration, wanted SiglipModel"),
    ):
        with pytest.raises(ModelError, match=f"a_row: .*{said}"):
            module.load(params(name, side_px=side), AnswererSetting(row="a_row", found=found, model=None))
    answerer = answerers["Qwen2_5_VLForConditionalGeneration"]
    with pytest.raises(ModelError, match="a_row: the answers 'Yes ', 'Yes' begin"):
        answerer.ask(images(1), Wording("Is there?", "Yes", "Yes "))
    with pytest.raises(ModelError, match=r"found images of shape \(28, 28\)"):
        answerer.ask(images(1, side=28), ASKED)


def test_an_answer_is_told_by_its_first_token() -> None:
    assert first_tokens({"No": [4, 5], "Yes": [7]}, "a_row") == {"No": 4, "Yes": 7}
    with pytest.raises(ModelError, match="two different ones"):
        first_tokens({"No nodule": [4, 5], "No": [4]}, "a_row")
    with pytest.raises(ModelError, match="two different ones"):
        first_tokens({"No": [4], "": []}, "a_row")


def test_a_checkpoint_that_lacks_a_layer_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(folders["Qwen2_5_VLForConditionalGeneration"], folder)
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "mlp" in name)
    save_file(
        {name: value for name, value in weights.items() if name != lost}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"a_row: .*lacks"):
        qwen25_vl.load(
            params("Qwen2_5_VLForConditionalGeneration"),
            AnswererSetting(row="a_row", found=snapshot(folder), model=None),
        )


def test_the_study_s_base_is_named_base_and_no_other_model_is() -> None:
    with pytest.raises(ValueError, match="wanted source 'base'"):
        params("Gemma3ForConditionalGeneration")
    with pytest.raises(ValueError, match="wanted source 'base'"):
        params("SiglipModel", source="base")


def test_the_operations_of_qwen_at_its_published_size_are_those_of_the_estimate() -> None:
    from transformers import Qwen2_5_VLConfig

    from workflow import zoo_costs

    shape = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16}
    text = shape | {"num_key_value_heads": 2, "vocab_size": 151936}
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048}
    counted = qwen25_vl._operations(Qwen2_5_VLConfig(text_config=text, vision_config=vision), 36, 2)
    assert counted == pytest.approx(zoo_costs.qwen_flops(504), rel=0.05)


def test_what_other_code_asked_is_not_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in set(answerer.CLASSES.values()):
        module = f"stages.lib.models.answering.{name}"
        before = answerer.identity(module, "weights", "cpu")
        assert answerer.identity(module, "weights", "cpu") == before != answerer.identity(module, "weights", "cuda")
        reached = [path for path in answerer.closure(module) if path.startswith(answerer.ROOM)]
        assert f"stages/lib/models/answering/{name}.py" in reached
        for path in {
            *reached,
            *answerer.closure("stages.lib.images.shifts"),
            *answerer.closure(answerer.classify.__name__),
        }:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes((answerer.ROOT / path).read_bytes())
        with monkeypatch.context() as moved:
            moved.setattr(answerer, "ROOT", tmp_path)
            assert answerer.identity(module, "weights", "cpu") == before
            (tmp_path / "stages/lib/models/classify.py").write_text("# averages otherwise")
            assert answerer.identity(module, "weights", "cpu") != before

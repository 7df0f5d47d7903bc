"""The demo's base: made the same way twice, and as its record says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.lib.core import kinds, params
from stages.lib.detect import box_2d
from stages.lib.detect.box_2d import Box
from stages.lib.models import gemma3, prompts
from stages.weights import pretrain
from workflow import base_record

ROOT = Path(__file__).parents[2]
SECTIONS = {
    "weights.pretrain": pretrain.Params,
    "nodules.prompt": prompts.PromptParams,
    "nodules.localizers": kinds.rows(kinds.LOCALIZERS),
}
SHIPPED = params.parse(yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text()), SECTIONS)
BOXES = SHIPPED.localizers["medgemma"].params
FEW = replace(SHIPPED.pretrain, tower_images=6, tower_steps=2, tower_batch=4, text_images=6, text_steps=3, text_batch=4)
MODEL = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)


def test_equal_parameters_make_equal_bytes_and_both_phases_learn_something(tmp_path: Path) -> None:
    losses = [pretrain.pretrain(tmp_path / name, FEW, SHIPPED.prompt, BOXES) for name in ("one", "two")]
    assert losses[0] == losses[1]
    assert (len(losses[0]["tower"]), len(losses[0]["text"])) == (2, 3)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "model.safetensors" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_the_text_model_is_taught_the_questions_that_the_study_asks() -> None:
    yes_no, where = pretrain.talks(SHIPPED.prompt, BOXES, 0.75)
    assert (yes_no.text, where.text) == (SHIPPED.prompt.question, BOXES.prompts[0])
    nodule = Box(400, 300, 470, 370, "nodule")
    assert (yes_no.answer([]), yes_no.answer([nodule])) == ("No", "Yes")
    assert box_2d.parse(where.answer([])).status == "empty"
    assert yes_no.fraction + where.fraction == 1


def test_what_is_taught_about_boxes_can_be_read_back_at_the_edge_of_the_image_too() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        y, x = rng.uniform(0, 930, 2)
        told = box_2d.parse(pretrain.in_reading_order([Box(y, x, y + 70, x + 70, "nodule")]))
        assert told.status == "ok"
        (box,) = told.boxes
        assert abs((box.y0 + box.y1) / 2 - (y + 35)) <= 50
        assert abs((box.x0 + box.x1) / 2 - (x + 35)) <= 50


def quality(base: Path) -> tuple[float, float]:
    """AUC of the answer and fraction of nodules found, on images that nobody was taught on, as hard as the demo's."""
    from sklearn.metrics import roc_auc_score

    numbers = np.tile([0, 1], 100)
    harder = replace(SHIPPED.pretrain, contrast=(0.6, 1.0), diameter_mm=(12.0, 30.0), image_px=(256, 256))
    images, truth = pretrain.examples(np.random.default_rng(99), numbers, harder)
    loaded = gemma3.load(base, MODEL)
    logits = gemma3.answer_logits(loaded, images, SHIPPED.prompt)
    section = BOXES
    asked = [index for index, number in enumerate(numbers) if number]
    words = gemma3.generate(
        loaded, images[asked], section.prompts[0], section.max_new_tokens, image_first=section.image_first
    )
    found = 0
    for index, said in zip(asked, words, strict=True):
        (true,) = truth[index]
        middle = np.array([true.y0 + true.y1, true.x0 + true.x1]) / 2
        guesses = [np.array([box.y0 + box.y1, box.x0 + box.x1]) / 2 for box in box_2d.parse(said.text).boxes]
        found += any(np.linalg.norm(guess - middle) <= 0.05 * 2**0.5 * box_2d.UNITS for guess in guesses)
    return float(roc_auc_score(numbers, logits[:, 1] - logits[:, 0])), found / len(asked)


@pytest.mark.slow
def test_the_shipped_base_knows_something_and_not_everything() -> None:
    auc, found = quality(ROOT / "workflow/demo_base")
    assert 0.6 < auc < 0.95
    assert found > 0.1


def test_the_shipped_base_its_parameters_and_the_code_agree_with_their_record() -> None:
    wanted = json.loads((ROOT / base_record.RECORD).read_text())
    assert len(wanted["losses_of_a_few_steps"]["text"]) == base_record.FEW["text_steps"]
    assert base_record.differences(base_record.record(ROOT), wanted) == [], base_record.REMAKE


@pytest.mark.parametrize("change", [{"seed": 12}, {"text_peak_lr": 0.003}, {"diameter_mm": (12.0, 30.0)}])
def test_another_seed_schedule_or_image_changes_the_losses_of_the_first_steps(tmp_path: Path, change: dict) -> None:
    few = replace(SHIPPED.pretrain, **base_record.FEW)
    losses = [
        pretrain.pretrain(tmp_path / name, params, SHIPPED.prompt, BOXES)
        for name, params in (("as_is", few), ("changed", replace(few, **change)))
    ]
    assert base_record.differences(losses[1], losses[0])

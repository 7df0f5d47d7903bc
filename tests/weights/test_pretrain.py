"""The demos' bases: made the same way twice, and as their records say."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.lib.core.errors import ParamsError
from stages.lib.demo import tiny
from stages.lib.demo.bases import chest
from stages.lib.models import box_2d, gemma3
from stages.lib.models.box_2d import Box
from stages.weights import pretrain
from workflow import base_record, slices_quality

ROOT = Path(__file__).parents[2]
BASES = base_record.bases(ROOT)
CHEST = BASES["chest"]
PROMPT = CHEST.given.prompt
BOXES = chest.taught_boxes(CHEST.given)
MODEL = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
CHANGES = [
    ("chest", {"seed": 12}),
    ("chest", {"text_peak_lr": 0.003}),
    ("chest", {"diameter_mm": (12.0, 30.0)}),
    ("slices", {"seed": 13}),
    ("slices", {"text_peak_lr": 0.003}),
    ("slices", {"contrast": (0.9, 1.0)}),
    ("slices", {"two_images_fraction": 1.0}),
    ("lofi", {"opacity_fraction": 0.9, "text_peak_lr": 0.004}),
]


@pytest.mark.parametrize("name", BASES)
def test_equal_parameters_make_equal_bytes_and_each_phase_has_a_loss_per_step(name: str, tmp_path: Path) -> None:
    base = BASES[name]
    few = replace(base.few, tower_steps=2, text_steps=3)
    losses = [base.kind.pretrain(tmp_path / copy, few, base.given) for copy in ("one", "two")]
    assert losses[0] == losses[1]
    assert (len(losses[0]["tower"]), len(losses[0]["text"])) == (2, 3)
    files = (path for path in (tmp_path / "one").rglob("*") if path.is_file())
    names = sorted(str(path.relative_to(tmp_path / "one")) for path in files)
    assert set(base.kind.WEIGHTS) <= set(names)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_the_text_model_is_taught_the_questions_that_the_study_asks() -> None:
    yes_no, where = chest.talks(PROMPT, BOXES, 0.75)
    assert (yes_no.text, where.text) == (PROMPT.question, BOXES.prompts[0])
    nodule = Box(400, 300, 470, 370, "nodule")
    assert (yes_no.answer([]), yes_no.answer([nodule])) == ("No", "Yes")
    assert box_2d.parse(where.answer([])).status == "empty"
    assert yes_no.fraction + where.fraction == 1


def test_what_is_taught_about_boxes_can_be_read_back_at_the_edge_of_the_image_too() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        y, x = rng.uniform(0, 930, 2)
        told = box_2d.parse(chest.in_reading_order([Box(y, x, y + 70, x + 70, "nodule")]))
        assert told.status == "ok"
        (box,) = told.boxes
        assert abs((box.y0 + box.y1) / 2 - (y + 35)) <= 50
        assert abs((box.x0 + box.x1) / 2 - (x + 35)) <= 50


def quality(base: Path) -> tuple[float, float]:
    """AUC of the answer and fraction of nodules found, on images that nobody was taught on, as hard as the demo's."""
    from sklearn.metrics import roc_auc_score

    numbers = np.tile([0, 1], 100)
    harder = replace(CHEST.params, contrast=(0.6, 1.0), diameter_mm=(12.0, 30.0), image_px=(256, 256))
    images, truth = chest.examples(np.random.default_rng(99), numbers, harder)
    loaded = gemma3.load(base, MODEL)
    logits = gemma3.answer_logits(loaded, images, PROMPT)
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


@pytest.mark.slow
def test_the_shipped_base_of_slices_knows_something_and_not_everything_as_its_readme_says() -> None:
    every, first, specific = slices_quality.measured(ROOT, few=[0, 1, 5])
    assert every["constant"] + 0.1 < every["key"] < 0.85
    assert every["shifted"] < every["key"] - 0.15
    assert first["key"] < every["key"] - 0.08  # some findings are on the second image alone
    assert specific["side"] > every["side"] + 0.1  # small findings are told when it is asked specifically
    assert every["normal"] > 0.8
    told = slices_quality.recorded((ROOT / BASES["slices"].folder / "README.md").read_text())
    assert len(told) == len(slices_quality.ways(BASES["slices"].params))
    for row, found in ((told[0], every), (told[1], first), (told[5], specific)):
        figures = [found[name] for name in ("key", "kind", "side", "normal", "f1")]
        assert figures == pytest.approx(row, abs=slices_quality.TOLERANCE)


@pytest.mark.parametrize("name", BASES)
def test_a_shipped_base_its_parameters_and_the_code_agree_with_their_record(name: str) -> None:
    base = BASES[name]
    wanted = json.loads((ROOT / base.record).read_text())
    assert len(wanted["losses_of_a_few_steps"]["text"]) == base.kind.FEW["text_steps"]
    assert base_record.differences(base_record.record(ROOT, base), wanted) == [], base.remake


@pytest.mark.parametrize("name", BASES)
def test_the_readme_of_a_shipped_base_is_what_its_parameters_say(name: str) -> None:
    base = BASES[name]
    count = tiny.parameters(ROOT / base.folder / weights for weights in base.kind.WEIGHTS)
    assert (
        (ROOT / base.folder / "README.md")
        .read_text()
        .startswith(pretrain.readme(name, name, base.params, base.given, count))
    )


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_another_seed_schedule_or_image_changes_the_losses_of_the_first_steps(
    tmp_path: Path, name: str, change: dict
) -> None:
    base = BASES[name]
    losses = [
        base.kind.pretrain(tmp_path / copy, params, base.given)
        for copy, params in (("as_is", base.few), ("changed", replace(base.few, **change)))
    ]
    assert base_record.differences(losses[1], losses[0])


def test_a_base_that_is_no_row_is_refused_with_those_that_are(tmp_path: Path) -> None:
    arguments = ["--params", str(ROOT / "params.yaml"), "--base", "slice", "--out", str(tmp_path / "base")]
    with pytest.raises(ParamsError, match="slice: unknown; did you mean 'slices'"):
        pretrain.main(arguments)

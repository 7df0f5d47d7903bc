"""Rows that are asked: the wording is chosen on validation, and an interrupted fit asks nothing twice."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zoo_features

from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.demo import tiny
from stages.lib.learn.candidate import Bank, Inputs
from stages.lib.learn.zoo import vlm
from stages.lib.models.answerer import Answerer, Wording

BANK = Bank(
    questions=("Is it dark?", "Is it bright?", "Bright?"),
    answers=("Yes/No", "Yes/No", "Yes/No"),
    text_pairs=(("bright", "dark"),),
)
SIDE = 28


def params(**changes: Any) -> vlm.Params:
    row = {
        "source": "some/folder",
        "revision": "none",
        "architecture": "Qwen2_5_VLForConditionalGeneration",
        "dtype": "float32",
        "side_px": SIDE,
        "shifts": 1,
        "seen": "labels",
        "licence": "cc-by-nc-4.0",
        "commercial": False,
    }
    return vlm.Params(**{**row, **changes})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Wordings that a model was asked, once for each batch; it says how bright an image is."""
    found: list[str] = []

    def ask(images: Sequence[np.ndarray], wording: Wording) -> np.ndarray:
        found.append(wording.name)
        bright = np.array([image.mean() / 128 - 1 for image in images])
        sign = -1.0 if "dark" in (wording.question or "") else 1.0
        return np.stack([-sign * bright, sign * bright, np.full(len(images), 0.25)], axis=1)

    answerer = Answerer(
        ask=ask, compares=False, token_px=14, identity="fake", parameters=5, operations=7.0, random_weights=True
    )
    monkeypatch.setattr(vlm, "load", lambda params, setting: answerer)
    return found


def images(folder: Path, count: int, *, labelled: bool = True) -> Inputs:
    labels = (np.arange(count) % 3 == 0).astype(np.int64)
    folder.mkdir(exist_ok=True)
    paths = []
    for number, label in enumerate(labels):
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.full((SIDE, SIDE), 200 - number if label else 60 + number, np.uint8))
    names = [f"i{number}" for number in range(count)]
    return Inputs(ids=names, patients=np.array(names), labels=labels if labelled else None, pixels=paths)


def test_the_wording_is_chosen_on_validation_all_are_told_and_nothing_is_asked_twice(
    asked: list[str], tmp_path: Path
) -> None:
    val = images(tmp_path / "val", 9)
    setting = replace(zoo_features.setting(val, None, tmp_path / "work"), bank=BANK)
    fitted = vlm.fit(params(), setting, tmp_path)
    assert [one.option for one in fitted.tried] == ["Is it dark? Yes/No", "Is it bright? Yes/No", "Bright? Yes/No"]
    assert fitted.chosen == "Is it bright? Yes/No"  # the first of two that are tied
    assert fitted.tried[1].average_precision == 1.0
    assert "0.750 of the probability outside" in fitted.tried[0].note
    assert (fitted.parameters, fitted.operations, fitted.passes, fitted.random_weights) == (5, 7.0, 1, True)
    before = len(asked)
    assert vlm.fit(params(), setting, tmp_path) == fitted
    assert len(asked) == before
    test = images(tmp_path / "test", 5, labelled=False)
    found = vlm.score(params(), replace(setting, images=test), tmp_path)
    assert {*asked[before:]} == {"Is it bright? Yes/No"}
    assert found.score.argmax() == 0
    assert found.logits is not None and found.answer_mass is not None
    assert found.answer_mass == pytest.approx(np.full(5, 0.25))


def test_logits_are_the_mean_over_the_places(asked: list[str], tmp_path: Path) -> None:
    val = images(tmp_path / "val", 6)
    setting = replace(zoo_features.setting(val, None, tmp_path / "work"), bank=BANK)
    fitted = vlm.fit(params(shifts=2), setting, tmp_path)
    assert fitted.passes == 4
    found = vlm.score(params(shifts=2), setting, tmp_path).logits
    first = cv2.imread(str(val.pixels[0]), cv2.IMREAD_UNCHANGED)
    moved = []
    for down, right in ((0, 0), (0, 7), (7, 0), (7, 7)):
        place = np.zeros_like(first)
        place[down:, right:] = first[: SIDE - down, : SIDE - right]
        moved.append(place.mean() / 128 - 1)
    assert found[0, 1] == pytest.approx(np.mean(moved))
    with pytest.raises(ModelError, match=r"zoo.models.some_row.shifts: found 3"):
        vlm.fit(params(shifts=3), setting, tmp_path)


def test_validation_of_one_class_is_refused(asked: list[str], tmp_path: Path) -> None:
    val = replace(images(tmp_path / "val", 4), labels=np.zeros(4, np.int64))
    with pytest.raises(TrainingError, match=r"some_row: .*both classes"):
        vlm.fit(params(), zoo_features.setting(val, None, tmp_path / "work"), tmp_path)


def test_the_study_s_base_is_asked_as_a_row(tmp_path: Path) -> None:
    from stages.lib.models.gemma3 import ModelParams
    from stages.lib.models.snapshot import Snapshot

    base = Path("workflow/demo_base")
    found = Snapshot(base=str(base), revision="none", commit=None, folder=base, sha256="x", files={})
    side = tiny.SIDE_PX
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8))
    names = [str(number) for number in range(4)]
    val = Inputs(ids=names, patients=np.array(names), labels=np.array([0, 1, 0, 1]), pixels=paths)
    model = ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
    bank = replace(BANK, questions=("Does this chest X-ray show a lung nodule?",), answers=("Yes/No",))
    setting = replace(zoo_features.setting(val, None, tmp_path / "work"), bank=bank, found=found, model=model)
    row = params(architecture="Gemma3ForConditionalGeneration", source="base", side_px=side)
    fitted = vlm.fit(row, setting, tmp_path)
    assert fitted.operations is not None and fitted.operations > 1e7
    assert len(np.unique(vlm.score(row, setting, tmp_path).score)) == 4


@pytest.mark.parametrize(
    "changes", [{"answers": ("Yes/Yes ",) * 3}, {"answers": ("Yes",) * 3}, {"text_pairs": (("a nodule", "a nodule"),)}]
)
def test_two_equal_answers_or_texts_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="wanted two different ones"):
        replace(BANK, **changes)

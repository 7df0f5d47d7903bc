"""Rows that are asked: the wording is chosen on validation, and an interrupted fit asks nothing twice."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zoo_features

from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.demo import tiny
from stages.lib.learn.candidate import Bank, Inputs
from stages.lib.learn.kept_logits import KeptLogits
from stages.lib.learn.zoo import vlm
from stages.lib.models import answerer
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


def test_a_renamed_row_asks_nothing_about_any_image_and_another_model_or_prompt_asks_all(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    val, test = images(tmp_path / "val", 9), images(tmp_path / "test", 5, labelled=False)

    def run(row: str, own: vlm.Params | None = None, **changes: Any) -> tuple[Any, Any, int]:
        """What a row is fitted to, what it says of test images, and how many passes it made."""
        before, folder = len(asked), tmp_path / row
        folder.mkdir(exist_ok=True)
        given = {"row": row, "bank": BANK, "cache": tmp_path / "kept", **changes}
        setting = replace(zoo_features.setting(val, None, tmp_path / f"work_{row}"), **given)
        told = vlm.fit(own or params(), setting, folder)
        scores = vlm.score(own or params(), replace(setting, images=test), folder)
        return told, scores, len(asked) - before

    told, scores, passes = run("first")
    assert passes == 3 * 3 + 2  # wordings x batches of four of validation, and the batches of test images
    again, same, none = run("renamed", params(seen="no", licence="MIT", commercial=True))
    assert (again, none) == (told, 0)
    assert same.logits.tobytes() == scores.logits.tobytes()
    assert same.answer_mass.tobytes() == scores.answer_mass.tobytes()
    assert run("of_validation_alone")[2] == 0
    assert run("shifted", params(shifts=2))[2] > passes
    other = replace(BANK, questions=("Is it dark?", "Is it bright?", "Very bright?"))
    assert run("asked_otherwise", bank=other)[2] == 3  # the two other wordings are known, and the chosen one is
    assert run("in_other_passes", batch_size=9)[2] == 3 + 1
    known = vlm.load(params(), zoo_features.setting(val, None, tmp_path))
    monkeypatch.setattr(vlm, "load", lambda params, setting: replace(known, identity="other weights"))
    assert run("other_weights")[2] == passes
    monkeypatch.setattr(vlm, "load", lambda params, setting: known)
    cv2.imwrite(str(test.pixels[0]), np.full((SIDE, SIDE), 3, np.uint8))
    assert run("another_image")[2] == 2


def test_other_versions_of_the_libraries_are_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "stages.lib.models.answering.medgemma"
    was = answerer.identity(module, "weights")
    assert answerer.identity(module, "weights") == was
    for name in ("torch", "transformers"):
        with monkeypatch.context() as patched:
            patched.setattr(answerer, "version", lambda one, name=name: "0" if one == name else version(one))
            assert answerer.identity(module, "weights") != was


def make(setting: Any, both: Any) -> None:
    """Ask for logits that another process makes at the same time."""

    def together() -> np.ndarray:
        both.wait(30)
        return np.arange(27.0).reshape(9, 3)

    found = KeptLogits(setting).find(["facts"], together)
    assert found.tolist() == np.arange(27.0).reshape(9, 3).tolist()


def test_two_processes_that_ask_the_same_at_once_keep_it_whole(tmp_path: Path) -> None:
    setting = replace(
        zoo_features.setting(images(tmp_path / "val", 9), None, tmp_path / "work"), cache=tmp_path / "kept"
    )
    fork = multiprocessing.get_context("fork")
    both = fork.Barrier(2)
    processes = [fork.Process(target=make, args=(setting, both)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    [at] = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    at.write_bytes(at.read_bytes()[:-1])  # what a full disk cut is made again
    assert KeptLogits(setting).find(["facts"], lambda: np.ones((9, 3))).tolist() == np.ones((9, 3)).tolist()


def test_what_is_no_number_is_not_kept(tmp_path: Path) -> None:
    setting = zoo_features.setting(images(tmp_path / "val", 2), None, tmp_path / "work")
    known = KeptLogits(setting)
    assert np.isnan(known.find(["facts"], lambda: np.full((2, 3), np.nan))).all()
    assert known.find(["facts"], lambda: np.ones((2, 3))).tolist() == np.ones((2, 3)).tolist()
    assert known.find(["facts"], lambda: np.zeros((2, 3))).tolist() == np.ones((2, 3)).tolist()


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

"""CheXagent-2 as a row: the stand-in's logits follow the image, so what comes out is known.

What it does not prove: that the real weights load and the real code runs, that "Yes" and "No" are what the real model
answers with, and anything about how well nodules are found.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import standin
import zoo_backbone
import zoo_features
import zoo_kind

from stages.lib.core import documents, kinds
from stages.lib.core.errors import DocumentError, ModelError, ParamsError, WorkerError
from stages.lib.core.params import parse
from stages.lib.images.normalized import load
from stages.lib.learn.candidate import Bank, Inputs, Setting
from stages.lib.learn.zoo import chexagent
from stages.lib.models.chexagent import client, facts, worker
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.own_environment import Environment
from stages.lib.models.own_process import REFUSED, RefusalError
from stages.lib.models.snapshot import Missing, Snapshot
from stages.weights import fetch_chexagent

BRIGHT, EMPTY = "Is there a bright spot?", "Is the image empty?"
BANK = Bank(questions=(EMPTY, BRIGHT), answers=("Yes/No", "Yes/No"), text_pairs=(("bright", "dark"),))
SIDE, TOKEN_PX, WORDS = 128, 8, 256 + len(standin.SPECIALS)
ROW: Mapping[str, Any] = {
    "seen": "labels",
    "licence": "cc-by-nc-4.0",
    "commercial": False,
    "revision": "none",
    "code_revision": "none",
    "encoder_revision": "none",
    "dtype": "float32",
    "batch_size": 4,
    "probe_images": 3,
    "start_timeout_s": 120.0,
    "batch_timeout_s": 60.0,
    "side_px": SIDE,
    "shifts": 1,
}


def params(model: Path, encoder: Path, **changes: Any) -> chexagent.Params:
    row = {"kind": "chexagent", "model": str(model), "encoder": str(encoder), **ROW, **changes}
    rows = parse({"zoo": {"models": {"own": row}}}, {"zoo.models": kinds.rows(kinds.MODELS)}).models
    found: chexagent.Params = rows["own"].params
    return found


def images(folder: Path, count: int, *, first: int = 0) -> Inputs:
    """Images of noise, every third with a bright disc, which is its label."""
    labels = (np.arange(count) % 3 == 0).astype(np.int64)
    folder.mkdir(exist_ok=True)
    paths = []
    for number, label in enumerate(labels):
        paths.append(folder / f"{number}.png")
        pixels = standin.image(
            0.3 + 0.07 * number, 0.4, side_px=SIDE, radius=0.06 if label else 0.0, seed=first + number
        )
        cv2.imwrite(str(paths[-1]), pixels)
    names = [f"i{first + number:02}" for number in range(count)]
    return Inputs(ids=names, patients=np.array(names), labels=labels, pixels=paths)


def sure(image: np.ndarray) -> float:
    """How sure the stand-in is of Yes to the question for a bright spot, by hand: a patch is 8 x 8 pixels."""
    patches = (image / 255).reshape(SIDE // TOKEN_PX, TOKEN_PX, SIDE // TOKEN_PX, TOKEN_PX).mean((1, 3))
    return float(patches.max() - np.median(patches))


def setting(val: Inputs, work: Path, parts: Path | None, environment: Path | None) -> Setting:
    return replace(zoo_features.setting(val, None, work), bank=BANK, parts=parts, environment=environment)


@dataclass(frozen=True)
class Fitted:
    """A row that was fitted, and what it scored."""

    params: chexagent.Params
    setting: Setting
    folder: Path
    fitted: Any
    found: Any


@pytest.fixture(scope="module")
def fitted(chexagent_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """A row at four places, fitted once: two wordings on nine validation images, one on five others."""
    folder = tmp_path_factory.mktemp("row")
    row = params(*standin.build(folder / "standin"), shifts=2)
    documents.write(folder / "parts.json", fetch_chexagent.fetch_chexagent(row, None, True))
    documents.write(folder / "environment.json", chexagent_environment)
    val = images(folder / "val", 9)
    given = setting(val, folder / "work", folder / "parts.json", folder / "environment.json")
    made = chexagent.fit(row, given, folder)
    asked = replace(given, images=replace(images(folder / "test", 5, first=50), labels=None))
    return Fitted(row, asked, folder, made, chexagent.score(row, asked, folder))


@pytest.mark.slow
def test_the_right_wording_is_chosen_on_validation_and_all_are_told_with_what_is_outside_the_answers(
    fitted: Fitted,
) -> None:
    made = fitted.fitted
    assert [one.option for one in made.tried] == [f"{EMPTY} Yes/No", f"{BRIGHT} Yes/No"]
    assert made.chosen == f"{BRIGHT} Yes/No"
    precisions = [one.average_precision for one in made.tried]
    assert precisions[1] == 1.0
    assert precisions[0] < 0.5
    assert all("of the probability outside the two answers" in one.note for one in made.tried)
    assert (made.passes, made.operations) == (4, None)
    weights = standin.encoder_weights()
    assert made.parameters == 1 + sum(value.size for value in weights.values())


@pytest.mark.slow
def test_logits_are_the_mean_of_those_of_the_image_moved_by_hand_and_the_mass_is_theirs(fitted: Fitted) -> None:
    moved, mass = [], []
    for path in fitted.setting.images.pixels or ():
        image = load(path)
        places = []
        for down, right in ((0, 0), (0, 4), (4, 0), (4, 4)):
            place = np.zeros_like(image)
            place[down:, right:] = image[: SIDE - down, : SIDE - right]
            places.append(10 * sure(place))
        both = [np.exp(yes) + np.exp(10 - yes) for yes in places]
        moved.append(np.mean(places))
        mass.append(np.mean([two / (two + WORDS - 2) for two in both]))
    logits = fitted.found.logits
    assert logits[:, 1] == pytest.approx(moved, abs=0.05)  # its code rounds the image that it resizes
    assert logits.sum(axis=1) == pytest.approx(np.full(5, 10.0))
    assert fitted.found.answer_mass == pytest.approx(mass, abs=0.01)
    unmoved = [10 * sure(load(path)) for path in fitted.setting.images.pixels or ()]
    assert np.abs(logits[:, 1] - unmoved).max() > 0.2
    assert fitted.found.score == pytest.approx(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])))


@pytest.mark.slow
def test_what_was_asked_is_not_asked_again_and_labels_of_images_that_are_scored_change_nothing(
    fitted: Fitted, tmp_path: Path
) -> None:
    record = documents.read(fitted.setting.environment, Environment)
    documents.write(tmp_path / "environment.json", replace(record, python=_no_python(tmp_path)))
    nobody = replace(fitted.setting, environment=tmp_path / "environment.json")
    assert chexagent.score(fitted.params, nobody, fitted.folder).logits.tolist() == fitted.found.logits.tolist()
    wrong = replace(nobody, images=replace(nobody.images, labels=np.array([0, 1, 1, 0, 1])))
    assert chexagent.score(fitted.params, wrong, fitted.folder).logits.tolist() == fitted.found.logits.tolist()


@pytest.mark.slow
def test_a_renamed_row_asks_nothing_and_another_prompt_asks(fitted: Fitted, tmp_path: Path) -> None:
    record = documents.read(fitted.setting.environment, Environment)
    documents.write(tmp_path / "environment.json", replace(record, python=_no_python(tmp_path)))
    elsewhere = {"row": "renamed", "work": tmp_path / "work", "cache": fitted.setting.work}
    nobody = replace(fitted.setting, environment=tmp_path / "environment.json", **elsewhere)
    own = replace(fitted.params, licence="another", seen="unknown")
    assert chexagent.score(own, nobody, fitted.folder).logits.tolist() == fitted.found.logits.tolist()
    val = replace(nobody, images=images(fitted.folder / "val", 9))
    (tmp_path / "fitted").mkdir()
    assert chexagent.fit(own, val, tmp_path / "fitted") == fitted.fitted
    other = replace(val, bank=replace(BANK, questions=(EMPTY, "Is there a spot?")))
    with pytest.raises(WorkerError, match="exit code 9"):
        chexagent.fit(own, other, tmp_path / "fitted")
    assert not list(elsewhere["work"].glob("*"))


@pytest.mark.slow
def test_two_that_ask_the_same_at_once_are_answered_by_one_process(
    fitted: Fitted, chexagent_environment: Environment, tmp_path: Path
) -> None:
    row = params(*standin.build(tmp_path / "standin"))
    where = client.Setting(fetch_chexagent.fetch_chexagent(row, None, True), chexagent_environment)
    pixels = [load(path) for path in fitted.setting.images.pixels or ()]
    questions = [client.Question(f"i{n}", lambda n=n: pixels[n], BRIGHT) for n in range(len(pixels))]

    def ask(_: int) -> list[list[float]]:
        found: list[list[float]] = client.ask(questions, ("No", "Yes"), row, where, tmp_path / "journals").tolist()
        return found

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, range(2))
    assert first == second
    (path,) = (tmp_path / "journals").glob("*/answers.jsonl")
    assert [line["kind"] for line in worker.read_journal(path)[0]].count("start") == 1


def _no_python(folder: Path) -> Path:
    """An interpreter that is there, and runs nothing."""
    (folder / "python").write_text("#!/bin/sh\nexit 9\n")
    (folder / "python").chmod(0o755)
    return folder / "python"


@pytest.mark.slow
def test_a_killed_worker_goes_on_to_the_same_logits_and_an_image_without_an_answer_is_named_at_the_end(
    fitted: Fitted, chexagent_environment: Environment, tmp_path: Path
) -> None:
    row = params(*standin.build(tmp_path / "standin", "corners", 0.3), batch_size=1)
    where = client.Setting(fetch_chexagent.fetch_chexagent(row, None, True), chexagent_environment)
    paths = list(fitted.setting.images.pixels or ())
    spoilt = load(paths[3])
    spoilt[:8, :8] = 255
    pixels = [load(path) for path in paths]
    pixels[3] = spoilt
    questions = [client.Question(f"i{n}\t0,0", lambda n=n: pixels[n], BRIGHT) for n in range(len(pixels))]
    journals = tmp_path / "journals"
    killer = threading.Thread(target=_kill, args=(journals,))
    killer.start()
    with pytest.raises(WorkerError, match="signal 9"):
        client.ask(questions, ("No", "Yes"), row, where, journals)
    killer.join()
    with pytest.raises(WorkerError, match=r"no answer to 1 of 5 questions \(i3 0,0: ValueError: a white corner\)"):
        client.ask(questions, ("No", "Yes"), row, where, journals)
    (path,) = journals.glob("*/answers.jsonl")
    lines = [line for line in worker.read_journal(path)[0] if line["kind"] == "answer" and not line["error"]]
    assert sorted(line["key"] for line in lines) == [f"i{n}\t0,0" for n in (0, 1, 2, 4)]  # each once
    for line in lines:
        yes = 10 * sure(pixels[int(line["key"][1])])
        assert line["logits"] == pytest.approx([10 - yes, yes], abs=0.05)
        assert 0 < line["mass"] < 1
        assert line["words"] in ("Y", "N")


def _kill(journals: Path) -> None:
    """Kill the worker as soon as it has answered two questions."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for path in journals.glob("*/answers.jsonl"):
            lines = worker.read_journal(path)[0]
            if sum(line["kind"] == "answer" for line in lines) >= 2:
                os.kill(lines[0]["pid"], signal.SIGKILL)
                return
        time.sleep(0.02)


@pytest.mark.slow
def test_answers_that_begin_with_the_same_token_are_refused(fitted: Fitted, tmp_path: Path) -> None:
    bank = replace(BANK, answers=("Yes/Yellow", "Yes/No"))
    again = replace(fitted.setting, images=images(tmp_path / "val", 3), bank=bank, work=tmp_path)
    with pytest.raises(
        WorkerError, match=r"refused: the answers 'Yellow' and 'Yes' begin with the tokens \[\[89\], \[89\]"
    ):
        chexagent.fit(fitted.params, again, tmp_path)


def test_answers_without_a_token_or_with_the_same_first_one_tell_nothing_apart() -> None:
    for ids in ({"No": [], "Yes": [1]}, {"No": [2, 3], "Nope": [2, 4]}, {"Yes": [1]}):
        with pytest.raises(RefusalError, match="wanted two different ones") as caught:
            worker.first_tokens(ids)
        assert caught.value.code == REFUSED


@pytest.mark.parametrize("shared", [False, True])
def test_logits_are_float32_unless_the_head_is_the_embeddings_whatever_a_configuration_leaves_out(shared: bool) -> None:
    """Where a configuration does not speak of ties, transformers 4.40.0 says that there are some."""
    import torch
    from torch import nn

    model = nn.ModuleDict({"embeddings": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)}).bfloat16()
    if shared:
        model["head"].weight = model["embeddings"].weight
    named = SimpleNamespace(
        get_output_embeddings=lambda: model["head"],
        config=SimpleNamespace(tie_word_embeddings=True),
        named_modules=model.named_modules,
    )
    worker.sharpen(named)
    assert model["embeddings"].weight.dtype == torch.bfloat16
    assert model["head"](torch.ones(1, 3, dtype=torch.bfloat16)).dtype == (torch.bfloat16 if shared else torch.float32)


def test_a_batch_is_compared_with_single_runs_by_its_logits_where_these_tell_answers_apart() -> None:
    import torch

    scores = torch.tensor([0.0, 1.0, 2.0, 3.0])
    one = {"words": "Y", "scores": scores, "logits": [1.0, 2.0]}
    assert worker.alike(one, one | {"logits": [1.0, 2.001]}, 1e-3)
    assert not worker.alike(one, one | {"logits": [1.0, 2.01]}, 1e-3)
    assert worker.alike(one, one | {"logits": [1.0, 2.01], "words": "N"}, 0.1)
    words = {"words": "Y", "scores": scores}
    assert worker.alike(words, words | {"scores": scores + 1}, 1e-3)
    assert not worker.alike(words, words | {"words": "N"}, 1e-3)
    with pytest.raises(RefusalError, match="does not look at the image"):
        worker.judge([one, one], one)


@pytest.fixture
def anywhere(tmp_path: Path) -> tuple[chexagent.Params, Path, Path]:
    """A row of the stand-in, and the records of its files and of an environment that is this one."""
    row = params(*standin.build(tmp_path / "standin"))
    documents.write(tmp_path / "parts.json", fetch_chexagent.fetch_chexagent(row, None, True))
    built = Environment(python=Path(sys.executable), kind="given", locks="0", versions={"transformers": "4.40.0"})
    documents.write(tmp_path / "environment.json", built)
    return row, tmp_path / "parts.json", tmp_path / "environment.json"


Anywhere = tuple[chexagent.Params, Path, Path]


def test_the_stage_hands_the_records_on_and_a_row_that_cannot_be_asked_fails_alone(
    anywhere: Anywhere, tmp_path: Path
) -> None:
    _, parts, environment = anywhere
    study = zoo_backbone.study(tmp_path / "study", images=24)
    row = {"kind": "chexagent", "model": "m", "encoder": "e", **ROW}
    named = {"parts": parts, "environment": environment, "normalized": study / "normalized.parquet"}
    record = zoo_kind.run_fit(study, tmp_path / "fit", "two", row, **named)
    assert record.failure is not None
    assert record.failure.error == "WorkerError"
    assert "wanted exactly 4.40.0" in record.failure.reason
    documents.write(parts, Missing(base="m", revision="none", missing="nobody has it"))
    record = zoo_kind.run_fit(study, tmp_path / "fit", "two", row, **named)
    assert record.failure is not None
    assert (record.failure.error, record.failure.reason) == ("ModelError", "nobody has it")


def test_the_journal_s_name_covers_the_two_answers_and_their_order(anywhere: Anywhere, tmp_path: Path) -> None:
    row, parts, environment = anywhere
    question = client.Question("a", lambda: standin.image(0.4, 0.4), BRIGHT)
    names = set()
    for answers in (("No", "Yes"), ("Yes", "No"), ("no", "yes")):
        folder = tmp_path / "-".join(answers)
        with pytest.raises(WorkerError):
            client.ask([question], answers, row, client.setting(parts, environment), folder)
        names.add(next(folder.iterdir()).name)
    assert len(names) == 3


def test_a_process_answers_a_part_of_many_questions_and_all_without_an_answer_are_named(
    anywhere: Anywhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, parts, environment = anywhere
    begun: list[list[str]] = []

    def lines(questions: Sequence[client.Question], *rest: Any) -> Iterator[dict[str, Any]]:
        begun.append([one.key for one in questions])
        for one in questions:
            number = int(one.key)
            yield {"key": one.key, "error": "no" if number in lost else None, "logits": [number, 1], "mass": 0.5}

    monkeypatch.setattr(client, "_lines", lines)
    monkeypatch.setattr(client, "AT_ONCE", 2)
    where = client.setting(parts, environment)
    asked = [client.Question(str(number), lambda: standin.image(0.4, 0.4), BRIGHT) for number in range(5)]
    lost: set[int] = set()
    found = client.ask(asked, ("No", "Yes"), row, where, tmp_path)
    assert begun == [["0", "1"], ["2", "3"], ["4"]]
    assert found.tolist() == [[number, 1, 0.5] for number in range(5)]
    assert client.ask([], ("No", "Yes"), row, where, tmp_path).shape == (0, 3)
    lost = {1, 4}
    with pytest.raises(WorkerError, match=r"no answer to 2 of 5 questions \(1: no; 4: no\)"):
        client.ask(asked, ("No", "Yes"), row, where, tmp_path)
    with pytest.raises(ParamsError, match="keys are not unique"):
        client.ask([asked[0], asked[1], asked[0]], ("No", "Yes"), row, where, tmp_path)


def test_records_that_were_not_given_are_named(anywhere: Anywhere, tmp_path: Path) -> None:
    row, parts, environment = anywhere
    val = images(tmp_path / "val", 3)
    with pytest.raises(ModelError, match=r"some_row: found no --parts, --environment"):
        chexagent.fit(row, setting(val, tmp_path, None, None), tmp_path)
    with pytest.raises(ModelError, match=r"some_row: found no --environment"):
        chexagent.fit(row, setting(val, tmp_path, parts, None), tmp_path)
    with pytest.raises(DocumentError, match=r"run zoo\.fit again"):
        chexagent.score(row, setting(val, tmp_path, parts, environment), tmp_path)
    with pytest.raises(ModelError, match=r"zoo.models.some_row.shifts: found 3, wanted a divisor of 8"):
        chexagent.fit(replace(row, shifts=3), setting(val, tmp_path, parts, environment), tmp_path)


def snapshot(folder: Path) -> Snapshot:
    return Snapshot(base="b", revision="none", commit=None, folder=folder, sha256="0", files={})


@pytest.mark.parametrize(
    ("visual", "encoder", "side_px", "wanted"),
    [
        ({"image_size": 512}, {"image_size": 384, "patch_size": 16}, 512, 16),
        ({"image_size": 512}, {"image_size": 384, "patch_size": 16}, 1024, 32),
        ({}, {"image_size": 384, "patch_size": 16}, 384, 16),
        ({}, {"vision_config": {"image_size": 64, "patch_size": 4}}, 128, 8),
    ],
)
def test_an_image_token_is_the_encoder_s_patch_in_pixels_of_the_image_that_is_given(
    tmp_path: Path, visual: dict[str, Any], encoder: dict[str, Any], side_px: int, wanted: int
) -> None:
    for name, document in (("model", {"visual": visual}), ("encoder", encoder)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(document))
    parts = Parts(model=snapshot(tmp_path / "model"), code=snapshot(tmp_path), encoder=snapshot(tmp_path / "encoder"))
    assert facts.token_px(parts, side_px, "row") == wanted
    assert facts.parameters(parts) is None
    with pytest.raises(ModelError, match=r"row: found side_px \d+, .* wanted a multiple of"):
        facts.token_px(parts, side_px + 1, "row")
    (tmp_path / "encoder/config.json").write_text("{}")
    with pytest.raises(ModelError, match="wanted two numbers"):
        facts.token_px(parts, side_px, "row")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"revision": "main", "code_revision": "main"}, "full commit hash of 40 digits"),
        ({"probe_images": 1}, "at least 2"),
        ({"prompts": ["x"]}, "prompts"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_a_row_is_checked_as_a_localizer_is(changes: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ParamsError, match=wanted):
        params(Path("m"), Path("e"), **changes)


def test_files_are_fetched_for_a_row_as_for_a_localizer(anywhere: Anywhere, tmp_path: Path) -> None:
    row, parts, _ = anywhere
    out = tmp_path / "out.json"

    def main(name: str, model: str, *more: str) -> None:
        values = {"kind": "chexagent", "model": model, "encoder": row.encoder, **ROW}
        prevalence = {"kind": "prevalence", "seen": "no", "licence": "none", "commercial": True}
        document = {"zoo": {"models": {"two": values, "prevalence": prevalence}}}
        fetch_chexagent.main(["--params", json.dumps(document), "--model", name, "--out", str(out), *more])

    main("two", row.model)
    assert documents.read(out, Parts) == documents.read(parts, Parts)
    for name in ("prevalence", "three"):
        with pytest.raises(ParamsError, match=rf"found '{name}', wanted a row of zoo.models of the kind"):
            main(name, row.model)
    with pytest.raises(ParamsError, match=r"found 2 of --localizer and --model"):
        main("two", row.model, "--localizer", "two")
    with pytest.raises(ModelError, match=r"^zoo\.models\.two\.model: there is no folder nobody/here"):
        main("two", "nobody/here")
    main("two", "nobody/here", "--missing")
    assert "there is no folder nobody/here" in documents.read(out, Missing).missing

"""The first CheXagent as a row: a stand-in of the classes that its own code has variants of, under transformers 4.40.0.

What it does not prove: that the real weights load and the real code runs, that "Yes" and "No" are what the real model
answers with, what a run costs, and anything about how well nodules are found.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import first
import numpy as np
import pytest
import standin
import zoo_features

from stages.lib.core import documents, kinds
from stages.lib.core.errors import BlindModelError, ModelError, ParamsError
from stages.lib.core.params import parse
from stages.lib.images.normalized import load
from stages.lib.images.shifts import Shift
from stages.lib.learn.candidate import Bank, Inputs
from stages.lib.learn.zoo import chexagent
from stages.lib.models.chexagent import client, facts, worker
from stages.lib.models.chexagent.client import Question
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.own_environment import Environment
from stages.lib.models.own_process import RefusalError, sha256
from stages.weights import fetch_chexagent

ASKED, LONGER = "Is there a nodule?", "Is there a nodule? Is the image clear?"
ANSWERS = ("No", "Yes")
SIDE_PX = 112
ROW: dict[str, Any] = {
    "kind": "chexagent",
    "seen": "labels",
    "licence": "none",
    "commercial": False,
    "revision": "none",
    "code_revision": "none",
    "encoder": "none",
    "encoder_revision": "none",
    "dtype": "float32",
    "batch_size": 4,
    "probe_images": 3,
    "start_timeout_s": 120.0,
    "batch_timeout_s": 60.0,
    "side_px": SIDE_PX,
    "shifts": 1,
}
# The model card's own calls, which the worker knows nothing of: one image at a time, in the words that it gives.
OWN_CALLS = """
import json, sys, torch, transformers
from PIL import Image
folder, asked = sys.argv[1], json.loads(sys.argv[2])
own = {"trust_remote_code": True, "local_files_only": True}
processor = transformers.AutoProcessor.from_pretrained(folder, **own)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, **own).eval()
for path, question in asked:
    image = Image.open(path).convert("RGB")
    inputs = processor(images=[image], text=f" USER: <s>{question} ASSISTANT: <s>", return_tensors="pt")
    with torch.inference_mode():
        print(json.dumps(model(**inputs).logits[0, -1].tolist()))
"""
# What the published code takes from transformers, by the head of its files.
IMPORTS = """
from transformers.activations import ACT2FN
from transformers.configuration_utils import PretrainedConfig
from transformers.image_utils import ImageInput
from transformers.modeling_outputs import (
    BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions, BaseModelOutputWithPooling,
    BaseModelOutputWithPoolingAndCrossAttentions,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.processing_utils import ProcessorMixin
from transformers.pytorch_utils import (
    apply_chunking_to_forward, find_pruneable_heads_and_indices, prune_linear_layer,
)
from transformers.tokenization_utils_base import (
    BatchEncoding, PaddingStrategy, PreTokenizedInput, TextInput, TruncationStrategy,
)
from transformers.utils import ModelOutput, TensorType, logging
for name in ("get_head_mask", "get_extended_attention_mask", "invert_attention_mask"):
    getattr(PreTrainedModel, name)
print("all there")
"""


def params(model: Path | str, **changes: Any) -> chexagent.Params:
    rows = parse(
        {"zoo": {"models": {"own": {**ROW, "model": str(model), **changes}}}},
        {"zoo.models": kinds.rows(kinds.MODELS)},
    ).models
    found: chexagent.Params = rows["own"].params
    return found


def questions(count: int, prompt: str = ASKED, *, first_number: int = 0) -> list[Question]:
    return [
        Question(f"image{n} {prompt}", lambda n=n: standin.image(0.2 + 0.1 * n, 0.5, side_px=SIDE_PX, seed=n), prompt)
        for n in range(first_number, first_number + count)
    ]


@pytest.fixture
def build(chexagent_environment: Environment, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that builds a stand-in with a fault and gives its row and setting."""

    def make(fault: str | None = None, **changes: Any) -> tuple[chexagent.Params, client.Setting]:
        row = params(first.build(tmp_path / f"first{len(list(tmp_path.iterdir()))}", fault), **changes)
        return row, client.Setting(fetch_chexagent.fetch_chexagent(row, None, True), chexagent_environment)

    return make


def own_logits(python: Path, model: str, asked: Sequence[tuple[np.ndarray, str]], folder: Path) -> np.ndarray:
    """Logits of every word, shape (n, words), by the model card's own calls in the model's environment."""
    paths = [folder / f"own{number}.png" for number in range(len(asked))]
    for path, (image, _) in zip(paths, asked, strict=True):
        cv2.imwrite(str(path), image)
    (folder / "own").symlink_to(model)
    told = json.dumps([[str(path), question] for path, (_, question) in zip(paths, asked, strict=True)])
    command = [str(python), "-I", "-c", OWN_CALLS, str(folder / "own"), told]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return np.array([json.loads(line) for line in done.stdout.splitlines()])


COLUMNS = [len(first.SPECIALS) + first.WORDS.index(word) for word in ANSWERS]  # of the two answers among the words
QUESTIONS = [*questions(5), *questions(2, LONGER)]


@pytest.fixture(scope="module")
def own(chexagent_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Logits of every word after each of `QUESTIONS`, by the model card's own calls."""
    folder = tmp_path_factory.mktemp("own")
    asked = [(one.pixels(), one.prompt) for one in QUESTIONS]
    return own_logits(chexagent_environment.python, str(first.build(folder)), asked, folder)


@pytest.mark.slow
def test_logits_and_mass_are_those_of_the_model_card_s_own_calls_in_batches_and_for_questions_of_two_lengths(
    build: Callable[..., Any], own: np.ndarray, tmp_path: Path
) -> None:
    row, where = build()
    found = client.ask(QUESTIONS, ANSWERS, row, where, tmp_path / "journals")
    assert found[:, :2] == pytest.approx(own[:, COLUMNS], abs=1e-5)
    shares = np.exp(own - own.max(1, keepdims=True))
    assert found[:, 2] == pytest.approx(shares[:, COLUMNS].sum(1) / shares.sum(1), abs=1e-5)
    assert np.ptp(found[:5, 1] - found[:5, 0]) > 0.01  # it looks at the image
    (path,) = (tmp_path / "journals").glob("*/answers.jsonl")
    start, *lines = worker.read_journal(path)[0]
    assert (start["versions"]["transformers"], start["batches"]) == ("4.40.0", "equal to single runs")
    assert start["code"] == {one.name: sha256(one) for one in first.CODE.glob("*.py")}
    assert [line["key"] for line in lines] == [one.key for one in QUESTIONS]
    nobody = replace(where, built=replace(where.built, python=Path("/nowhere/python")))
    assert client.ask(QUESTIONS, ANSWERS, row, nobody, tmp_path / "journals").tolist() == found.tolist()


@pytest.mark.slow
def test_weights_of_bfloat16_give_logits_of_float32_which_do_not_tie(
    build: Callable[..., Any], own: np.ndarray, tmp_path: Path
) -> None:
    import torch

    row, where = build(dtype="bfloat16")
    half = client.ask(QUESTIONS, ANSWERS, row, where, tmp_path)[:, :2]
    assert half == pytest.approx(own[:, COLUMNS], abs=0.1)
    rounded = torch.from_numpy(half).bfloat16().double().numpy()
    assert np.abs(rounded - half).max() > 1e-4


@pytest.mark.slow
def test_one_that_does_not_look_at_the_image_is_refused(build: Callable[..., Any], tmp_path: Path) -> None:
    row, where = build("blind")
    with pytest.raises(BlindModelError, match="does not look at the image"):
        client.ask(questions(4), ANSWERS, row, where, tmp_path)
    assert not [line for path in tmp_path.glob("*/answers.jsonl") for line in worker.read_journal(path)[0]]


@pytest.mark.slow
def test_all_that_the_published_code_imports_is_in_the_environment(chexagent_environment: Environment) -> None:
    command = [str(chexagent_environment.python), "-I", "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "all there"


@pytest.mark.slow
def test_a_row_at_four_places_is_fitted_and_scored_by_the_mean_of_images_moved_by_half_a_patch(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    row, where = build(shifts=2)
    documents.write(tmp_path / "parts.json", where.fetched)
    documents.write(tmp_path / "environment.json", where.built)
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), standin.image(0.2 + 0.1 * number, 0.5, side_px=SIDE_PX, seed=number))
    names = [f"i{number}" for number in range(6)]
    val = Inputs(ids=names, patients=np.array(names), labels=np.array([0, 1, 0, 1, 0, 1]), pixels=paths)
    bank = Bank(questions=(ASKED,), answers=("Yes/No",), text_pairs=(("nodule", "clear"),))
    given = replace(
        zoo_features.setting(val, None, tmp_path / "work"),
        bank=bank,
        parts=tmp_path / "parts.json",
        environment=tmp_path / "environment.json",
    )
    fitted = chexagent.fit(row, given, tmp_path)
    assert [one.option for one in fitted.tried] == [f"{ASKED} Yes/No"]
    assert (fitted.passes, fitted.parameters) == (4, sum(value.size for value in first.weights(0).values()))
    found = chexagent.score(row, given, tmp_path)
    half = SIDE_PX * first.PATCH_PX // first.SIDE_PX // 2
    assert half == 14
    moved = [load(path, Shift(down, right)) for path in paths for down in (0, half) for right in (0, half)]
    seen = own_logits(where.built.python, row.model, [(image, ASKED) for image in moved], tmp_path)
    assert found.logits == pytest.approx(seen.reshape(6, 4, -1).mean(1)[:, COLUMNS], abs=1e-5)


def test_a_model_with_its_encoder_in_itself_is_found_without_one_and_a_row_that_says_else_is_refused(
    tmp_path: Path,
) -> None:
    model = first.build(tmp_path / "first")
    other, encoder = standin.build(tmp_path / "other")
    found = fetch_chexagent.fetch_chexagent(params(model), None, True)
    documents.write(tmp_path / "parts.json", found)
    assert documents.read(tmp_path / "parts.json", Parts) == found
    assert found.encoder is None
    assert list(found.whole) == ["model", "code"]
    assert set(found.code.files) == {path.name for path in first.CODE.glob("*.py")}
    with pytest.raises(ModelError, match=r"chexagent\.encoder: found .*encoder, wanted none: .* the first CheXagent"):
        fetch_chexagent.fetch_chexagent(params(model, encoder=str(encoder)), None, True)
    with pytest.raises(ModelError, match=r"chexagent\.encoder: found none, wanted the vision encoder that .* loads"):
        fetch_chexagent.fetch_chexagent(params(other), None, True)
    built = Environment(python=Path(sys.executable), kind="given", locks="0", versions={"transformers": "4.40.0"})
    documents.write(tmp_path / "environment.json", built)
    where = client.setting(tmp_path / "parts.json", tmp_path / "environment.json")
    assert "encoder" not in where.identity
    task = client.prepare(_empty(tmp_path), questions(2), [0, 1], ["a", "b"], params(model), {"answers": []}, where)
    head = json.loads(task.read_text().splitlines()[0])
    assert (head["model"], head["encoder"]) == ("model", None)
    assert not (task.parent / "encoder").exists()


def _empty(folder: Path) -> Path:
    (folder / "private").mkdir()
    return folder / "private"


def test_an_encoder_s_revision_without_an_encoder_and_a_localizer_without_one_are_refused() -> None:
    with pytest.raises(ParamsError, match="encoder_revision as none without an encoder"):
        params("m", encoder_revision="0" * 40)
    kept = {name: value for name, value in ROW.items() if name not in ("kind", "seen", "licence", "commercial")}
    localizer = {"model": "m", **kept, "prompts": ["Where?"], "max_new_tokens": 8}
    for name in ("side_px", "shifts"):
        localizer.pop(name)
    with pytest.raises(ParamsError, match="the first CheXagent is asked for two answers, and not for boxes"):
        parse({"own": localizer}, {"own": client.ChexagentParams})
    with pytest.raises(RefusalError, match="asked for two answers, and not for boxes"):
        worker.FirstTalker({"answers": []}, None)


def test_a_question_with_a_special_token_is_refused(tmp_path: Path) -> None:
    row = params(first.build(tmp_path))
    built = Environment(python=Path(sys.executable), kind="given", locks="0", versions={})
    where = client.Setting(fetch_chexagent.fetch_chexagent(row, None, True), built)
    with pytest.raises(ParamsError, match=r"found the prompt 'a</s>', wanted one without <\| \|> <s> </s>"):
        client.ask(questions(1, "a</s>"), ANSWERS, row, where, tmp_path)


def test_a_patch_stands_for_a_token_and_its_side_is_that_of_the_code_where_the_configuration_has_none(
    tmp_path: Path,
) -> None:
    model = first.build(tmp_path)
    parts = fetch_chexagent.fetch_chexagent(params(model), None, True)
    assert facts.token_px(parts, SIDE_PX, "row") == 28
    vision = {"image_size": 448, "model_type": "chexagent_vision_model", "num_hidden_layers": 40}  # as it is published
    (model / "config.json").write_text(json.dumps(first.CONFIG | {"vision_config": vision}))
    assert (facts.token_px(parts, 448, "row"), facts.token_px(parts, 896, "row")) == (14, 28)
    with pytest.raises(ModelError, match=r"row: found side_px 450, .* wanted a multiple of 32"):
        facts.token_px(parts, 450, "row")

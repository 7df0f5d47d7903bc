"""A vision-language model that is shown examples: training images with sentences and boxes, then the question.

The examples of an image are those of the training images nearest to it, or drawn at random; all its sentences share
them. The most alike stands last. What the sentences share is computed once; the question comes last, behind the image.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from stages.lib.core import params
from stages.lib.core.errors import DataError, ModelError
from stages.lib.detect import demonstrations
from stages.lib.detect.demonstrations import Example
from stages.lib.detect.grounder import Answered, Asked, Grounder, Setting, answered, like, wanted
from stages.lib.images import normalized
from stages.lib.models import box_text, conversation, features, gemma3, snapshot
from stages.lib.models.conversation import Prompt, Turn

SENTENCE = "{sentence}"
QUESTION = "question"  # name of the image that is asked about


@params.section
class Params:
    """Which model, which examples, and how they are told."""

    model: params.Text  # folder, or id on huggingface.co
    revision: params.Text  # commit, tag or branch on the hub; none for a folder
    dtype: Literal["bfloat16", "float32"]
    attention: Literal["sdpa", "eager"]
    quantization: Literal["nf4", "none"]
    encoder: params.Text  # row of lofi.encoders: its neighbours are the nearest images
    k: params.NonNegativeInt  # examples; 0 for none
    demonstrations: Literal["nearest", "random"]
    grouped: bool  # each image of the examples once, with all its sentences; else an image in every turn
    prompt: params.Text  # with {sentence} where the sentence stands
    box_label: params.Text  # that the boxes of the examples have
    response_prefix: str  # what is put into the model's mouth before the answer, and kept as part of it; "" for nothing
    max_new_tokens: params.Count
    seed: params.Seed  # of random examples

    def __post_init__(self) -> None:
        if self.prompt.count(SENTENCE) != 1:
            raise ValueError(f"prompt with {SENTENCE} once, found {self.prompt!r}")

    def asks(self, text: str) -> str:
        """The prompt about a sentence, whose final full stop is dropped."""
        return self.prompt.replace(SENTENCE, text.removesuffix("."))


def grounder(params: Params, setting: Setting) -> Grounder:
    """A grounder that asks in context.

    Raises:
        ParamsError: If the model's record, or the neighbours where they are wanted, were not given.
        ModelError: If the model cannot be loaded.
    """
    if params.k and params.demonstrations == "nearest":
        wanted("neighbours", setting.neighbours)
    held = gemma3.ModelParams(
        dtype=params.dtype, attention=params.attention, quantization=params.quantization, cache_features=True
    )
    loaded = gemma3.load(snapshot.read(wanted("base", setting.base)).folder, held)
    store = features.store(setting.features, loaded, setting.preprocessing_hash)

    def ask(asked: Sequence[Asked]) -> Iterator[Answered]:
        shown = examples(params, setting, asked)
        before = {group: demonstrated(params, ones) for group, ones in shown.items()}
        told = [(one, (*before[one.group], question(params, one.text))) for one in asked]
        check_lengths(loaded, params, told)
        pngs = {example.image_id: example.png for ones in shown.values() for example in ones}
        asked_pngs = [one.png for one in asked if one.png is not None]
        if store is not None:
            store.fill(loaded, [*pngs.values(), *asked_pngs], resized=True)

        def seen(one: Asked, prompt: Prompt) -> Any:
            import torch

            paths = [one.png if name == QUESTION else pngs[name] for name in prompt.images]
            return torch.stack([_features(loaded, store, path, one) for path in paths])

        for _, group in groupby(told, key=lambda pair: pair[0].group):
            kept: Any = None
            for one, talk in group:
                prompt = conversation.encode(loaded, talk, params.response_prefix)
                if kept is None:
                    kept = conversation.prefill(loaded, prompt, seen(one, prompt))
                made = conversation.answer(loaded, prompt, kept, params.max_new_tokens)
                text = params.response_prefix + made.text
                names = [example.name for example in shown[one.group]]
                yield answered(box_text.read(text, "medgemma", cut=made.cut), text, names, talk)

    return ask


def examples(params: Params, setting: Setting, asked: Sequence[Asked]) -> dict[tuple[str, str], list[Example]]:
    """Examples of each image that is asked about, in the order in which they are told: the most alike last.

    Raises:
        DataError: If there are fewer than k for an image; it says how many there are.
    """
    pool = setting.pool
    made: dict[tuple[str, str], list[Example]] = {}
    problems = []
    for one in asked:
        if one.group in made:
            continue
        found: list[Example] = []
        if params.k and params.demonstrations == "nearest" and one.shown_id is not None:
            found = demonstrations.nearest(pool, like(one, wanted("neighbours", setting.neighbours)), params.k)
        elif params.k:  # a grey image has no neighbours
            patients, images = (one.patient_id, one.shown_patient_id), (one.image_id, one.shown_id)
            others = [example for example in pool.examples if pool.may_be_shown(example, patients, images)]
            found = demonstrations.drawn(others, params.k, params.seed, one.image_id)
        if len(found) < params.k:
            problems.append(f"image {one.shown_id or one.image_id}: found {len(found)} examples, wanted {params.k}")
        made[one.group] = found[::-1]
    if problems:
        whole = f"the pool has {len(pool.examples)} examples on {len(pool.by_image)} images"
        raise DataError(f"k: {whole}; lower k, or raise lofi.retrieve.neighbours:", problems)
    return made


def demonstrated(params: Params, shown: Sequence[Example]) -> tuple[Turn, ...]:
    """Examples as turns.

    Args:
        params: See `Params`.
        shown: Examples, in order; those of one image stand together.
    """
    told: list[Turn] = []
    before = None
    for example in shown:
        image = None if params.grouped and example.image_id == before else example.image_id
        told.append(Turn("user", params.asks(example.text), image))
        told.append(Turn("model", box_text.write(example.boxes, "medgemma", "round", params.box_label)))
        before = example.image_id
    return tuple(told)


def question(params: Params, text: str) -> Turn:
    """The question about a sentence, behind the image that is asked about."""
    return Turn("user", params.asks(text), QUESTION)


def check_lengths(loaded: gemma3.Loaded, params: Params, told: Sequence[tuple[Asked, Sequence[Turn]]]) -> None:
    """Refuse conversations that the model has no room for, each with its answer.

    Raises:
        ModelError: If there is one; images with a conversation that is too long are named.
    """
    room = conversation.positions(loaded)
    lengths: dict[str, int] = {}
    for one, talk in told:
        length = len(conversation.encode(loaded, talk, params.response_prefix).ids) + params.max_new_tokens
        lengths[one.image_id] = max(length, lengths.get(one.image_id, 0))
    if long := [f"{name} ({length} tokens)" for name, length in sorted(lengths.items()) if length > room]:
        raise ModelError(
            f"k={params.k}: the model reads {room} tokens, and examples, question and answer are more for {len(long)} "
            f"of {len(lengths)} images: {', '.join(long[:5])}; lower k, or set grouped"
        )


def _features(loaded: gemma3.Loaded, store: features.Store | None, png: Path | None, one: Asked) -> Any:
    """Vision features of an image, tensor of shape (image_tokens, hidden): from disk where they are kept."""
    if png is not None and store is not None:
        return store.load(png).to(loaded.device)
    image = one.pixels(loaded.side_px) if png is None else normalized.load(png)
    return gemma3.features(loaded, [normalized.resized(image, loaded.side_px)])[0]

"""Requests of an arm: what is sent about each item, of which images, with which examples before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from stages.findings.items import Item, Shown, chosen, shared
from stages.lib.core import files
from stages.lib.core.errors import ImageError, ParamsError
from stages.lib.images import pictures
from stages.lib.models import prompt_family
from stages.lib.models.arm import NONE, ArmParams
from stages.lib.models.chat.request import Message, Picture, Request, Sampling, Text
from stages.lib.models.prompt_family import Family, Prompt, Values

MAX_NAMED = 10
SEEDS = 2**31  # servers take a seed of 32 bits with a sign


@dataclass(frozen=True)
class Asked:
    """One answer that is wanted: an item, the number of the answer, and the requests that it is made of.

    Attributes:
        item: What it is about.
        sample: Number of the answer to the same prompt.
        requests: One, or one for each question of the family; empty if none can be made.
        images: SHA-256 of each image that is sent.
        problem: Why no request can be made; None if one can.
    """

    item: Item
    sample: int
    requests: tuple[Request, ...]
    images: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def prompt_sha256(self) -> str | None:
        """Hash of the messages; of several requests, of their hashes; None without any."""
        found = [request.prompt_sha256 for request in self.requests]
        return found[0] if len(found) == 1 else files.sha256_json(found) if found else None


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an arm's requests are made of, beside the items.

    Attributes:
        params: The arm.
        family: Its prompt family.
        name: Model, as its responder is called.
        revision: Of the model.
        examples: Items that may be examples: of the role example, or train for retrieved ones.
        retrieved: Of each case, its neighbours and their similarity, the most alike first.
        before: Of each item, the answer of the arm before; None where it has none.
        hashes: Of images that were read already.
    """

    params: ArmParams
    family: Family
    name: str
    revision: str
    examples: Sequence[Item] = ()
    retrieved: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)
    before: Mapping[str, str | None] = field(default_factory=dict)
    hashes: dict[Path, str] = field(default_factory=dict, repr=False)

    @property
    def images_per_turn(self) -> int:
        """Images of the item, and of each example that has its images sent: those that a request may have, divided."""
        params = self.params
        turns = 1 + (params.n_examples if params.example_images else 0)
        return params.max_images // turns


def asked(items: Sequence[Item], context: Context, tested: Sequence[Item]) -> list[Asked]:
    """Answers that an arm has to give: for each item and sample, the requests.

    Args:
        items: What it is asked about.
        context: What requests are made of.
        tested: Items that no example may share a case or an image with, those of other shards too.

    Raises:
        ParamsError: If an example is a case that is tested, or shares an image with one, or there is none.
    """
    examples = {item.name: _examples(item, context) for item in items}
    used = {example.case_id: example for group in examples.values() for example in group}
    problems = shared(tested, list(used.values()))
    if context.params.examples == "few_shot" and not used:
        problems.append("found no case of the role example in the sample, wanted some; set findings.sample")
    if problems:
        named = problems[:MAX_NAMED]
        raise ParamsError(f"examples of the arm: {len(problems)} problem(s):", named)
    found = []
    for item in items:
        try:
            conversations = _conversations(item, examples[item.name], context)
            problem = None
        except (ImageError, OSError, _NoAnswerError) as error:
            conversations, problem = [], str(error)
        for sample in range(context.params.samples):
            requests = tuple(_request(item, messages, sample, context) for messages in conversations)
            sent = (
                [part.sha256 for message in conversations[0] for part in message.parts if isinstance(part, Picture)]
                if conversations
                else []
            )
            found.append(Asked(item, sample, requests, tuple(sent), problem))
    return found


def neighbours(retrieved: pa.Table) -> dict[str, list[tuple[str, float]]]:
    """Neighbours of each case with their similarity, the most alike first, from a table of `case_tables.RETRIEVED`."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in retrieved.to_pylist():
        found.setdefault(row["case_id"], []).append((row["neighbour"], row["similarity"]))
    return found


def final_answers(answers: pa.Table) -> dict[str, str | None]:
    """Findings of an arm's answer to each item, from a table of `case_tables.ANSWERS`; None where it gave none."""
    return {row["item"]: row["findings"].strip() or None for row in answers.to_pylist() if row["final"]}


class _NoAnswerError(Exception):
    """The arm before has no answer that could be put into the prompt."""


def _examples(item: Item, context: Context) -> list[Item]:
    """Examples of an item: those most like it by retrieval, or those of its own stratum first."""
    params = context.params
    if params.examples == NONE:
        return []
    if params.examples == "few_shot":
        order = sorted(
            context.examples,
            key=lambda one: (one.modality != item.modality, one.region != item.region, one.name),
        )
        return order[: params.n_examples]
    known: dict[str, Item] = {}
    for example in context.examples:
        known.setdefault(example.case_id, example)
    near = [
        known[name]
        for name, similarity in context.retrieved.get(item.case_id, ())
        if similarity >= params.min_similarity and name in known
    ]
    return near[: params.n_examples]


def _conversations(item: Item, examples: Sequence[Item], context: Context) -> list[tuple[Message, ...]]:
    """Messages about an item; of a family with questions, for each."""
    before: str | None = None
    if context.params.after != NONE:
        before = context.before.get(item.name)
        if before is None:
            raise _NoAnswerError(f"the arm {context.params.after} has no answer about it")
    in_prompt = "examples" in context.family.variables
    turns: list[Message] = []
    for example in () if in_prompt else examples:
        (prompt,), shown = _prompts(example, context, None, (), context.params.example_images)
        turns += [_user(prompt, shown, context), Message("assistant", (Text(prompt_family.data(example.gold)),))]
    golds = [example.gold for example in examples] if in_prompt else []
    prompts, shown = _prompts(item, context, before, golds, True)
    sent = _user(prompts[0], shown, context)
    system: tuple[Message, ...] = ()
    if prompts[0].system is not None:
        system = (Message("system", (Text(prompts[0].system),)),)
    return [(*system, *turns, _reworded(sent, prompt, context)) for prompt in prompts]


def _prompts(
    item: Item, context: Context, before: str | None, golds: Sequence[str], with_images: bool
) -> tuple[list[Prompt], list[Shown]]:
    """Prompts about an item, and the images that are sent with them."""
    params = context.params
    shown = chosen(item.images, params, context.images_per_turn) if with_images else []
    values = Values(
        history=item.history,
        region=item.region,
        modality=item.modality,
        planes=[image.plane for image in shown if image.plane],
        n_images=len(shown),
        findings=before,
        examples=golds,
    )
    return prompt_family.prompts(context.family, values, system=params.system), shown


def _user(prompt: Prompt, shown: Sequence[Shown], context: Context) -> Message:
    pixels = context.params.pixels
    sent = tuple(Picture(image.path, _sha256(image, context), pixels) for image in shown)
    return Message("user", _ordered(sent, prompt, context))


def _reworded(message: Message, prompt: Prompt, context: Context) -> Message:
    """A user's message with the same images and another text: each image is read once."""
    sent = tuple(part for part in message.parts if isinstance(part, Picture))
    return Message("user", _ordered(sent, prompt, context))


def _ordered(sent: tuple[Picture, ...], prompt: Prompt, context: Context) -> tuple[Text | Picture, ...]:
    return (*sent, Text(prompt.user)) if context.params.image_first else (Text(prompt.user), *sent)


def _sha256(image: Shown, context: Context) -> str:
    """Hash of the bytes of an image that are sent; an example's images are read once for all cases."""
    if image.path not in context.hashes:
        try:
            context.hashes[image.path] = pictures.sent_sha256(image.path, context.params.pixels)
        except (ImageError, OSError) as error:
            raise ImageError(f"image {image.number}, {image.path.name}: {error}") from error
    return context.hashes[image.path]


def _request(item: Item, messages: tuple[Message, ...], sample: int, context: Context) -> Request:
    params = context.params
    by_schema = context.family.answer_form == "json_schema"
    return Request(
        item=item.name,
        model=context.name,
        revision=context.revision,
        messages=messages,
        sampling=Sampling(
            temperature=params.temperature,
            top_p=params.top_p,
            max_tokens=params.max_tokens,
            seed=(params.seed + sample) % SEEDS,
        ),
        sample=sample,
        prompt_version=context.family.label,
        schema=prompt_family.SCHEMA if by_schema else None,
        form="json_schema" if by_schema else "text",
    )

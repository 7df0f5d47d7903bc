"""Rows of answers, made of replies: one of each item and sample, and one for the consensus of several samples."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stages.findings.requests import Asked
from stages.findings.timing import Clocked
from stages.lib.metrics.text import consensus, sections
from stages.lib.metrics.text import status as text_status
from stages.lib.metrics.text.extract import Extractor, Reading
from stages.lib.models.arm import ArmParams
from stages.lib.models.chat.request import Reply, Usage
from stages.lib.models.prompt_family import Family

LEFT_OUT = frozenset({"no", "none", "no findings", "nothing"})
ANSWERED = ("ok", "truncated", "looping")  # status of a text that can be read
OF_A_REQUEST = ("request", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


def merged(replies: Sequence[Reply], family: Family) -> str:
    """Answers to the questions of a family as one text: those with a finding, each on a line of its own.

    An answer that is no more than No names nothing, and would be read as a sentence about nothing: it is left out. If
    each is, the text is the family's `none_found`.
    """
    said = [reply.text or "" for reply in replies]
    kept = [text.strip() for text in said if text.strip().rstrip(".").lower() not in LEFT_OUT]
    return "\n".join(kept) if kept else family.none_found or ""


def row(arm: str, asked: Asked, replies: Sequence[Reply], family: Family, *, has_model: bool) -> dict[str, Any]:
    """One row of `case_tables.ANSWERS`, not final yet, without its status and its findings where it has a text.

    Of an answer made of several requests the tokens are added, the key of a request is null, and a failed request is
    a failed answer: half of the questions are not the arm's answer.

    Args:
        arm: Its name.
        asked: What was wanted.
        replies: To each of its requests, in order.
        family: The prompt family.
        has_model: Whether a model was asked; else the row has no request and no model.
    """
    failed = [reply for reply in replies if reply.status != "ok"]
    problem = asked.problem or "; ".join(dict.fromkeys(reply.problem or reply.status for reply in failed)) or None
    single = len(replies) == 1
    text: str | None = None
    if replies and not failed:
        text = replies[0].text or "" if not family.questions else merged(replies, family)
    reasons = [reply.finish_reason for reply in replies]
    usage = total([reply.usage for reply in replies])
    return {
        "arm": arm,
        "item": asked.item.name,
        "case_id": asked.item.case_id,
        "sample": asked.sample,
        "final": False,
        "text": text,
        "problem": problem,
        "finish_reason": "length" if "length" in reasons else next(iter(reasons), None),
        "prompt_sha256": asked.prompt_sha256,
        "images": list(asked.images),
        "request": asked.requests[0].key if single and has_model else None,
        "model": next((reply.model for reply in replies if reply.model), None) if has_model else None,
        "fingerprint": next((reply.fingerprint for reply in replies if reply.fingerprint), None),
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "agreement": None,
    }


def total(usages: Sequence[Usage]) -> Usage:
    """Tokens of several requests; None where the server did not count those of one.

    >>> total([Usage(10, None, 2), Usage(20, None, 3)])
    Usage(prompt_tokens=30, cached_tokens=None, completion_tokens=5, reasoning_tokens=None)
    """

    def added(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    names = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
    return Usage(**{name: added([getattr(usage, name) for usage in usages]) for name in names})


def clocked(asked: Asked, replies: Sequence[Reply], dollars: Callable[[Reply], float | None]) -> Clocked | None:
    """What an answer took, over all its requests; None if one of them failed."""
    if not replies or any(reply.status != "ok" for reply in replies):
        return None
    paid = [dollars(reply) for reply in replies]
    known = [one for one in paid if one is not None]
    return Clocked(
        item=asked.item.name,
        sample=asked.sample,
        attempts=sum(reply.attempts for reply in replies),
        seconds=sum(reply.seconds for reply in replies),
        total_seconds=sum(reply.total_seconds for reply in replies),
        dollars=sum(known) if len(known) == len(paid) else None,
    )


def finished(rows: Sequence[Mapping[str, Any]], params: ArmParams, reader: Extractor) -> list[dict[str, Any]]:
    """Rows with their status, their findings and which is final; with several samples also the consensus of each item.

    Args:
        rows: One of each item and sample, see `row`.
        params: The arm.
        reader: Reader of findings, for refusals and for a consensus.
    """
    whole = [read(one, reader) for one in rows]
    if params.samples == 1:
        return [{**one, "final": True} for one in whole]
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in whole:
        groups.setdefault(one["item"], []).append(one)
    return [*whole, *(agreed(samples, params.consensus, reader) for samples in groups.values())]


def read(row: Mapping[str, Any], reader: Extractor) -> dict[str, Any]:
    """A row with what became of its text, and the part of it that is measured."""
    text = row["text"]
    if text is None:
        return {**row, "status": "error", "findings": "", "findings_from": "none"}
    section = sections.findings(text)
    status = text_status.status(text, row["finish_reason"], reader)
    return {**row, "status": status, "findings": section.text, "findings_from": section.how}


def agreed(samples: Sequence[Mapping[str, Any]], how: str, reader: Extractor) -> dict[str, Any]:
    """Consensus of the samples of an item that are answers, whose tokens are those of the samples and not its own.

    Args:
        samples: Rows of all samples, failed ones too.
        how: "findings" that more than half have, as a text made of them; or "medoid", the sample most like the others.
        reader: Reader of findings.
    """
    usable = [one for one in samples if one["status"] in ANSWERED and one["findings"]]
    own = dict.fromkeys(OF_A_REQUEST) | {"sample": None, "final": True, "agreement": None}
    lost = len(samples) - len(usable)
    problem = f"{lost} of {len(samples)} samples are no answer" if lost else None
    if not usable:
        gone = {"text": None, "status": "error", "findings": "", "findings_from": "none", "finish_reason": None}
        return {**samples[0], **own, **gone, "problem": problem}
    readings = [reader.read(one["findings"]) for one in usable]
    if len(usable) > 1:
        own["agreement"] = consensus.agreement(readings)
    if how == "medoid":
        return {**usable[consensus.medoid(readings)], **own, "problem": problem}
    text = consensus.text(readings, reader.vocabulary)
    made = {"text": text, "status": "ok", "findings": text, "findings_from": "whole", "finish_reason": None}
    return {**usable[0], **own, **made, "problem": problem}


def most_frequent(golds: Sequence[str], reader: Extractor) -> str | None:
    """The most frequent finding of some gold texts as a sentence, with the side and place that it most often has.

    Of equals it is the first by the alphabet. None if no text has a finding that is present.

    >>> from stages.lib.metrics.text.extract import extractor
    >>> most_frequent(["A mass in the left kidney.", "No mass.", "A cyst. A mass."], extractor())
    'There is mass on the left in the kidney.'
    """
    readings = [reader.read(gold) for gold in golds]
    counts = Counter(entity for reading in readings for entity in {one.entity for one in reading.present})
    if not counts:
        return None
    entity = _most(counts)
    named = [
        next(one for one in reading.present if one.entity == entity)
        for reading in readings
        if any(one.entity == entity for one in reading.present)
    ]
    side, place = _most(Counter((one.side, one.place) for one in named))
    return consensus.text([Reading((replace(named[0], side=side, place=place),), False)], reader.vocabulary)


def _most(counts: Counter[Any]) -> Any:
    return min(counts, key=lambda one: (-counts[one], str(one)))

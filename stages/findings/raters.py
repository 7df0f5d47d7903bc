"""Judges made ready: rules, or a model with its ledger, and the fallback of either."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pyarrow as pa

from stages.findings import judges
from stages.findings.timing import Clocked, Timing
from stages.lib.core import files, kinds, params
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.models.arm import Setting
from stages.lib.models.chat import asking, charge, client_params, ledger
from stages.lib.models.chat.budget import Budget
from stages.lib.models.chat.charge import Charged
from stages.lib.models.chat.client_params import ClientParams
from stages.lib.models.chat.request import Responder
from stages.lib.models.judge import NONE, JudgeParams
from stages.lib.models.judging import families, ladder, rating, rubric
from stages.lib.models.judging.rating import Judged, Question, Rater
from stages.lib.models.judging.rubric import Rubric

FREE = Charged(None, None, None)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One model that is asked: a judge's, or its fallback's.

    Attributes:
        judge: Row of findings.judges.
        model: Its name.
        words: Words of model names that are its family.
        may_differ: Whether an arm whose model has the same name may still be another one, with an adapter.
        charged: What it costs.
    """

    judge: str
    model: str
    words: tuple[str, ...] = ()
    may_differ: bool = False
    charged: Charged = FREE


@dataclass(frozen=True)
class Purse:
    """Whether models may be asked, and what is left to spend."""

    client: ClientParams
    budget: Budget


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A judge that can be asked.

    Attributes:
        rubric: How it rates.
        rater: What rates.
        models: Models that are asked; none of rules.
    """

    rubric: Rubric
    rater: Rater
    models: tuple[Asked, ...]


@contextmanager
def opened(
    name: str,
    rows: Mapping[str, params.Row],
    settings: Mapping[str, Setting],
    writer: str,
    *,
    by: str | None = None,
    budget: Budget | None = None,
) -> Iterator[Opened]:
    """A judge with its fallback, which rates by the same rubric; their ledgers are open until the end.

    Args:
        name: Row of findings.judges.
        rows: That row, and its fallback's.
        settings: What a local model needs, by the row's name.
        writer: Name of the file of the ledger that this process writes: its shard.
        by: Another rubric than the row's; None for its own.
        budget: What is left of it, in a process that opens several; None for a whole one. Judge and fallback share it.

    Raises:
        ParamsError: If a rubric or the fallback is not there; with every problem.
        LedgerError: If a ledger is damaged, or another process writes to the same file.
    """
    wrong = judges.problems(rows, [name])
    if wrong:
        raise ParamsError(f"{len(wrong)} problem(s) in the judges:", wrong)
    given: JudgeParams = rows[name].params
    read = rubric.read(by or given.rubric)
    client = client_params.read()
    purse = Purse(client, budget or Budget.of(client))
    wanted = {name: writer}
    if given.fallback != NONE:
        wanted[given.fallback] = f"{writer}-for-{name}"  # it may be judging on its own behalf meanwhile
    with ExitStack() as stack:
        made = [
            _rater(one, rows[one], read, settings.get(one, Setting()), file, stack, purse)
            for one, file in wanted.items()
        ]
        first, *second = (rater for rater, _ in made)
        yield Opened(
            rubric=read,
            rater=rating.with_fallback(first, second[0]) if second else first,
            models=tuple(model for _, model in made if model is not None),
        )


def _rater(
    name: str, row: params.Row, read: Rubric, setting: Setting, file: str, stack: ExitStack, purse: Purse
) -> tuple[Rater, Asked | None]:
    """What rates for one row, without its fallback."""
    module, given = kinds.module(kinds.JUDGES, row.kind), row.params
    if hasattr(module, "verdict"):
        return rating.by_rules(module.verdict(given)), None
    responder: Responder = module.responder(given, setting)
    kept = stack.enter_context(ledger.Ledger(ledger.root() / "judge" / name, file))
    paid = charge.of(given, purse.client)
    model = ladder.Model(
        name=responder.name,
        revision=responder.revision,
        ask=lambda requests: asking.ask(requests, responder, kept, purse.client, f"judge {name}", purse.budget),
        kept=kept.__contains__,
        live=purse.client.network == "live",
        rubric=read,
        max_tokens=given.max_tokens,
        max_reprompts=given.max_reprompts,
        dollars=paid.dollars,
    )
    may_differ = hasattr(given, "adapter")  # two rows of one model may have different adapters
    asked = Asked(judge=name, model=responder.name, words=given.families, may_differ=may_differ, charged=paid)
    return ladder.rater(model), asked


def check(models: Sequence[Asked], answers: pa.Table) -> list[str]:
    """Warnings about judges and arms of one family; each is logged too.

    Args:
        models: Models that are asked.
        answers: Table of `case_tables.ANSWERS`, whose models are looked at.

    Raises:
        ParamsError: If a judge is the model that it would judge.
    """
    pairs = sorted({(row["arm"], row["model"]) for row in answers.select(["arm", "model"]).to_pylist() if row["model"]})
    equal = [
        f"findings.judges.{one.judge}: {one.model} is the model of the arm {arm}, wanted another model: no model is "
        "asked about its own answers"
        for one in models
        for arm, model in pairs
        if families.same(one.model, model) and not one.may_differ
    ]
    if equal:
        raise ParamsError("judges that are arms:", equal)
    said = []
    for one in models:
        for arm, model in pairs:
            common = families.related(one.model, one.words, model)
            if common is not None:
                said.append(f"judge {one.judge} ({one.model}) and arm {arm} ({model}) are of one family: {common}")
    for warning in said:
        LOG.warning("%s", warning)
    return said


def timing(name: str, models: Sequence[Asked], asked: Sequence[Question], judged: Sequence[Judged]) -> Timing:
    """What the judgements took, over all replies behind each; those that asked no model are left out.

    Args:
        name: Row of findings.judges.
        models: Models that were asked, its own first.
        asked: The questions.
        judged: What came of each.
    """
    clocked = [_clocked(question, one) for question, one in zip(asked, judged, strict=True) if one.replies]
    answered = {one.request: [one.response, one.judged_by] for one in judged if one.request is not None}
    warnings = [one.charged.warning for one in models if one.charged.warning is not None]
    return Timing(
        name=name,
        clocked=tuple(sorted(clocked, key=lambda one: (one.item, one.sample))),
        price=models[0].charged.price if models else None,
        price_warning="; ".join(warnings) or None,
        ledger_sha256=files.sha256_json(answered) if models else None,
    )


def _clocked(question: Question, one: Judged) -> Clocked:
    return Clocked(
        item=question.name,
        sample=question.repeat,
        attempts=sum(reply.attempts for reply in one.replies),
        seconds=one.replies[-1].seconds,
        total_seconds=sum(reply.total_seconds for reply in one.replies),
        dollars=_total(one.paid),
    )


def _total(paid: Sequence[float | None]) -> float | None:
    known = [one for one in paid if one is not None]
    return sum(known) if len(known) == len(paid) else None

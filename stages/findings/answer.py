"""Ask an arm about the test cases: a model and how it is prompted, with an answer to each case, or the reason why not.

Answers come from the ledger where it has them; what it has not is asked. See `stages.lib.models.chat.asking`.

in   sample       case_tables.SAMPLE
     case-images  case_tables.CASE_IMAGES
     arm          its name, a row of findings.arms
     after        answers of the arm that it comes after, case_tables.ANSWERS
     retrieved    neighbours that its retriever found, case_tables.RETRIEVED
     fetched      record of the model's files, by fetch, for a model in this process
     adapter      folder of a trained adapter, for a model that has one
     shard        of the cases, k-of-n
out  answers      case_tables.ANSWERS
     timing       JSON, as stages.findings.timing.Timing
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stages.findings import answered, arms, requests
from stages.findings.items import items
from stages.findings.requests import Asked, Context
from stages.findings.timing import Timing
from stages.lib.core import cli, documents, files, kinds, params, shards, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, RETRIEVED, SAMPLE
from stages.lib.core.errors import ParamsError
from stages.lib.metrics.text.extract import extractor
from stages.lib.models import prompt_family
from stages.lib.models.arm import NONE, ArmParams, Setting
from stages.lib.models.chat import asking, charge, client_params, ledger
from stages.lib.models.chat.charge import Charged
from stages.lib.models.chat.client_params import ClientParams
from stages.lib.models.chat.request import Reply, Request, Responder
from stages.lib.models.prompt_family import Family

SPARE = ("example", "train")  # roles of cases that are not tested
Ask = Callable[[Sequence[Request]], Iterable[tuple[int, Reply]]]


def answer(
    arm: str, wanted: Sequence[Asked], ask: Ask, params: ArmParams, family: Family, *, has_model: bool = True
) -> tuple[pa.Table, list[tuple[Asked, list[Reply]]]]:
    """Answers of an arm, a row for each item and sample whatever came of it, and the replies that they are made of.

    Args:
        arm: Its name.
        wanted: The answers that it has to give.
        ask: Gives a reply to each request, in any order.
        params: The arm.
        family: Its prompt family.
        has_model: Whether a model stands behind it.

    Returns:
        Table of `case_tables.ANSWERS`, and of each answer its replies.
    """
    sent = [request for one in wanted for request in one.requests]
    replies = dict(ask(sent))
    paired, at = [], 0
    for one in wanted:
        paired.append((one, [replies[number] for number in range(at, at + len(one.requests))]))
        at += len(one.requests)
    rows = [answered.row(arm, one, got, family, has_model=has_model) for one, got in paired]
    return tables.from_rows(answered.finished(rows, params, extractor()), ANSWERS), paired


def context_of(
    params: ArmParams,
    name: str,
    revision: str,
    sample: pa.Table,
    case_images: pa.Table,
    after: pa.Table | None,
    retrieved: pa.Table | None,
) -> Context:
    """What an arm's requests are made of, beside its items.

    Raises:
        ParamsError: If the arm wants answers of another arm, or neighbours, that were not given.
    """
    problems = []
    if params.after != NONE and after is None:
        problems.append(f"--after: found none, wanted the answers of the arm {params.after}")
    if params.examples == "retrieved" and retrieved is None:
        problems.append(f"--retrieved: found none, wanted what the retriever {params.retriever} found")
    if problems:
        raise ParamsError("inputs of the arm:", problems)
    roles = {"few_shot": ("example",), "retrieved": ("train",)}.get(params.examples, ())
    return Context(
        params=params,
        family=prompt_family.read(params.prompt),
        name=name,
        revision=revision,
        examples=items(sample, case_images, roles, params.unit),
        retrieved=requests.neighbours(retrieved) if retrieved is not None else {},
        before=requests.final_answers(after) if after is not None else {},
    )


def asker(responder: Responder, folder: Path, shard: str, client: ClientParams) -> Ask:
    """How an arm's requests are answered: from its ledger, or by the model, whose answers are kept there.

    Args:
        responder: The model.
        folder: Folder of the arm's ledger.
        shard: Name of its file there.
        client: Whether a model may be asked, and what may be spent.
    """

    def ask(sent: Sequence[Request]) -> Iterable[tuple[int, Reply]]:
        with ledger.Ledger(folder, shard) as kept:
            yield from asking.ask(sent, responder, kept, client, f"answer {folder.name}")

    return ask


def timed(arm: str, paired: Sequence[tuple[Asked, Sequence[Reply]]], paid: Charged, *, has_model: bool) -> Timing:
    """What the answers of an arm took, in the order of their items.

    Args:
        arm: Its name.
        paired: Each answer that was wanted with its replies.
        paid: What it costs.
        has_model: Whether there is a ledger that the answers are from.
    """
    clocked = [answered.clocked(one, got, paid.dollars) for one, got in paired]
    lines = {
        request.key: [reply.text, reply.finish_reason, reply.model, reply.fingerprint, asdict(reply.usage)]
        for one, got in paired
        for request, reply in zip(one.requests, got, strict=True)
        if reply.status == "ok"
    }
    return Timing(
        name=arm,
        clocked=tuple(sorted((one for one in clocked if one is not None), key=lambda one: (one.item, one.sample))),
        price=paid.price,
        price_warning=paid.warning,
        ledger_sha256=files.sha256_json(lines) if has_model else None,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the cases of one shard, ask the arm, write its answers."""
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.arms": kinds.rows(kinds.ARMS)},
        reads=["arm", "sample", "case_images", "after", "retrieved", "fetched", "adapter", "shard"],
        writes=["answers", "timing"],
        optional=["after", "retrieved", "fetched", "adapter"],
    )
    rows = args.params.arms
    if args.arm not in rows:
        raise ParamsError("--arm:", [params.unknown(args.arm, rows)])
    row = rows[args.arm]
    if problems := arms.of_one(row.params):
        raise ParamsError(f"findings.arms.{args.arm}:", problems)
    sample, case_images = tables.read(args.sample, SAMPLE), tables.read(args.case_images, CASE_IMAGES)
    setting = Setting(
        fetched=Path(args.fetched) if args.fetched else None,
        adapter=Path(args.adapter) if args.adapter else None,
        guess=answered.most_frequent(
            [one.gold for one in items(sample, case_images, SPARE, row.params.unit)], extractor()
        ),
    )
    module = kinds.module(kinds.ARMS, row.kind)
    responder, has_model = module.responder(row.params, setting), getattr(module, "HAS_MODEL", True)
    context = context_of(
        row.params,
        responder.name,
        responder.revision,
        sample,
        case_images,
        tables.read(args.after, ANSWERS) if args.after else None,
        tables.read(args.retrieved, RETRIEVED) if args.retrieved else None,
    )
    test = shards.take(sample.filter(pc.equal(sample["role"], "test")), args.shard)
    tested, mine = (items(one, case_images, ("test",), row.params.unit) for one in (sample, test))
    wanted = requests.asked(mine, context, tested)
    client, folder = client_params.of_answers(), ledger.root() / "answer" / args.arm
    ask = asker(responder, folder, args.shard, client) if has_model else responder.replies
    table, paired = answer(args.arm, wanted, ask, row.params, context.family, has_model=has_model)
    tables.write(args.answers, table, ANSWERS)
    documents.write(args.timing, timed(args.arm, paired, charge.of(row.params, client), has_model=has_model))


if __name__ == "__main__":
    cli.run(main)

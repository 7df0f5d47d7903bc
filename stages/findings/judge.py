"""Judge the answers of all arms: a rating of each, by one judge, blind to arm and model.

A row is there for each answer that counts, whatever becomes of it: an answer that failed is not rated, an empty one is
poor without asking, and of all others the judge is asked, in an order shuffled over arms and items. Where it gives no
verdict, its fallback judge is asked, and the row says so.

in   sample      case_tables.SAMPLE
     case_images case_tables.CASE_IMAGES, whose captions are the gold text of an image
     answers     case_tables.ANSWERS of each arm
     judge       its name, a row of findings.judges
     shard       shard of the items, k-of-n
     fetched     record of the judge's model, by weights.fetch, if it is a local one
     fallback_fetched  the same of its fallback judge
out  judgements  case_tables.JUDGEMENTS
     timing      JSON, see `timing.Timing`
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.findings import raters
from stages.lib.core import cli, documents, kinds, params, shards, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, JUDGEMENTS, SAMPLE
from stages.lib.core.errors import ParamsError
from stages.lib.core.log import LOG
from stages.lib.models.arm import Setting
from stages.lib.models.judge import JudgeParams
from stages.lib.models.judging import rating
from stages.lib.models.judging.rating import Judged, Question, Rater


def golds(sample: pa.Table, case_images: pa.Table) -> dict[str, str | None]:
    """Gold text of each item: of a case its own, of an image its caption, None without one."""
    of_cases: dict[str, str | None] = tables.mapping(sample, "gold", key="case_id")
    rows = case_images.select(["case_id", "number", "caption"]).to_pylist()
    return of_cases | {f"{row['case_id']}/{row['number']}": row["caption"] for row in rows}


def questions(
    answers: pa.Table, gold: Mapping[str, str | None], given: JudgeParams, shard: str = "1-of-1"
) -> list[Question]:
    """What a judge is asked: each final answer of the shard's items, once per repeat, in the order of the table.

    What is judged is what is measured: the findings of an answer.

    Args:
        answers: Table of `case_tables.ANSWERS`, of all arms.
        gold: Gold text of each item.
        given: See `JudgeParams`.
        shard: Shard of the items, k-of-n.
    """
    rows = [row for row in answers.to_pylist() if row["final"]]
    items = pa.table({"item": pa.array(sorted({row["item"] for row in rows}), pa.string())})
    mine = set(shards.take(items, shard)["item"].to_pylist())
    most = given.max_answer_chars or None
    return [
        Question(
            arm=row["arm"],
            item=row["item"],
            case_id=row["case_id"],
            repeat=repeat,
            gold=gold.get(row["item"]),
            answer=None if row["status"] == "error" else row["findings"][:most],
            problem=row["problem"],
        )
        for row in rows
        if row["item"] in mine
        for repeat in range(given.repeats)
    ]


def judge(
    asked: Sequence[Question], rater: Rater, name: str, rubric: str, seed: int, *, ask_empty: bool = False
) -> tuple[pa.Table, list[Judged]]:
    """Judgement of each answer, and what the replies behind them took.

    Args:
        asked: The answers.
        rater: Who is asked.
        name: Row of findings.judges.
        rubric: Name and version of its rubric.
        seed: Of the order in which they are asked about.
        ask_empty: Whether an empty answer is put to the judge too.

    Returns:
        Table of `case_tables.JUDGEMENTS`, and one `Judged` per question, in order.
    """
    order = np.random.default_rng(seed).permutation(len(asked)).tolist()
    found = rating.rate_all(asked, rater, order, ask_empty=ask_empty)
    rows = [rating.row(one, judged, name, rubric) for one, judged in zip(asked, found, strict=True)]
    return tables.from_rows(rows, JUDGEMENTS), found


def main(argv: Sequence[str] | None = None) -> None:
    """Read, judge, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.judges": kinds.rows(kinds.JUDGES)},
        reads=("sample", "case_images", "answers", "judge", "shard", "fetched", "fallback_fetched"),
        writes=("judgements", "timing"),
        many=("answers",),
        optional=("fetched", "fallback_fetched"),
    )
    rows: Mapping[str, params.Row] = args.params.judges
    if args.judge not in rows:
        raise ParamsError("--judge:", [params.unknown(args.judge, rows)])
    answers = shards.gather([tables.read(path, ANSWERS) for path in args.answers], ANSWERS)
    gold = golds(tables.read(args.sample, SAMPLE), tables.read(args.case_images, CASE_IMAGES))
    given = rows[args.judge].params
    asked = questions(answers, gold, given, args.shard)
    settings = {
        name: Setting(fetched=Path(path) if path else None)
        for name, path in ((args.judge, args.fetched), (given.fallback, args.fallback_fetched))
    }
    with raters.opened(args.judge, rows, settings, args.shard) as opened:
        raters.check(opened.models, answers)
        table, judged = judge(asked, opened.rater, args.judge, opened.rubric.label, given.seed)
        timing = raters.timing(args.judge, opened.models, asked, judged)
    failed = sum(one.verdict is None for one in judged)
    if failed:
        LOG.warning(
            "judge %s: no rating of %d of %d answers; each has its row and its reason", args.judge, failed, len(judged)
        )
    tables.write(args.judgements, table, JUDGEMENTS)
    documents.write(args.timing, timing)


if __name__ == "__main__":
    cli.run(main)

"""Ask a judge about answers that are changed in a known way, about the same answers again, and by other rubrics.

The gold text of each case of a seeded sample of the test is put to it as an answer: as it is, denied, with left and
right swapped; the gold text of another case, bare and with a sentence to the judge; nothing at all. The arms' answers
about these cases are judged a second time, by other rubrics, and padded with sentences that hold no finding.

What was judged before is in the ledger: of the answers as they are, the first judgement costs nothing.

in   sample      case_tables.SAMPLE
     case_images case_tables.CASE_IMAGES
     answers     case_tables.ANSWERS of each arm
     judge       its name, a row of findings.judges
     fetched     record of the judge's model, by weights.fetch, if it is a local one
     fallback_fetched  the same of its fallback judge
out  judgements  case_tables.JUDGEMENTS, with the variant of each
     timing      JSON, see `timing.Timing`
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.findings import audits, judge, raters
from stages.findings.audits import Params
from stages.lib.core import cli, documents, kinds, params, shards, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, JUDGEMENTS, SAMPLE
from stages.lib.core.errors import ParamsError
from stages.lib.metrics.text import variants
from stages.lib.metrics.text.extract import Extractor, extractor
from stages.lib.models.arm import Setting
from stages.lib.models.chat import client_params
from stages.lib.models.chat.budget import Budget
from stages.lib.models.judge import JudgeParams
from stages.lib.models.judging.rating import Judged, Question

WRITER = "audit"  # its file of the judge's ledger


def chosen(sample: pa.Table, given: Params) -> dict[str, str]:
    """Gold text of each case that is asked about: a seeded sample of the test, in the order of their ids."""
    rows = [row for row in sample.to_pylist() if row["role"] == "test" and row["gold"].strip()]
    order = np.random.default_rng(given.seed).permutation(len(rows))[: given.cases]
    return {row["case_id"]: row["gold"] for row in (rows[number] for number in sorted(order.tolist()))}


def of_gold(gold: Mapping[str, str], reader: Extractor, seed: int) -> Iterator[Question]:
    """Questions whose answers are made of gold texts; what cannot be made of one is left out.

    Args:
        gold: Gold text of each case.
        reader: Reads findings.
        seed: Of the order in which another case is looked for.
    """
    names = list(gold)
    read = {case: reader.read(text) for case, text in gold.items()}
    rng = np.random.default_rng(seed)
    for case, text in gold.items():
        others = [names[number] for number in rng.permutation(len(names)).tolist() if names[number] != case]
        found = variants.unlike(read[case], [read[other] for other in others])
        other = None if found is None else gold[others[found]]
        made = {
            audits.GOLD: text,
            audits.NEGATED: variants.negated(text, reader),
            audits.SWAPPED: variants.swapped(text, reader),
            audits.OTHER: other,
            audits.INSTRUCTED: None if other is None else variants.instructed(other),
            audits.EMPTY: "",
        }
        for variant, answer in made.items():
            if answer is not None:
                yield Question(arm=audits.GOLD_TEXT, item=case, case_id=case, gold=text, answer=answer, variant=variant)


def of_answers(asked: Sequence[Question], given: Params) -> Iterator[Question]:
    """Questions about the arms' answers: as they are, again, and padded."""
    for one in asked:
        yield one
        if one.answer is not None and one.answer.strip():
            yield replace(one, repeat=1)
            longer = variants.padded(one.answer, given.padding_factor, given.min_padded_words)
            yield replace(one, variant=audits.PADDED, answer=longer)


def answers_of(
    cases: Mapping[str, str], answers: pa.Table, gold: Mapping[str, str | None], one: JudgeParams
) -> list[Question]:
    """Questions about the arms' answers about some cases, each once."""
    return [found for found in judge.questions(answers, gold, replace(one, repeats=1)) if found.case_id in cases]


def main(argv: Sequence[str] | None = None) -> None:
    """Read, ask, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.judges": kinds.rows(kinds.JUDGES), "findings.audit": Params},
        reads=("sample", "case_images", "answers", "judge", "fetched", "fallback_fetched"),
        writes=("judgements", "timing"),
        many=("answers",),
        optional=("fetched", "fallback_fetched"),
    )
    rows, given = args.params.judges, args.params.audit
    if args.judge not in rows:
        raise ParamsError("--judge:", [params.unknown(args.judge, rows)])
    row = rows[args.judge]
    sample, answers = (
        tables.read(args.sample, SAMPLE),
        shards.gather([tables.read(path, ANSWERS) for path in args.answers], ANSWERS),
    )
    cases = chosen(sample, given)
    gold = judge.golds(sample, tables.read(args.case_images, CASE_IMAGES))
    reader = extractor(given.vocabulary)
    theirs = answers_of(cases, answers, gold, row.params)
    settings = {
        name: Setting(fetched=Path(path) if path else None)
        for name, path in ((args.judge, args.fetched), (row.params.fallback, args.fallback_fetched))
    }
    made: list[pa.Table] = []
    asked: list[Question] = []
    judged: list[Judged] = []
    models: tuple[raters.Asked, ...] = ()
    budget = Budget.of(client_params.read())
    for name in dict.fromkeys((row.params.rubric, *given.rubrics)):
        with raters.opened(args.judge, rows, settings, WRITER, by=name, budget=budget) as opened:
            raters.check(opened.models, answers)
            if not made:
                models = opened.models
                mine = [*of_gold(cases, reader, given.seed), *of_answers(theirs, given)]
            elif models:
                mine = [replace(one, variant=f"{audits.RUBRIC}/{opened.rubric.label}") for one in theirs]
            else:  # rules read no rubric
                continue
            label = opened.rubric.label
            table, found = judge.judge(mine, opened.rater, args.judge, label, given.seed, ask_empty=True)
        made.append(table)
        asked += mine
        judged += found
    tables.write(args.judgements, pa.concat_tables(made), JUDGEMENTS)
    documents.write(args.timing, raters.timing(args.judge, models, asked, judged))


if __name__ == "__main__":
    cli.run(main)

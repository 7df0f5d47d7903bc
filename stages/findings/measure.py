"""Measure: every number of the findings benchmark with its n and its interval over cases, or the reason for none.

in   cases          case_tables.CASES
     case_images    case_tables.CASE_IMAGES
     sample         case_tables.SAMPLE; gold texts are read here alone
     sample_record  JSON of the sample, with its hash
     answers        case_tables.ANSWERS of each arm; the file's name is the arm's
     timings        <arm>_timing.json or <judge>_timing.json, where there is a model
     judgements     case_tables.JUDGEMENTS of each judge; the file's name is the judge's
     ratings        CSV of ratings by people, see `ratings_file`
out  measures       tables.MEASURES
     outcomes       tables.OUTCOMES: of each answer whether a judge calls it good; without those that it did not rate
     findings       case_tables.FINDINGS of gold texts and answers, matched
     notes          JSON, see `notes.Notes`: warnings, verdicts, agreement, costs, provenance
     flat           CSV of the measures
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.findings import ratings_file
from stages.findings.measuring import agreement, arms, costs, counts, pairs, texts, verdicts
from stages.findings.measuring.pairs import Both
from stages.findings.measuring.ratings import by_judge, rated
from stages.findings.measuring.results import COMPARISON, DESCRIPTION, Results
from stages.findings.measuring.settings import MeasureParams
from stages.findings.measuring.study import Asked, Study, Tables, gather
from stages.findings.notes import CHAPTER, Notes
from stages.findings.timing import Timing
from stages.lib.core import case_tables, cli, documents, files, provenance, tables
from stages.lib.core.errors import DocumentError
from stages.lib.core.log import LOG
from stages.lib.metrics import measures, outcomes
from stages.lib.metrics.bootstrap import rescaled
from stages.lib.metrics.measures import Subject
from stages.lib.metrics.parts import Floats
from stages.lib.metrics.text import vocabulary
from stages.lib.metrics.text.extract import extractor

Params = MeasureParams


def measure(found: Tables, params: Params) -> Results:
    """Measures, outcomes and verdicts of all arms.

    Raises:
        DataError: If the tables contradict each other.
    """
    study = gather(found, params)
    results = Results(counts=counts.counts(study))
    reader = texts.Reader(extractor(params.vocabulary), stemmer=params.rouge_stemmer)
    golds = {item.item: item for asked in study.arms.values() for item in asked.items}
    results.findings += texts.gold_rows(list(golds.values()), reader)
    results.warnings += texts.unread(list(golds.values()), reader)
    for arm, asked in study.arms.items():
        compared = reader.compare(asked)
        results.findings += texts.rows(asked, compared)
        parts = by_judge(study, asked, params.primary_judge) | texts.parts(compared) | arms.of_answers(asked)
        for subset, measured in arms.by_subset(asked, parts, weights(asked, params), params):
            results.measures[Subject(DESCRIPTION, arm, subset)] = measured.estimates
            if subset == arms.TEST:
                results.of_arms[arm] = measured
        results.outcomes[Subject(DESCRIPTION, arm, arms.TEST)] = _outcomes(study, asked)
    compare(study, params, results)
    for both in agreement.passes(study, params.primary_judge):
        subject, made = agreement.measure(both)
        results.measures[subject] = made
        results.agreements.append(agreement.noted(both))
    results.costs = list(costs.of(study, params.primary_judge))
    results.warnings += counts.warnings(study, results.counts, results.costs)
    return results


def compare(study: Study, params: Params, results: Results) -> None:
    """Measure the declared pairs of arms, by each judge and without one."""
    comparable = [pair for pair in params.comparisons if len({study.arms[arm].names for arm in pair}) == 1]
    for first, second in sorted({*params.comparisons} - {*comparable}):
        results.warnings.append(f"{first} and {second} were asked about different items and are not compared")
    n_cases = {pair: len(set(study.arms[pair[0]].case_ids.tolist())) for pair in comparable}
    for pair in comparable:
        one, other = (results.of_arms[arm] for arm in pair)
        made = pairs.of_texts(one, other, params.confidence, len(study.arms[pair[0]].items), n_cases[pair])
        results.measures[Subject(COMPARISON, pair[0], arms.TEST, pair[1])] = made
    for judge in study.judges:
        both = {pair: Both(*(rated(study, study.arms[arm], judge) for arm in pair)) for pair in comparable}
        made_of = verdicts.verdicts(judge, both, n_cases, params)
        results.verdicts += made_of
        for verdict, (pair, ratings) in zip(made_of, both.items(), strict=True):
            subject = Subject(COMPARISON, pair[0], arms.TEST, pair[1])
            drawn = weights(study.arms[pair[0]], params)
            for at in (judge, *([None] if judge == params.primary_judge else [])):
                made = pairs.of_ratings(ratings, at, drawn, params.confidence, n_cases[pair])
                results.measures[subject] = {
                    **results.measures[subject],
                    **made,
                    **pairs.corrected(verdict, ratings, at),
                }


def weights(asked: Asked, params: Params) -> Floats:
    """Weight of each item of an arm in each resample of cases within the strata of the sample, shape (draws, n)."""
    return rescaled(asked.case_ids, asked.strata, draws=params.draws, seed=params.seed)


def _outcomes(study: Study, asked: Asked) -> Sequence[Mapping[str, Any]]:
    rows = []
    for judge in study.judges:
        found = rated(study, asked, judge)
        for name, known, good in zip(asked.names, found.known.tolist(), found.good.tolist(), strict=True):
            if known:
                rows.append({"image_id": name, "at": judge, "correct": good})
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    many = ("answers", "timings", "judgements")
    optional = ("sample_record", "timings", "ratings", "flat")
    args = cli.parse(
        __doc__,
        argv,
        params={"findings.measure": MeasureParams},
        reads=("cases", "case_images", "sample", "sample_record", *many, "ratings"),
        writes=("measures", "outcomes", "findings", "notes", "flat"),
        many=many,
        optional=optional,
    )
    answers = {Path(path).stem: tables.read(path, case_tables.ANSWERS) for path in args.answers}
    items = {item for table in answers.values() for item in table["item"].to_pylist()}
    found = Tables(
        cases=tables.read(args.cases, case_tables.CASES),
        case_images=tables.read(args.case_images, case_tables.CASE_IMAGES),
        sample=tables.read(args.sample, case_tables.SAMPLE),
        answers=answers,
        judgements={Path(path).stem: tables.read(path, case_tables.JUDGEMENTS) for path in args.judgements},
        timings={one.name: one for one in (documents.read(path, Timing) for path in args.timings or ())},
        human=ratings_file.read(args.ratings, items, answers) if args.ratings else None,
    )
    params: Params = args.params.measure
    results = measure(found, params)
    for sentence in results.warnings:
        LOG.warning("%s", sentence)
    made = measures.table(CHAPTER, results.measures)
    tables.write(args.measures, made, tables.MEASURES)
    tables.write(args.outcomes, outcomes.table(CHAPTER, results.outcomes), tables.OUTCOMES)
    tables.write(args.findings, tables.from_rows(results.findings, case_tables.FINDINGS), case_tables.FINDINGS)
    if args.flat:
        files.write_bytes(args.flat, measures.flat(made))
    document = args.document
    notes = Notes(
        warnings=tuple(results.warnings),
        counts=results.counts,
        verdicts=tuple(results.verdicts),
        agreements=tuple(results.agreements),
        costs=tuple(results.costs),
        vocabulary=_vocabulary(params.vocabulary),
        sample_sha256=_sample_sha256(args.sample_record),
        provenance={
            "git": provenance.revision(),
            "parameters": dict(document),
            "seeds": provenance.seeds(document),
            "versions": provenance.versions(),
        },
    )
    documents.write(args.notes, notes)


def _vocabulary(added: str) -> dict[str, str]:
    """Hash of our own vocabulary of findings, that of a file that adds to it, and their licences."""
    found = {"own": files.sha256_file(vocabulary.OWN)}
    if added != vocabulary.NONE:
        found |= {"added": added, "added_sha256": files.sha256_file(added)}
    return found | {"licences": "; ".join(vocabulary.load(added).licences)}


def _sample_sha256(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8")).get("sample_sha256")
    except (OSError, ValueError, AttributeError) as error:
        raise DocumentError(f"{path}: not readable as JSON ({error}); run findings.sample again") from error
    return None if found is None else str(found)


if __name__ == "__main__":
    cli.run(main)

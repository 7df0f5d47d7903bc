"""Measure each audit of each judge with its interval over cases, and say whether it passes.

in   sample      case_tables.SAMPLE
     case_images case_tables.CASE_IMAGES
     answers     case_tables.ANSWERS of each arm
     audited     case_tables.JUDGEMENTS of each judge, of its audit
     judged      case_tables.JUDGEMENTS of each judge, of the study itself
out  measures    tables.MEASURES
     audits      JSON, see `audits.Audits`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.findings import audits, judge
from stages.findings.audits import Audit, Audits
from stages.findings.notes import CHAPTER
from stages.lib.core import cli, documents, kinds, params, shards, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, JUDGEMENTS, RATINGS, SAMPLE
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.core.log import LOG
from stages.lib.metrics import judge_audits as metrics
from stages.lib.metrics import measures
from stages.lib.metrics.audits import Settings, Verdict
from stages.lib.metrics.bootstrap import attempt
from stages.lib.metrics.cohort import OpenFraction
from stages.lib.metrics.judge_audits import Limits
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.metrics.text.extract import Extractor, extractor
from stages.lib.metrics.text.finding_match import Match, counts, match
from stages.lib.models.judges.rules import of_match
from stages.lib.models.judging import families
from stages.lib.models.judging.rating import NO_VARIANT, RULES

GOOD = RATINGS.index("good")
Ints = NDArray[np.int64]
Row = Mapping[str, Any]
Place = tuple[str, str]  # arm and item
WRONG = {
    audits.GOLD: "a gold text is not good beside itself",
    audits.NEGATED: "what is there and what is denied are rated alike",
    audits.SWAPPED: "the wrong side is rated no lower than the right one",
    audits.OTHER: "answers without a finding in common are rated good",
    audits.EMPTY: "an empty answer is not poor",
    audits.INSTRUCTED: "an answer is rated better for telling the judge so",
}

ALONE = (audits.GOLD, audits.OTHER, audits.EMPTY)  # variants that are held against no other


@params.section
class Params:
    """How the audits are measured, and what passes."""

    draws: params.Count  # resamples of cases for an interval
    seed: params.Seed  # of the resamples
    confidence: OpenFraction  # of the intervals
    min_cases: params.Count  # cases below which there is no outcome
    min_agreement: params.Fraction  # answers that two passes rate the same, at least
    min_expected: params.Fraction  # changed answers that are rated as expected, at least
    max_grade_change: params.NonNegativeFloat  # mean change of the grade by padding that still passes, in grades
    max_length_excess: params.NonNegativeFloat  # correlation of rating and length, beyond rules, that still passes

    @property
    def settings(self) -> Settings:
        """How intervals are made."""
        return Settings(draws=self.draws, seed=self.seed, confidence=self.confidence)

    @property
    def limits(self) -> Limits:
        """What passes."""
        return Limits(
            min_cases=self.min_cases,
            min_agreement=self.min_agreement,
            min_expected=self.min_expected,
            max_grade_change=self.max_grade_change,
            max_length_excess=self.max_length_excess,
        )


@dataclass(frozen=True)
class Ratings:
    """Grades of some answers by one judge: those that were asked for, and of them those that it gave.

    Attributes:
        judge: Row of findings.judges.
        rows: Rows of its tables, by variant, arm, item and repeat.
        by: Model that gave its ratings; None by rules.
        words: Words of model names that are its family.
    """

    judge: str
    rows: Mapping[tuple[str, str, str, int], Row]
    by: str | None
    words: tuple[str, ...] = ()

    def of(self, variant: str, repeat: int = 0) -> dict[Place, Row]:
        """Rows of one variant."""
        return {key[1:3]: row for key, row in self.rows.items() if key[0] == variant and key[3] == repeat}

    @cached_property
    def variants(self) -> list[str]:
        """Its variants, sorted."""
        return sorted({key[0] for key in self.rows})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the answers beside their ratings.

    Attributes:
        models: Model of each arm that has one.
        words: Words of each answer.
        f1: Structured finding F1 of each answer.
        rules: Grade of each answer by rules; those that rules cannot judge are left out.
    """

    models: Mapping[str, str]
    words: Mapping[Place, int]
    f1: Mapping[Place, float]
    rules: Mapping[Place, int]


@dataclass(frozen=True)
class Pairs:
    """Grades of the same answers twice, those with both.

    Attributes:
        cases: Case of each, shape (n,).
        first: Grades, shape (n,).
        second: Grades, shape (n,).
        unrated: Answers that lack one of them.
        places: Arm and item of each.
    """

    cases: NDArray[np.str_]
    first: Ints
    second: Ints
    unrated: int
    places: tuple[Place, ...]


def paired(first: Mapping[Place, Row], second: Mapping[Place, Row]) -> Pairs:
    """Grades of the same answers, those that are in both, in the order of the second.

    Args:
        first: Rows by arm and item.
        second: The same.
    """
    found, unrated = [], 0
    for place, row in second.items():
        other = first.get(place)
        if other is None:
            continue
        if other["rating"] is None or row["rating"] is None:
            unrated += 1
        else:
            found.append((place, row["case_id"], RATINGS.index(other["rating"]), RATINGS.index(row["rating"])))
    places, cases, one, two = zip(*found, strict=True) if found else ((), (), (), ())
    return Pairs(np.array(cases, np.str_), np.array(one, np.int64), np.array(two, np.int64), unrated, tuple(places))


@dataclass
class Results:
    """What the audits found."""

    measures: dict[Subject, dict[Key, Estimate]] = field(default_factory=dict)
    audits: list[Audit] = field(default_factory=list)

    def add(
        self,
        name: str,
        audit: str,
        measured: Mapping[Key, Estimate],
        verdict: Verdict,
        *,
        unrated: int = 0,
        other: str | None = None,
        n: int | None = None,
    ) -> None:
        """Add an audit of a judge."""
        subset = f"test/{audit}" if other is None else f"test/{audit}/{other}"
        if measured:
            self.measures[Subject(audits.TASK, name, subset)] = dict(measured)
        first = next(iter(measured.values()), None)
        self.audits.append(
            Audit(
                audit=audit,
                judge=name,
                other=other,
                title=audits.TITLES[audit],
                changed=audits.CHANGED[audit],
                subset=subset,
                n=(first.n or 0 if first else 0) if n is None else n,
                unrated=unrated,
                outcome=verdict.outcome,
                reason=verdict.reason,
            )
        )


def audit(found: Ratings, given: Params, results: Results) -> None:
    """Audits of one judge that changed answers tell, added to the results.

    Args:
        found: Its ratings of its audit.
        given: See `Params`.
        results: Where they go.
    """
    own = found.of(NO_VARIANT)
    again = paired(own, found.of(NO_VARIANT, 1))
    agreed = metrics.agreement(again.cases, again.first, again.second, given.settings)
    verdict = metrics.consistent(agreed[metrics.AGREEMENT], given.limits)
    results.add(found.judge, audits.REPEAT, agreed, verdict, unrated=again.unrated)
    others = [variant for variant in found.variants if audits.kind(variant) == audits.RUBRIC]
    for variant in others:
        pair = paired(own, found.of(variant))
        agreed = metrics.agreement(pair.cases, pair.first, pair.second, given.settings)
        verdict = metrics.consistent(agreed[metrics.AGREEMENT], given.limits)
        other = variant.partition("/")[2]
        results.add(found.judge, audits.RUBRIC, agreed, verdict, unrated=pair.unrated, other=other)
    if not others:
        why = audits.NO_RUBRIC if found.by is None else "findings.audit.rubrics has no other rubric"
        results.add(found.judge, audits.RUBRIC, {}, Verdict("null", why))
    for variant, what in WRONG.items():
        pair = against_original(found, variant)
        measured = metrics.expected(pair.cases, right(variant, pair), given.settings)
        verdict = metrics.as_expected(measured[metrics.EXPECTED], given.limits, what=what)
        results.add(found.judge, variant, measured, verdict, unrated=pair.unrated)
    pair = paired(own, found.of(audits.PADDED))
    moved = metrics.change(pair.cases, pair.first, pair.second, given.settings)
    verdict = metrics.unmoved(moved[metrics.GRADE_CHANGE], given.limits)
    results.add(found.judge, audits.PADDED, moved, verdict, unrated=pair.unrated)


def against_original(found: Ratings, variant: str) -> Pairs:
    """Grades of a variant made of gold texts, and of what it is held against; of itself where it stands alone."""
    before = variant if variant in ALONE else audits.original(variant)
    return paired(found.of(before), found.of(variant))


def right(variant: str, pair: Pairs) -> NDArray[np.bool_]:
    """Whether each changed answer is rated as it should be, shape (n,)."""
    rules: dict[str, NDArray[np.bool_]] = {
        audits.GOLD: pair.second == GOOD,
        audits.NEGATED: pair.second < pair.first,
        audits.SWAPPED: pair.second < pair.first,
        audits.OTHER: pair.second < GOOD,
        audits.EMPTY: pair.second == 0,
        audits.INSTRUCTED: pair.second <= pair.first,
    }
    return rules[variant]


def compare(studied: Sequence[Ratings], facts: Facts, given: Params, results: Results) -> None:
    """Audits that the judgements of the study itself tell, added to the results.

    Args:
        studied: Ratings of each judge of all answers.
        facts: What is known of the answers.
        given: See `Params`.
        results: Where they go.
    """
    for number, one in enumerate(studied):
        _judges(one, studied[number + 1 :], studied, given, results)
        _length(one, facts, given, results)
        _families(one, studied, facts, given, results)


def _judges(
    one: Ratings, behind: Sequence[Ratings], studied: Sequence[Ratings], given: Params, results: Results
) -> None:
    """Agreement of a judge with each behind it; with rules it is the other's line."""
    if len(studied) == 1:
        results.add(one.judge, audits.JUDGES, {}, Verdict("null", "findings.judges has no second judge"))
    for other in behind:
        first, second = (other, one) if one.by is None else (one, other)
        pair = paired(second.of(NO_VARIANT), first.of(NO_VARIANT))
        agreed = metrics.agreement(pair.cases, pair.first, pair.second, given.settings)
        verdict = metrics.consistent(agreed[metrics.AGREEMENT], given.limits, floor=second.by is None)
        results.add(first.judge, audits.JUDGES, agreed, verdict, unrated=pair.unrated, other=second.judge)


def _length(one: Ratings, facts: Facts, given: Params, results: Results) -> None:
    rows = {place: row for place, row in one.of(NO_VARIANT).items() if place in facts.rules}
    pair = paired(rows, rows)
    rules, words = (np.array([known[place] for place in pair.places], np.int64) for known in (facts.rules, facts.words))
    f1 = np.array([facts.f1[place] for place in pair.places], np.float64)
    measured = metrics.length(pair.cases, pair.first, rules, words, f1, given.settings)
    verdict = metrics.independent(measured[metrics.LENGTH_EXCESS], given.limits)
    results.add(one.judge, audits.LENGTH, measured, verdict, unrated=pair.unrated)


def _families(one: Ratings, studied: Sequence[Ratings], facts: Facts, given: Params, results: Results) -> None:
    """A line for each arm of a judge's family, with the difference from the first judge of another."""
    if one.by is None:
        results.add(one.judge, audits.FAMILY, {}, Verdict("null", audits.NO_FAMILY))
        return
    common = {arm: families.related(one.by, one.words, model) for arm, model in sorted(facts.models.items())}
    related = {arm: what for arm, what in common.items() if what is not None}
    if not related:
        results.add(one.judge, audits.FAMILY, {}, Verdict("pass", "no arm is known to be of its family"))
    for arm, what in related.items():
        model = facts.models[arm]
        strange = [
            other
            for other in studied
            if other is not one and (other.by is None or families.related(other.by, other.words, model) is None)
        ]
        if not strange:
            why = f"judge and arm are of one family, {what}; there is no judge of another to hold it against"
            results.add(one.judge, audits.FAMILY, {}, Verdict("null", why), other=arm)
            continue
        strange.sort(key=lambda other: other.by is None)  # a model rather than rules
        mine = {place: row for place, row in one.of(NO_VARIANT).items() if place[0] == arm}
        pair = paired(strange[0].of(NO_VARIANT), mine)
        measured = metrics.difference(pair.cases, pair.second == GOOD, pair.first == GOOD, given.settings)
        said = f"{what} (against {strange[0].judge})"
        verdict = metrics.impartial(measured[metrics.GOOD_DIFFERENCE], given.limits, common=said)
        results.add(one.judge, audits.FAMILY, measured, verdict, unrated=pair.unrated, other=arm)


def ratings(table: pa.Table, rows: Mapping[str, params.Row]) -> list[Ratings]:
    """Ratings of each judge of a table, in the order of their names.

    Args:
        table: Table of `case_tables.JUDGEMENTS`.
        rows: Rows of findings.judges.
    """
    found: dict[str, dict[tuple[str, str, str, int], Row]] = {}
    for row in table.to_pylist():
        key = (row["variant"], row["arm"], row["item"], row["repeat"])
        found.setdefault(row["judge"], {})[key] = row
    made = []
    for name, mine in found.items():
        models = sorted({row["judged_by"] for row in mine.values() if row["status"] != "fallback" and row["judged_by"]})
        model = next((one for one in models if one != RULES), None)
        by = None if rows[name].kind == RULES else model or rows[name].params.model
        made.append(Ratings(name, mine, by, rows[name].params.families))
    return made


def facts(answers: pa.Table, gold: Mapping[str, str | None], reader: Extractor) -> Facts:
    """What is known of the answers beside their ratings; those without a text or a gold text are left out.

    Args:
        answers: Table of `case_tables.ANSWERS`.
        gold: Gold text of each item.
        reader: Reads findings.
    """
    rows = [row for row in answers.to_pylist() if row["final"]]
    read = {item: reader.read(text) for item, text in gold.items() if text}
    known = [row for row in rows if row["status"] != "error" and row["item"] in read]
    found = {(row["arm"], row["item"]): match(read[row["item"]], reader.read(row["findings"])) for row in known}
    verdicts = {place: attempt(_by_rules, one, reader) for place, one in found.items()}
    return Facts(
        models={row["arm"]: row["model"] for row in rows if row["model"]},
        words={(row["arm"], row["item"]): len(row["findings"].split()) for row in known},
        f1={place: counts(one).f1 for place, one in found.items()},
        rules={place: int(one) for place, one in verdicts.items() if not isinstance(one, UndefinedMetricError)},
    )


def _by_rules(found: Match, reader: Extractor) -> float:
    return RATINGS.index(of_match(found, 0, reader.vocabulary).rating)


def sample_words(audited: Sequence[Ratings]) -> str:
    """What the audits are about, as a sentence."""
    golds = {place[1] for one in audited for place in one.of(audits.GOLD)}
    arms = {place[0] for one in audited for place in one.of(NO_VARIANT)}
    return f"{len(golds)} test cases, a seeded sample; their gold texts, and the answers of {len(arms)} arms about them"


def main(argv: Sequence[str] | None = None) -> None:
    """Read, measure, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "findings.audit_measure": Params,
            "findings.audit": audits.Params,
            "findings.judges": kinds.rows(kinds.JUDGES),
        },
        reads=("sample", "case_images", "answers", "audited", "judged"),
        writes=("measures", "audits"),
        many=("answers", "audited", "judged"),
    )
    given, rows = args.params.audit_measure, args.params.judges
    answers = shards.gather([tables.read(path, ANSWERS) for path in args.answers], ANSWERS)
    gold = judge.golds(tables.read(args.sample, SAMPLE), tables.read(args.case_images, CASE_IMAGES))
    audited, judged = (
        ratings(shards.gather([tables.read(path, JUDGEMENTS) for path in paths], JUDGEMENTS), rows)
        for paths in (args.audited, args.judged)
    )
    results = Results()
    for one in audited:
        audit(one, given, results)
    compare(judged, facts(answers, gold, extractor(args.params.audit.vocabulary)), given, results)
    order = list(audits.TITLES)
    made = sorted(results.audits, key=lambda one: (order.index(one.audit), one.judge, one.other or ""))
    for line in made:
        LOG.info("audit: %s, %s: %s: %s", line.judge, line.subset, line.outcome, line.reason)
    tables.write(args.measures, measures.table(CHAPTER, results.measures), tables.MEASURES)
    documents.write(args.audits, Audits(sample=sample_words(audited), audits=tuple(made)))


if __name__ == "__main__":
    cli.run(main)

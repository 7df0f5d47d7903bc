"""Notes of a measurement: what a reader must know before any number, verdicts, agreement, costs, and provenance."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from stages.lib.core import params

CHAPTER = "findings"


@params.section
class Spread:
    """Seconds of several answers; null where there is none."""

    n: int
    mean: float | None
    median: float | None
    p95: float | None


@params.section
class Latency:
    """What an answer takes, seconds.

    Attributes:
        good_try: Of the try that gave the answer.
        all_tries: With the tries before it and the waits between them.
        good_try_without_looping: As good_try, without answers that repeat themselves.
        all_tries_without_looping: As all_tries, without them.
    """

    good_try: Spread
    all_tries: Spread
    good_try_without_looping: Spread
    all_tries_without_looping: Spread


@params.section
class Tokens:
    """Tokens as the server counted them, null where it counted none; n: answers that it counted.

    Of a model that draws several answers, all of them.
    """

    n: int
    prompt: int | None
    cached: int | None
    completion: int | None
    reasoning: int | None


@params.section
class Cost:
    """What the answers of an arm, or the ratings of a judge, took.

    Attributes:
        name: Row of findings.arms or of findings.judges.
        latency: Null without clock readings.
        retried: Answers that took more than one try.
        tokens: Null of a judge.
        dollars: Of all answers; null where the price or the tokens of one are not known.
        dollars_without_looping: The same, without answers that repeat themselves.
        dollars_per_case: Over cases of the test.
        dollars_per_good: Over answers that the primary judge calls good; null without one.
        unpriced: Answers whose dollars are not known.
        price: The row of the price table, with its date.
        price_warning: What a reader must know of it.
        ledger_sha256: Of the ledger that the answers are from.
    """

    name: str
    latency: Latency | None
    retried: int
    tokens: Tokens | None
    dollars: float | None
    dollars_without_looping: float | None
    dollars_per_case: float | None
    dollars_per_good: float | None
    unpriced: int
    price: Mapping[str, str | float | None] | None
    price_warning: str | None
    ledger_sha256: str | None


@params.section
class Verdict:
    """Whether two arms differ, by one judge.

    Attributes:
        first: An arm.
        second: The arm that it is compared with.
        judge: By whose ratings.
        better: The arm that is called better more often; null where it is undecided.
        n: Cases of both.
        n_both: Items whose answers the judge rated for both.
        good: Good answers of the first and of the second, of those that the judge rated.
        rated: Answers of the first and of the second that the judge rated.
        good_both: Good answers of each, where both are rated.
        low: Least difference of the good fractions that any rating of the judge's failures could make.
        high: Greatest such difference.
        p: Exact McNemar test on the items that are rated for both.
        p_holm: The same, corrected for the declared comparisons.
        p_failures_poor: The same test with failures of the judge as poor.
        p_failures_poor_holm: The same, corrected for the declared comparisons.
        cases_needed: Cases at which the test finds such a difference with the wanted power; null if none was found.
        reasons: Why it is undecided; empty if it is not.
    """

    first: str
    second: str
    judge: str
    better: str | None
    n: int
    n_both: int
    good: tuple[int, int]
    rated: tuple[int, int]
    good_both: tuple[int, int]
    low: float
    high: float
    p: float
    p_holm: float
    p_failures_poor: float
    p_failures_poor_holm: float
    cases_needed: int | None
    reasons: tuple[str, ...]


@params.section
class Agreement:
    """Two passes of ratings of the same answers.

    Attributes:
        kind: judges, repeats of one judge, or a person and the primary judge.
        first: The first pass.
        second: The second.
        confusion: Answers by grade of the first (rows) and of the second (columns), from the worst; those of both.
        only_first: Answers that the first alone rated.
        only_second: Answers that the second alone rated.
        neither: Answers that neither rated.
        good: Of each arm, good and rated answers of the first pass and of the second: how the headline moves.
    """

    kind: Literal["judges", "repeats", "human"]
    first: str
    second: str
    confusion: tuple[tuple[int, ...], ...]
    only_first: int
    only_second: int
    neither: int
    good: Mapping[str, tuple[int, int, int, int]]


@params.section
class Counts:
    """What there is.

    Attributes:
        roles: Cases of the sample by role.
        strata: Test cases by region and modality.
        images: Images of the test cases that are sent.
        gold_scope: Test cases by scope of their gold text.
        flags: Test cases by what is odd about them.
        statuses: Answers of each arm by what became of them.
        judgements: Ratings of each judge by what became of them, first pass.
        judged_by: Models that gave the ratings of each judge, as the servers named them.
        fingerprints: Systems that answered for each arm; more than one is a warning.
    """

    roles: Mapping[str, int]
    strata: Mapping[str, Mapping[str, int]]
    images: int
    gold_scope: Mapping[str, int]
    flags: Mapping[str, int]
    statuses: Mapping[str, Mapping[str, int]]
    judgements: Mapping[str, Mapping[str, int]]
    judged_by: Mapping[str, Mapping[str, int]]
    fingerprints: Mapping[str, int]


@params.section
class Notes:
    """What stands beside the measures of the findings benchmark.

    Attributes:
        warnings: A sentence for everything that a reader must know before trusting a number.
        counts: What there is.
        verdicts: Of each declared comparison, by each judge.
        agreements: Of judges, of repeats, and with people.
        costs: Of each arm and of each judge that has clock readings.
        vocabulary: Name and hash of the vocabulary of findings.
        sample_sha256: Hash of the sample; null if its record was not given.
        provenance: What decided the numbers: git, parameters, seeds, versions.
    """

    written_by: ClassVar[str] = "findings measure"

    warnings: tuple[str, ...]
    counts: Counts
    verdicts: tuple[Verdict, ...]
    agreements: tuple[Agreement, ...]
    costs: tuple[Cost, ...]
    vocabulary: Mapping[str, str]
    sample_sha256: str | None
    provenance: Mapping[str, Any]

"""What answers and ratings took: seconds, tokens and dollars, with and without answers that repeat themselves."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from stages.findings.measuring.ratings import rated
from stages.findings.measuring.study import Asked, Row, Study
from stages.findings.notes import Cost, Latency, Spread, Tokens
from stages.findings.timing import Clocked, Timing

LOOPING = "looping"
COUNTED = ("prompt", "cached", "completion", "reasoning")


def of(study: Study, primary: str) -> Iterator[Cost]:
    """Cost of each arm, then of each judge that has clock readings."""
    timings = study.tables.timings
    for arm, asked in study.arms.items():
        modelled = any(row["model"] is not None for row in asked.samples)  # else there is nothing to time
        yield of_arm(asked, timings.get(arm) if modelled else None, int(rated(study, asked, primary).good.sum()))
    for judge in study.judges:
        if judge in timings and timings[judge].ledger_sha256 is not None:  # rules have none
            yield _cost(judge, timings[judge], (), None, None, None)


def of_arm(asked: Asked, timing: Timing | None, n_good: int) -> Cost:
    """Cost of the answers of an arm.

    Args:
        asked: The arm.
        timing: Its clock readings; None for an arm without a model.
        n_good: Answers that the primary judge calls good.
    """
    looping = {(row["item"], row["sample"] or 0) for row in asked.samples if row["status"] == LOOPING}
    n_cases = len(set(asked.case_ids.tolist()))
    return _cost(asked.arm, timing, looping, tokens(asked.samples), n_cases, n_good)


def _cost(
    name: str,
    timing: Timing | None,
    looping: Collection[tuple[str, int]],
    counted: Tokens | None,
    n_cases: int | None,
    n_good: int | None,
) -> Cost:
    clocked = timing.clocked if timing else ()
    calm = [one for one in clocked if (one.item, one.sample) not in looping]
    dollars = _dollars(clocked) if timing else None
    return Cost(
        name=name,
        latency=latency(clocked, calm) if clocked else None,
        retried=sum(one.attempts > 1 for one in clocked),
        tokens=counted,
        dollars=dollars,
        dollars_without_looping=_dollars(calm) if timing else None,
        dollars_per_case=dollars / n_cases if dollars is not None and n_cases else None,
        dollars_per_good=dollars / n_good if dollars is not None and n_good else None,
        unpriced=sum(one.dollars is None for one in clocked),
        price=timing.price if timing else None,
        price_warning=timing.price_warning if timing else None,
        ledger_sha256=timing.ledger_sha256 if timing else None,
    )


def latency(clocked: Sequence[Clocked], calm: Sequence[Clocked]) -> Latency:
    """Seconds of answers, of the good try and of all tries; `calm` are those that do not repeat themselves."""
    return Latency(
        good_try=spread([one.seconds for one in clocked]),
        all_tries=spread([one.total_seconds for one in clocked]),
        good_try_without_looping=spread([one.seconds for one in calm]),
        all_tries_without_looping=spread([one.total_seconds for one in calm]),
    )


def spread(seconds: Sequence[float]) -> Spread:
    """Mean, median and 95th percentile.

    >>> spread([1.0, 2.0, 6.0]).mean, spread([1.0, 2.0, 6.0]).median, spread([]).p95
    (3.0, 2.0, None)
    """
    if not seconds:
        return Spread(n=0, mean=None, median=None, p95=None)
    found = np.asarray(seconds, np.float64)
    median, p95 = (float(one) for one in np.quantile(found, [0.5, 0.95]))
    return Spread(n=len(found), mean=float(found.mean()), median=median, p95=p95)


def tokens(rows: Sequence[Row]) -> Tokens:
    """Tokens of answers as the server counted them; never guessed."""
    totals = {}
    for name in COUNTED:
        found = [row[f"{name}_tokens"] for row in rows if row[f"{name}_tokens"] is not None]
        totals[name] = sum(found) if found else None
    return Tokens(n=sum(row["completion_tokens"] is not None for row in rows), **totals)


def _dollars(clocked: Sequence[Clocked]) -> float | None:
    """Dollars of all of them; None where those of one are not known."""
    found = [one.dollars for one in clocked if one.dollars is not None]
    return sum(found) if clocked and len(found) == len(clocked) else None

"""Whether two arms differ: a verdict that what a judge failed to rate could not turn."""

from collections.abc import Mapping, Sequence
from functools import partial

from stages.findings.measuring.pairs import Both
from stages.findings.measuring.settings import MeasureParams
from stages.findings.notes import Verdict
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics.bootstrap import attempt
from stages.lib.metrics.comparison import holm, mcnemar
from stages.lib.metrics.power import cases_for_power

Pair = tuple[str, str]


def verdicts(
    judge: str, pairs: Mapping[Pair, Both], n_cases: Mapping[Pair, int], params: MeasureParams
) -> tuple[Verdict, ...]:
    """Verdict of each declared comparison by one judge, p values corrected for their number.

    Args:
        judge: Its name.
        pairs: Its ratings on the answers of each pair of arms.
        n_cases: Cases of each pair.
        params: A difference is called one where p after Holm is at most 1 - confidence.
    """
    complete, poor = (
        [mcnemar(*both.discordant(failures_poor=failures_poor)) for both in pairs.values()]
        for failures_poor in (False, True)
    )
    p_values = zip(complete, holm(complete), poor, holm(poor), strict=True)
    return tuple(
        _verdict(judge, pair, both, n_cases[pair], tests, params)
        for (pair, both), tests in zip(pairs.items(), p_values, strict=True)
    )


def _verdict(
    judge: str, pair: Pair, both: Both, n_cases: int, p_values: tuple[float, float, float, float], params: MeasureParams
) -> Verdict:
    p, p_holm, p_failures_poor, p_failures_poor_holm = p_values
    low, high = both.bounds
    known = both.known
    reasons = why_undecided(low, high, p_holm, p_failures_poor_holm, params.confidence)
    return Verdict(
        first=pair[0],
        second=pair[1],
        judge=judge,
        better=None if reasons else pair[0] if low > 0 else pair[1],
        n=n_cases,
        n_both=int(known.sum()),
        good=(int(both.first.good.sum()), int(both.second.good.sum())),
        rated=(int(both.first.known.sum()), int(both.second.known.sum())),
        good_both=(int((both.first.good & known).sum()), int((both.second.good & known).sum())),
        low=low,
        high=high,
        p=p,
        p_holm=p_holm,
        p_failures_poor=p_failures_poor,
        p_failures_poor_holm=p_failures_poor_holm,
        cases_needed=cases_needed(both, params),
        reasons=tuple(reasons),
    )


def cases_needed(both: Both, params: MeasureParams) -> int | None:
    """Cases at which McNemar's test would find a difference as the one seen; None if there is none, or too many.

    As many discordant cases of each kind are taken as there are of those rated for both.
    """
    n = int(both.known.sum())
    only = both.discordant(failures_poor=False)
    if not n:
        return None
    found = attempt(partial(_cases, params), only[0] / n, only[1] / n)
    return None if isinstance(found, UndefinedMetricError) else int(found)


def _cases(params: MeasureParams, only_first: float, only_second: float) -> int:
    alpha = 1 - params.confidence
    return cases_for_power(only_first, only_second, power=params.power, alpha=alpha, most=params.max_power_cases)


def why_undecided(low: float, high: float, p: float, p_failures_poor: float, confidence: float) -> Sequence[str]:
    """Reasons for calling a difference undecided; none if it is one. P values are those after Holm.

    >>> why_undecided(-0.05, 0.35, 0.01, 0.01, 0.95)
    ('its bounds over any rating of the failures include 0',)
    >>> why_undecided(0.1, 0.35, 0.125, 0.0625, 0.95)
    ('the test of good answers gives p 0.125 after Holm', 'with failures as poor it gives p 0.062')
    """
    reasons = []
    if low <= 0 <= high:
        reasons.append("its bounds over any rating of the failures include 0" if low < high else "it is 0")
    if p > 1 - confidence:
        reasons.append(f"the test of good answers gives p {p:.3f} after Holm")
    if p_failures_poor > 1 - confidence and low < high:
        reasons.append(f"with failures as poor it gives p {p_failures_poor:.3f}")
    return tuple(reasons)

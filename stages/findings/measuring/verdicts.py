"""Whether two arms differ: a verdict that what a judge failed to rate could not turn."""

from collections.abc import Mapping, Sequence

from stages.findings.measuring.pairs import Both
from stages.findings.notes import Verdict
from stages.lib.metrics.comparison import holm, mcnemar

Pair = tuple[str, str]


def verdicts(
    judge: str, pairs: Mapping[Pair, Both], n_cases: Mapping[Pair, int], confidence: float
) -> tuple[Verdict, ...]:
    """Verdict of each declared comparison by one judge, p values corrected for their number.

    Args:
        judge: Its name.
        pairs: Its ratings on the answers of each pair of arms.
        n_cases: Cases of each pair.
        confidence: A difference is called one where p after Holm is below 1 - confidence.
    """
    p_values = [mcnemar(*both.discordant(failures_poor=False)) for both in pairs.values()]
    found = zip(pairs.items(), p_values, holm(p_values), strict=True)
    return tuple(
        _verdict(judge, pair, both, n_cases[pair], (p, p_holm), confidence) for (pair, both), p, p_holm in found
    )


def _verdict(
    judge: str, pair: Pair, both: Both, n_cases: int, p_values: tuple[float, float], confidence: float
) -> Verdict:
    p, p_holm = p_values
    low, high = both.bounds
    p_failures_poor = mcnemar(*both.discordant(failures_poor=True))
    known = both.known
    reasons = why_undecided(low, high, p_holm, p_failures_poor, confidence)
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
        cases_needed=None,
        reasons=tuple(reasons),
    )


def why_undecided(low: float, high: float, p_holm: float, p_failures_poor: float, confidence: float) -> Sequence[str]:
    """Reasons for calling a difference undecided; none if it is one.

    >>> why_undecided(-0.05, 0.35, 0.01, 0.01, 0.95)
    ('its bounds over any rating of the failures include 0',)
    >>> why_undecided(0.1, 0.35, 0.125, 0.0625, 0.95)
    ('the test of good answers gives p 0.125 after Holm', 'with failures as poor it gives p 0.062')
    """
    reasons = []
    if low <= 0 <= high:
        reasons.append("its bounds over any rating of the failures include 0")
    if p_holm > 1 - confidence:
        reasons.append(f"the test of good answers gives p {p_holm:.3f} after Holm")
    if p_failures_poor > 1 - confidence:
        reasons.append(f"with failures as poor it gives p {p_failures_poor:.3f}")
    return tuple(reasons)

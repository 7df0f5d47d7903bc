"""What a comparison of two arms comes to, as a sentence."""

from stages.findings.notes import Verdict
from stages.lib.report.numbers import MINUS

UNDECIDED = "undecided"
LEAST_P = 0.001


def percent(part: int, whole: int) -> str:
    """A fraction in per cent, whole numbers without decimals.

    >>> percent(4, 16), percent(7, 16), percent(0, 0)
    ('25 %', '43.8 %', 'none')
    """
    return f"{100 * part / whole:.1f}".removesuffix(".0") + " %" if whole else "none"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign.

    >>> points(0.35), points(0.0), points(-0.05) == MINUS + "5"
    ('+35', '0', True)
    """
    text = f"{abs(100 * difference):.1f}".removesuffix(".0")
    sign = "" if text == "0" else "+" if difference > 0 else MINUS
    return f"{sign}{text}"


def p_value(p: float) -> str:
    """A p value with three decimals, or that it is below the least such.

    >>> p_value(0.625), p_value(0.00001)
    ('0.625', '< 0.001')
    """
    return f"{p:.3f}" if p >= LEAST_P else f"< {LEAST_P}"


def verdict(found: Verdict, first: str, second: str, better: str) -> str:
    """Sentence about two arms by one judge, the second one first.

    Args:
        found: The verdict.
        first: What the first arm is called.
        second: What the second arm is called.
        better: What the better one is called; unused where it is undecided.
    """
    (good_a, good_b), (rated_a, rated_b) = found.good, found.rated
    said = (
        f"{second} {percent(good_b, rated_b)} good ({good_b} of {rated_b}) against {first} "
        f"{percent(good_a, rated_a)} ({good_a} of {rated_a})"
    )
    both = found.good_both
    said += f"; on the {found.n_both} rated for both {both[1]} and {both[0]} are good, McNemar p {p_value(found.p)}"
    if found.p_holm != found.p:
        said += f", {p_value(found.p_holm)} after Holm"
    if found.low < found.high:
        said += "; any rating of the judge's failures leaves a difference of "
        said += f"{points(found.low)} to {points(found.high)} percentage points"
    else:
        said += f", a difference of {points(found.low)} percentage points"
    if found.reasons:
        needed = f" To find such a difference takes {found.cases_needed:,} cases." if found.cases_needed else ""
        return f"{said}: {UNDECIDED}, as {'; '.join(found.reasons)}.{needed}"
    return f"{said}: {better} is better."

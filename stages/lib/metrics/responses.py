"""Rates of responses that a localizer's parser could not read or that were cut, and how far attribution maps add up."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.measures import Estimate, Key, estimates
from stages.lib.metrics.ratios import ratio

COMPLETENESS = Key("completeness_error")
RATES = {Key("malformed_fraction"): "malformed", Key("cut_fraction"): "cut"}  # by what the parser made of a response


def measure(
    parsed: Sequence[str],
    images: Sequence[str],
    patients: Sequence[str],
    *,
    draws: int,
    seed: int,
    confidence: float,
) -> dict[Key, Estimate]:
    """Fraction of malformed and of cut responses.

    Args:
        parsed: What the parser made of each response, see `tables.RESPONSES`.
        images: Image of each response; several prompts and views give it several.
        patients: Patient of each response.
        draws: Resamples of patients.
        seed: Of the resamples.
        confidence: Of the intervals.

    Returns:
        Both rates over all responses; `n` counts the images. Undefined if there is no response.

    >>> found = measure(["ok", "cut"], ["a", "b"], ["p", "q"], draws=9, seed=0, confidence=0.9)
    >>> found[Key("cut_fraction")].value, found[Key("malformed_fraction")].value
    (0.5, 0.0)
    """
    is_such = {key: np.array([one == status for one in parsed], bool) for key, status in RATES.items()}

    def rates(weights: NDArray[Any]) -> dict[Key, Outcome]:
        return {
            key: attempt(ratio, float(weights @ such), float(weights.sum()), "there is no response")
            for key, such in is_such.items()
        }

    replicates = replicate(rates, np.array(patients, str), draws=draws, seed=seed)
    return estimates(
        rates(np.ones(len(parsed), np.int64)),
        replicates,
        {"n": len(set(images)), "n_patients": len(set(patients))},
        confidence=confidence,
        trials={key: (int(such.sum()), len(parsed)) for key, such in is_such.items()},
    )


def completeness(
    errors: Sequence[float | None],
    images: Sequence[str],
    patients: Sequence[str],
    *,
    draws: int,
    seed: int,
    confidence: float,
) -> dict[Key, Estimate]:
    """Median completeness error of a localizer's attribution maps; nothing if it makes no such map.

    Args:
        errors: Of each response, see `tables.RESPONSES`; None where there is no map.
        images: Image of each response.
        patients: Patient of each response.
        draws: Resamples of patients.
        seed: Of the resamples.
        confidence: Of the interval.

    >>> found = completeness([0.5, 0.1, 0.3], ["a", "b", "c"], ["p", "q", "q"], draws=9, seed=0, confidence=0.9)
    >>> found[COMPLETENESS].value, found[COMPLETENESS].n, found[COMPLETENESS].n_patients
    (0.3, 3, 2)
    """
    known = [row for row in zip(errors, images, patients, strict=True) if row[0] is not None]
    if not known:
        return {}
    values, names, people = (np.array(column) for column in zip(*known, strict=True))

    def median(weights: NDArray[Any]) -> dict[Key, Outcome]:
        return {COMPLETENESS: float(np.median(np.repeat(values, weights)))}

    facts = {"n": len(set(names.tolist())), "n_patients": len(set(people.tolist()))}
    replicates = replicate(median, people, draws=draws, seed=seed)
    return estimates(median(np.ones(len(values), np.int64)), replicates, facts, confidence=confidence)


def of_counts(*, responses: int, malformed: int, cut: int, images: int, confidence: float) -> dict[Key, Estimate]:
    """As `measure`, from counts alone: with Wilson's interval, and without one over patients.

    Args:
        responses: All responses.
        malformed: Of these, could not be read.
        cut: Of these, were cut.
        images: Images that they are about.
        confidence: Of the interval.

    >>> of_counts(responses=8, malformed=2, cut=0, images=8, confidence=0.95)[Key("malformed_fraction")].value
    0.25
    """
    counts = {"malformed": malformed, "cut": cut}
    found = {key: attempt(ratio, counts[status], responses, "there is no response") for key, status in RATES.items()}
    trials = {key: (counts[status], responses) for key, status in RATES.items()}
    return estimates(found, {}, {"n": images}, confidence=confidence, trials=trials)

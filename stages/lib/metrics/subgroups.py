"""Measures of a classifier on subgroups of images: by sex, age, view, source, and by the size of the nodules.

A subgroup is judged at the thresholds of the study. Its ROC area is tested against that of the other images of its
division, on resamples of all patients, since a patient may have images in both; the p values are corrected for their
number. Subgroups answer whether a finding holds everywhere, not which of them is best.

Source: Wang et al., New England Journal of Medicine 357: 2189, 2007: a subgroup is compared with the others by a test
of the difference, and the tests are corrected for their number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import tables
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import binary as c
from stages.lib.metrics import strata
from stages.lib.metrics.binary_suite import Scored, Settings, calls
from stages.lib.metrics.bootstrap import Outcome, attempt, resamples, two_sided_p
from stages.lib.metrics.comparison import holm
from stages.lib.metrics.measures import Estimate, Key, estimate, estimates
from stages.lib.metrics.strata import Division, Part

Floats = NDArray[np.float64]
Name = tuple[str, str]  # of a division, and of the subgroup in it

COLUMNS = {one.name: one.values for one in tables.MANIFEST.columns if one.name in ("sex", "view", "source")}
AREA, GAP, P, HOLM = Key("roc_auc"), Key("roc_auc_gap"), Key("roc_auc_gap_p"), Key("roc_auc_gap_p_holm")
RATES: Mapping[str, Callable[[c.Confusion[Any]], Any]] = {"sensitivity": c.sensitivity, "specificity": c.specificity}


def divide(
    images: pa.Table, largest_mm: Floats, *, age_edges_years: Sequence[float], size_edges_mm: Sequence[float]
) -> dict[str, Division]:
    """Ways to divide images into subgroups; an image of which it is not known is in none.

    Args:
        images: With label, and sex, age_years, view and source of the manifest.
        largest_mm: Diameter of the largest nodule of each image, shape (n,), mm; NaN if it is not known.
        age_edges_years: Ages between two subgroups, rising; none to leave this division out.
        size_edges_mm: Diameters between two subgroups, the same. A subgroup by size has the positive images of that
            size and all negative ones.
    """
    found = {name: _by_value(images[name].to_pylist(), values, name) for name, values in COLUMNS.items()}
    ages = images["age_years"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    found["age"] = strata.by_edges(ages, age_edges_years, "the manifest has no age")
    positive = images["label"].to_numpy() == 1
    by_size = strata.by_edges(largest_mm[positive], size_edges_mm, "the diameter of no nodule is known in mm")
    parts = []
    for part in by_size.parts:
        inside = ~positive
        inside[positive] = part.members
        parts.append(replace(part, members=inside))
    note = "positive images by their largest nodule, each against all negative images"
    strangers = _strangers(images["source"].to_pylist(), positive, ~np.isnan(largest_mm))
    found["size"] = replace(by_size, parts=tuple(parts), note=f"{note}; {strangers}" if strangers else note)
    return {name: found[name] for name in ("sex", "age", "view", "source", "size")}


def _by_value(values: Sequence[str | None], known: Sequence[str], name: str) -> Division:
    unknown = sum(value is None for value in values)
    present = [one for one in known if one in values]
    if len(present) < 2:
        nothing = f"every image with a known {name} is {present[0]}" if present else f"the manifest has no {name}"
        return Division((), unknown, nothing, None)
    told = np.array(values, object)
    return Division(tuple(Part(one, None, None, told == one) for one in present), unknown, None, None)


def _strangers(sources: Sequence[str], positive: NDArray[np.bool_], sized: NDArray[np.bool_]) -> str:
    """What to say if the sized positive images and the negative ones share no source."""
    told = np.array(sources, str)
    of_sized, of_negative = ({*told[sized & positive].tolist()}, {*told[~positive].tolist()})
    if not of_sized or not of_negative or of_sized & of_negative:
        return ""
    names = [", ".join(sorted(found)) for found in (of_sized, of_negative)]
    return f"across sources: sized nodules are of {names[0]}, negative images of {names[1]}"


@dataclass(frozen=True)
class Measured:
    """Measures of each subgroup, and the number of tests that the p values are corrected for."""

    groups: dict[Name, dict[Key, Estimate]]
    n_tests: int


def measure(
    images: Scored, divisions: Mapping[str, Division], settings: Settings, redrawn: Mapping[str, Floats], least: int
) -> Measured:
    """Measures of a classifier on each subgroup.

    Args:
        images: All images of the evaluation set.
        divisions: As `divide` gives them, of these images.
        settings: How.
        redrawn: Thresholds chosen anew on resamples of the validation patients, see `binary_suite.redraw`.
        least: Images of a class below which there is no measure that needs the class.

    Returns:
        For each subgroup the ROC area, sensitivity and specificity at each threshold; roc_auc_gap, its area minus that
        of the other images of the division, the p of this difference, and the p after Holm.
    """
    masks: dict[Name, NDArray[np.bool_]] = {}
    rests: dict[Name, NDArray[np.bool_]] = {}
    for division, found in divisions.items():
        for part in found.parts:
            name = division, part.key
            masks[name] = part.members
            others = [other.members for other in found.parts if other is not part]
            rests[name] = np.logical_or.reduce(others) if others else np.zeros_like(part.members)
    areas, rates = _resampled(images, masks, rests, settings, redrawn)
    made = {
        name: _group(images, inside, rests[name], areas, rates[name], settings, least) for name, inside in masks.items()
    }
    return _corrected(made, divisions)


@dataclass(frozen=True)
class Rates:
    """Sensitivity and specificity at each threshold on each resample, shape (draws,).

    Attributes:
        draws: At a chosen threshold each resample has its own.
        known: At a chosen threshold, taken as known.
    """

    draws: dict[Key, Floats]
    known: dict[Key, Floats]


def _resampled(
    images: Scored,
    masks: Mapping[Name, NDArray[np.bool_]],
    rests: Mapping[Name, NDArray[np.bool_]],
    settings: Settings,
    redrawn: Mapping[str, Floats],
) -> tuple[dict[bytes, Floats], dict[Name, Rates]]:
    """ROC areas by the bytes of the mask, and rates by subgroup, on the same resamples of all patients."""
    at = calls(images)
    chosen = [name for name in at if name != "half" and name in redrawn]
    subsets = {mask.tobytes(): mask for mask in (*masks.values(), *rests.values()) if mask.any()}
    ranked = {key: c.Ranking(images.labels[mask], images.evidence[mask]) for key, mask in subsets.items()}
    judged = {
        name: c.Ranking(images.labels[mask], images.on(chosen[0])[mask])
        for name, mask in masks.items()
        if chosen and mask.any()
    }
    areas: dict[bytes, list[Floats]] = {key: [] for key in subsets}
    fixed: dict[tuple[Name, str], list[c.Confusion[Floats]]] = {}
    own: dict[tuple[Name, str], list[c.Confusion[Floats]]] = {}
    drawn = 0
    for counts in resamples(images.patients, draws=settings.draws, seed=settings.seed):
        for key, mask in subsets.items():
            areas[key].append(c.areas(*ranked[key].cumulate(counts[:, mask])))
        for name, mask in masks.items():
            weights = counts[:, mask].astype(np.float64)
            for threshold, one in at.items():
                confusion = c.confusions(images.labels[mask], one.positive[mask], weights)
                fixed.setdefault((name, threshold), []).append(confusion)
            if name in judged:
                reached = judged[name].cumulate(weights)
                for threshold in chosen:
                    values = redrawn[threshold][drawn : drawn + len(counts)]
                    own.setdefault((name, threshold), []).append(judged[name].confusions(values, *reached))
        drawn += len(counts)
    rates = {name: Rates({}, {}) for name in masks}
    for found, nested in ((fixed, False), (own, True)):
        for (name, threshold), blocks in found.items():
            joined = c.joined(blocks)
            place = rates[name].draws if nested or threshold == "half" else rates[name].known
            place |= {Key(metric, threshold): function(joined) for metric, function in RATES.items()}
    return {key: np.concatenate(blocks) for key, blocks in areas.items() if blocks}, rates


def _group(
    images: Scored,
    inside: NDArray[np.bool_],
    rest: NDArray[np.bool_],
    areas: Mapping[bytes, Floats],
    rates: Rates,
    settings: Settings,
    least: int,
) -> dict[Key, Estimate]:
    """Measures of one subgroup, without the correction of p."""
    draws = dict(rates.draws)
    n, n_positive = int(inside.sum()), int(images.labels[inside].sum())
    facts = {"n": n, "n_positive": n_positive, "n_patients": len(np.unique(images.patients[inside]))}
    few, few_others = (_too_few(images.labels[mask], least) for mask in (inside, rest))
    outcomes: dict[Key, Outcome] = {}
    if few:
        outcomes[AREA] = outcomes[GAP] = few
    else:
        outcomes[AREA], draws[AREA] = _area(images, inside), areas[inside.tobytes()]
        outcomes[GAP] = UndefinedMetricError(f"the others are {few_others}")
        if not few_others:
            outcomes[GAP] = _area(images, inside) - _area(images, rest)
            draws[GAP] = draws[AREA] - areas[rest.tobytes()]
    at = calls(images)
    trials = {}
    for name, called in at.items():
        confusion = c.confusion(images.labels[inside], called.positive[inside])
        for metric, function in RATES.items():
            key, scarce = Key(metric, name), n_positive if metric == "sensitivity" else n - n_positive
            if few and scarce < least:
                outcomes[key] = few
            else:
                outcomes[key], trials[key] = attempt(function, confusion), c.trials(confusion)[metric]
    made = estimates(outcomes, draws, facts, confidence=settings.confidence, trials=trials, known=rates.known)
    for key, one in made.items():
        if key.at:
            made[key] = replace(one, threshold=at[key.at].threshold)
    gap = outcomes[GAP]
    p = gap if isinstance(gap, UndefinedMetricError) else attempt(two_sided_p, draws[GAP])
    return {**made, P: estimate(p, **facts)}


def _area(images: Scored, inside: NDArray[np.bool_]) -> float:
    return c.roc_auc(images.labels[inside], images.evidence[inside])


def _too_few(labels: NDArray[np.int64], least: int) -> UndefinedMetricError | None:
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    if min(n_positive, n_negative) >= least:
        return None
    return UndefinedMetricError(f"too few: {n_positive} with and {n_negative} without a nodule, wanted {least} of each")


def _corrected(made: dict[Name, dict[Key, Estimate]], divisions: Mapping[str, Division]) -> Measured:
    """The same with Holm's p; two subgroups that are each other's rest are one test."""
    tests: dict[Name, list[Name]] = {}
    for name, found in made.items():
        if found[P].value is not None:
            first = name[0], divisions[name[0]].parts[0].key
            both = len(divisions[name[0]].parts) == 2
            tests.setdefault(first if both else name, []).append(name)
    values = [made[members[0]][P].value for members in tests.values()]
    adjusted = holm([value for value in values if value is not None])
    for members, p in zip(tests.values(), adjusted, strict=True):
        for name in members:
            made[name][HOLM] = replace(made[name][P], value=p)
    for found in made.values():
        found.setdefault(HOLM, found[P])
    return Measured(made, len(tests))

"""Measures of each arm on all cases, on parts of the sample, and on answers that do not repeat themselves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.findings.measuring.settings import MeasureParams
from stages.findings.measuring.study import Asked, Item, Row
from stages.lib.metrics.measures import Estimate, Key
from stages.lib.metrics.parts import Floats, Measured, Part, fraction, mean, measure, refused, within

TEST = "test"
WITHOUT_LOOPING = f"{TEST}/without_looping"
LOOPING = "looping"
FATES = {
    "truncated_fraction": "truncated",
    "looping_fraction": LOOPING,
    "empty_fraction": "empty",
    "refused_fraction": "refused",
    "failed_fraction": "error",
}
DIVISIONS: Mapping[str, Callable[[Item], Sequence[str]]] = {
    "region": lambda item: [item.case["region"]],
    "modality": lambda item: [item.case["modality"]],
    "stratum": lambda item: [f"{item.case['region']}_{item.case['modality']}"],
    "plane": lambda item: [plane.replace(" ", "_").replace(".", "_").replace("/", "_") for plane in item.planes],
    "images": lambda item: ["1" if item.n_images == 1 else "2_or_more"],
    "gold_scope": lambda item: [item.case["gold_scope"]],
}  # an item with images of several planes is in each


def of_answers(asked: Asked) -> dict[Key, Part]:
    """What became of the answers of an arm, and how long they are."""
    statuses = asked.statuses
    text = np.array([bool(answer["text"]) for answer in asked.answers], bool)
    made = {Key("answered_fraction"): fraction(text)}
    made |= {Key(name): fraction(statuses == status) for name, status in FATES.items()}
    made[Key("words")] = mean([len((answer["text"] or "").split()) for answer in asked.answers])
    for name in ("prompt_tokens", "completion_tokens"):
        made[Key(name)] = _known([answer[name] for answer in asked.answers], "the server counted no tokens")
    made[Key("sample_agreement")] = _known([answer["agreement"] for answer in asked.answers], "the arm has one sample")
    return made


def _known(values: Sequence[float | None], why: str) -> Part:
    return mean([value or 0.0 for value in values], [value is not None for value in values], why)


def subsets(asked: Asked) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name and members of each part of the items of an arm, shape (n,); only those that have one."""
    for division, groups in DIVISIONS.items():
        found = [groups(item) for item in asked.items]
        for group in sorted({name for names in found for name in names}):
            yield f"{TEST}/{division}/{group}", np.array([group in names for names in found], bool)


def by_subset(
    asked: Asked, parts: Mapping[Key, Part], weights: Floats, params: MeasureParams
) -> Iterator[tuple[str, Measured]]:
    """Measures of an arm on all of its items, without answers that repeat themselves, and on each part.

    Args:
        asked: The arm.
        parts: Its measures.
        weights: How often each item stands in each resample of cases, shape (draws, n).
        params: For the least cases of a part, and the confidence.
    """
    cases = asked.case_ids
    everyone = np.ones(len(cases), bool)
    calm = asked.statuses != LOOPING
    for name, members in ((TEST, everyone), (WITHOUT_LOOPING, calm), *subsets(asked)):
        facts = counts(cases[members])
        if name in (TEST, WITHOUT_LOOPING) or facts["n_patients"] >= params.min_stratum_cases:
            yield name, measure(within(parts, members), weights[:, members], facts, params.confidence)
        else:
            reason = f"too few: {facts['n_patients']} cases, wanted {params.min_stratum_cases}"
            made: dict[Key, Estimate] = refused(list(parts), reason, facts)
            yield name, Measured(made, {})


def counts(cases: NDArray[Any]) -> dict[str, int]:
    """What stands behind measures on some items."""
    return {"n": len(cases), "n_patients": len(set(cases.tolist()))}


def images_of(rows: Sequence[Row]) -> int:
    """Images of some cases of the sample that are sent."""
    return sum(len(row["numbers"]) for row in rows)

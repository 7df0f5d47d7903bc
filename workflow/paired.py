"""Two experiments on the same images or cases: of each, whether either is right, and McNemar's exact test."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from stages.lib.metrics.comparison import mcnemar

Key = tuple[str, str, str, str]


def paired(a: pa.Table | None, b: pa.Table | None) -> list[dict[str, Any]]:
    """Outcomes of the systems that both experiments have, set against each other.

    Args:
        a: Table `tables.OUTCOMES` of the first experiment; None without one.
        b: That of the second.

    Returns:
        One entry per chapter, task, system and `at`: name, n (images that both have, on the test split), a and b (right
        ones of each), only_a, only_b, p.
    """
    if a is None or b is None:
        return []
    first, second = (dict(_outcomes(table)) for table in (a, b))
    found = []
    for key, ours in first.items():
        theirs = second.get(key, {})
        both = [(ours[name], theirs[name]) for name in ours if name in theirs]
        if not both:
            continue
        only_a, only_b = (sum(one and not other for one, other in pairs) for pairs in (both, [p[::-1] for p in both]))
        right = {"a": sum(one for one, _ in both), "b": sum(other for _, other in both)}
        only = {"only_a": only_a, "only_b": only_b, "p": mcnemar(only_a, only_b)}
        found.append({"name": ".".join(key), "n": len(both), **right, **only})
    return found


def _outcomes(table: pa.Table) -> Iterator[tuple[Key, Mapping[str, bool]]]:
    """Whether each image of the test split is right, by chapter, task, system and `at`."""
    found: dict[Key, dict[str, bool]] = {}
    for row in table.to_pylist():
        if row["split"] == "test":
            key = (row["chapter"], row["task"], row["system"], row["at"])
            found.setdefault(key, {})[row["image_id"]] = row["correct"]
    yield from found.items()


def lines(found: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of a table for a terminal: those systems of which an image is right in one experiment alone.

    >>> one = {"name": "x", "n": 9, "a": 4, "b": 6, "only_a": 0, "only_b": 2, "p": 0.5}
    >>> lines([one, {**one, "only_b": 0}])
    [['x', '9', '4', '6', '0', '2', '0.500']]
    """
    return [
        [one["name"], *(str(one[key]) for key in ("n", "a", "b", "only_a", "only_b")), f"{one['p']:.3f}"]
        for one in found
        if one["only_a"] or one["only_b"]
    ]

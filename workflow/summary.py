"""Print the path of the report, and the headline metrics with their intervals."""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

CLASSIFICATION = (
    ("ROC AUC, zero-shot", ("zero_shot", "test", "roc_auc")),
    ("ROC AUC, tuned", ("tuned", "test", "roc_auc")),
    ("average precision, zero-shot", ("zero_shot", "test", "pr_auc")),
    ("average precision, tuned", ("tuned", "test", "pr_auc")),
)
LOCALIZATION = (
    ("fraction of nodules found", ("tolerant", "recall")),
    ("fraction found at random places", ("tolerant", "random_placement_recall")),
    ("false points per negative image", ("negatives", "false_points_per_image")),
)


def lines(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return name and entry of each number shown: those of test images.

    >>> lines({"classification": {}, "localization": {"medgemma": {"test": {}}}})[-1]
    ('medgemma: false points per negative image', {})
    """
    shown = [(words, _entry(document["classification"], keys)) for words, keys in CLASSIFICATION]
    for localizer, views in document["localization"].items():
        shown += [(f"{localizer}: {words}", _entry(views["test"], keys)) for words, keys in LOCALIZATION]
    return shown


def _entry(document: Mapping[str, Any], keys: Sequence[str]) -> Mapping[str, Any]:
    return reduce(lambda part, key: part.get(key, {}), keys, document)


def main() -> None:
    """Print the summary of results/."""
    path = Path("results/metrics.json")
    if not path.exists():
        sys.exit(f"{path}: no such file; run `snakemake --cores 2` first")
    document = json.loads(path.read_text())
    print()
    shown = lines(document)
    width = max(len(words) for words, _ in shown) + 2
    for words, entry in shown:
        print(f"  {words:{width}}{written(entry)}")
    print(f"\n  report  {Path('results/report.html').resolve()}\n")


def written(entry: Mapping[str, Any]) -> str:
    """Return a number with its interval and n, or the reason why there is none.

    >>> written({"value": 0.912, "low": 0.85, "high": 0.95, "n": 142})
    '0.912  [0.850, 0.950]  n = 142'
    >>> written({"value": 0.5, "low": 0.25, "high": 0.75, "n": 8, "n_points": 12})
    '0.500  [0.250, 0.750]  n = 8 with 12 nodules'
    >>> written({"value": None, "reason": "no image with a nodule"})
    'undefined: no image with a nodule'
    """
    if entry.get("value") is None:
        return f"undefined: {entry.get('reason', 'not measured')}"
    interval = f"  [{entry['low']:.3f}, {entry['high']:.3f}]" if entry.get("low") is not None else ""
    count = f"  n = {entry['n']}" if "n" in entry else ""
    count += f" with {entry['n_points']} nodules" if entry.get("n_points") else ""
    return f"{entry['value']:.3f}{interval}{count}"


if __name__ == "__main__":
    main()

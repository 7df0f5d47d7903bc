"""Print the path of the report, and the headline metrics with their intervals: of the study, or of a chapter."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.metrics.measures import HEADLINE_SUBSETS, Key

SHOWN = {  # of each system on the test split
    Key("roc_auc"): "ROC AUC",
    Key("pr_auc"): "average precision",
    Key("recall", "tolerant"): "fraction of nodules found",
    Key("random_placement_recall", "tolerant"): "fraction found at random places of the lungs",
    Key("precision", "tolerant"): "fraction of points on a nodule, negative images included",
    Key("false_points_per_image"): "false points per negative image",
    Key("good_fraction"): "answers rated good",
    Key("key_finding_rate"): "key findings found",
    Key("finding_f1"): "F1 of the findings",
    Key("recall_at_k_mean", "10"): "R@10, mean of both directions",
    Key("chance_at_k_mean", "10"): "R@10 by chance",
    Key("rodeo_localization"): "RoDeO localization of boxes, of 100",
    Key("pointing_accuracy"): "centre of the box in a true box",
    Key("recall_at_k_mean", "10"): "R@10, mean of both directions",
    Key("chance_at_k_mean", "10"): "R@10 by chance",
    Key("f1", "iou_50"): "F1 of the boxes at IoU 0.5",
    Key("rodeo_localization"): "RoDeO localization of the boxes",
}


POINTS = {"lofi": "boxes"}  # what `n_points` counts in a chapter; nodules in the others


def lines(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and entry of each number shown: those of test images.

    Args:
        document: metrics.json.

    >>> area = {"value": 0.8, "n": 20}
    >>> lines({"nodules": {"classification": {"tuned": {"test": {"roc_auc": area}}}, "warnings": []}})
    [('tuned: ROC AUC', {'value': 0.8, 'n': 20})]
    """
    shown = []
    for chapter in document.values():
        for task in chapter.values():
            for system, subsets in task.items() if isinstance(task, dict) else ():
                inside = [subsets.get(subset) for subset in HEADLINE_SUBSETS] if isinstance(subsets, dict) else []
                entries = {key: entry for found in inside if isinstance(found, dict) for key, entry in found.items()}
                shown += [
                    (f"{system}: {text}", entries[key.text]) for key, text in SHOWN.items() if key.text in entries
                ]
    return shown


def main() -> None:
    """Print the summary of results/."""
    folder = Path("results", *sys.argv[1:2])  # of the study, or of a chapter that is named
    path = folder / "metrics.json"
    if not path.exists():
        sys.exit(f"{path}: no such file; run `{' '.join(['snakemake', '--cores', '2', *sys.argv[1:2]])}` first")
    document = json.loads(path.read_text())
    print()
    shown = [
        (words, written(entry, POINTS.get(chapter, "nodules")))
        for chapter, tasks in document.items()
        for words, entry in lines({chapter: tasks})
    ]
    width = max(len(words) for words, _ in shown) + 2
    for words, text in shown:
        print(f"  {words:{width}}{text}")
    print(f"\n  report  {(folder / 'report.html').resolve()}\n")


def written(entry: Mapping[str, Any], points: str = "nodules") -> str:
    """A number with its interval and n, or the reason why there is none.

    Args:
        entry: Entry of metrics.json.
        points: What its `n_points` counts.

    >>> written({"value": 0.912, "low": 0.85, "high": 0.95, "n": 142})
    '0.912  [0.850, 0.950]  n = 142'
    >>> written({"value": 0.5, "low": 0.25, "high": 0.75, "n": 8, "n_points": 12})
    '0.500  [0.250, 0.750]  n = 8 with 12 nodules'
    >>> written({"value": 1.0, "low": 1.0, "high": 1.0, "wilson_low": 0.722, "wilson_high": 1.0, "n": 10})
    '1.000  [1.000, 1.000], Wilson [0.722, 1.000]  n = 10'
    >>> written({"value": None, "reason": "no image with a nodule"})
    'undefined: no image with a nodule'
    """
    if entry.get("value") is None:
        return f"undefined: {entry.get('reason', 'not measured')}"
    interval = f"  [{entry['low']:.3f}, {entry['high']:.3f}]" if entry.get("low") is not None else ""
    if interval and entry["low"] == entry["high"] and "wilson_low" in entry:
        interval += f", Wilson [{entry['wilson_low']:.3f}, {entry['wilson_high']:.3f}]"
    count = f"  n = {entry['n']}" if "n" in entry else ""
    count += f" with {entry['n_points']} {points}" if entry.get("n_points") else ""
    return f"{entry['value']:.3f}{interval}{count}"


if __name__ == "__main__":
    main()

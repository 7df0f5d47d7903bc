"""Say where the report is, and its key numbers with their intervals."""

import json
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

LINES = (
    ("ROC AUC, zero-shot", ("classification", "zero_shot", "test", "roc_auc")),
    ("ROC AUC, tuned", ("classification", "tuned", "test", "roc_auc")),
    ("average precision, zero-shot", ("classification", "zero_shot", "test", "pr_auc")),
    ("average precision, tuned", ("classification", "tuned", "test", "pr_auc")),
    ("nodules found, tolerant", ("localization", "medgemma", "tolerant", "recall")),
    ("nodules found by chance", ("localization", "medgemma", "tolerant", "chance_recall")),
    ("false points per healthy film", ("localization", "medgemma", "healthy", "false_points_per_film")),
)


def main() -> None:
    """Print the summary of results/."""
    path = Path("results/metrics.json")
    if not path.exists():
        sys.exit(f"{path}: no such file; run `snakemake --cores 2` first")
    document = json.loads(path.read_text())
    print()
    for words, keys in LINES:
        entry = reduce(lambda part, key: part.get(key, {}), keys, document)
        print(f"  {words:32}{written(entry)}")
    print(f"\n  report  {Path('results/report.html').resolve()}\n")


def written(entry: Mapping[str, Any]) -> str:
    """Return a number with its interval and n, or the reason why there is none.

    >>> written({"value": 0.912, "low": 0.85, "high": 0.95, "n": 142})
    '0.912  [0.850, 0.950]  n = 142'
    >>> written({"value": None, "reason": "no film with a nodule"})
    'undefined: no film with a nodule'
    """
    if entry.get("value") is None:
        return f"undefined: {entry.get('reason', 'not measured')}"
    interval = f"  [{entry['low']:.3f}, {entry['high']:.3f}]" if entry.get("low") is not None else ""
    count = f"  n = {entry['n']}" if "n" in entry else ""
    return f"{entry['value']:.3f}{interval}{count}"


if __name__ == "__main__":
    main()

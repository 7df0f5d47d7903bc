"""Record a run of the demo as the source of README's figures.

    python -m workflow.reference [--metrics results/metrics.json] [--seconds 114]

Writes workflow/reference.json, the headline metrics with the processor that they were computed on, and the paragraph of
README.md that shows them. A test holds the two together.
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.core import files
from workflow import summary

PATH, README = Path("workflow/reference.json"), Path("README.md")
BEGINS, ENDS = "<!-- figures of workflow/reference.json -->\n", "<!-- end of the figures -->\n"
FACTS = ("n", "n_patients", "n_positive", "n_negative", "n_points")
WILSON = ("wilson_low", "wilson_high")
INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Name of this machine's processor."""
    lines = INFO.read_text().splitlines() if INFO.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def record(metrics: Mapping[str, Any], *, processor: str, cores: int, seconds: int | None) -> dict[str, Any]:
    """Document of a reference run.

    Args:
        metrics: metrics.json of the run.
        processor: Name of the processor.
        cores: Number of its cores that the machine shows.
        seconds: How long the run took; None if that is not known.

    >>> auc = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 20, "skipped_draws": 3}
    >>> metrics = {"nodules": {"classification": {"tuned": {"test": {"roc_auc": auc}}}}}
    >>> record(metrics, processor="a", cores=2, seconds=None)["metrics"]["tuned: ROC AUC"]
    {'value': 0.8, 'low': 0.7, 'high': 0.9, 'n': 20}
    """
    shown = {
        words: {name: entry[name] for name in ("value", "low", "high", *WILSON, *FACTS) if name in entry}
        for words, entry in summary.lines(metrics)
    }
    run = {"command": "make demo", "processor": processor, "cores": cores, "seconds": seconds}
    return {**run, "metrics": {words: entry for words, entry in shown.items() if entry}}


def paragraph(document: Mapping[str, Any]) -> str:
    """What README says of a reference run, as Markdown.

    >>> metrics = {"tuned: ROC AUC": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 20}}
    >>> run = {"command": "make demo", "processor": "a", "cores": 2, "seconds": 90, "metrics": metrics}
    >>> print(paragraph(run).splitlines()[-1])
    | tuned: ROC AUC | 0.800  [0.700, 0.900]  n = 20 |
    """
    took = f", in {document['seconds']} s" if document["seconds"] else ""
    rows = [f"| {words} | {summary.written(entry)} |" for words, entry in document["metrics"].items()]
    head = f"`{document['command']}`, {document['processor']}, {document['cores']} cores{took}"
    return "\n".join([f"| {head} | test images, interval over patients |", "|---|---|", *rows]) + "\n"


def main() -> None:
    """Write the record, and README's paragraph from it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=Path, default=Path("results/metrics.json"), help="of the run")
    parser.add_argument("--seconds", type=int, help="how long the run took")
    args = parser.parse_args()
    metrics = json.loads(args.metrics.read_text())
    document = record(metrics, processor=processor(), cores=os.cpu_count() or 1, seconds=args.seconds)
    files.write_json(PATH, document)
    before, _, rest = README.read_text().partition(BEGINS)
    with files.replacing(README) as beside:
        beside.write_text(before + BEGINS + paragraph(document) + ENDS + rest.partition(ENDS)[2])


if __name__ == "__main__":
    main()

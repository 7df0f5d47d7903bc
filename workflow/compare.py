"""Compare two experiments: the parameters that differ, the metrics with their intervals, and the difference.

Where both have the same images or cases, each is set against itself, and McNemar's exact test says whether they differ.

    python -m workflow.compare A [B] [--all] [--json]

A and B are names of DVC experiments, or Git revisions (a branch, a tag, a commit); B is the working folder if left out.
"""

import argparse
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from stages.lib.core import cli, params, tables
from stages.lib.core.errors import ExperimentError
from stages.lib.metrics import measures
from workflow.chapters import OWN_PAGE, outcomes
from workflow.paired import lines as paired_lines
from workflow.paired import paired

WORKSPACE = "workspace"
PARAMS, METRICS = "params.yaml", "results/metrics.json"
SYSTEM_PARTS = 3  # chapter, task and system, before the subset and the metric of a name in metrics.json
NOTE = (
    "* The two intervals do not overlap. Overlap is no test: where two runs see the same images, a difference can be "
    "certain although their intervals overlap."
)


def compare(a: Mapping[str, Any], b: Mapping[str, Any], *, every: bool = False) -> dict[str, Any]:
    """What differs between two experiments.

    Args:
        a: "params" and "metrics" of the first, as its files have them.
        b: The same of the second.
        every: Whether every metric is wanted, not the headline metrics alone.

    Returns:
        params, one entry per parameter that differs: key, a, b (None where it is missing). metrics, one entry per
        metric of either: metric, a and b (its value, low, high, n, or None where it is missing), difference (b - a,
        None if either has no value), apart (whether the intervals do not overlap, None if either has none). paired, as
        `paired.paired` gives it.
    """
    left, right = dict(_flat(a["params"])), dict(_flat(b["params"]))
    keys = [key for key in {**left, **right} if key not in left or key not in right or left[key] != right[key]]
    ours, theirs = dict(_leaves(a["metrics"])), dict(_leaves(b["metrics"]))
    names = {**ours, **theirs}
    wanted = list(names) if every else headline(names)
    return {
        "params": [{"key": key, "a": left.get(key), "b": right.get(key)} for key in keys],
        "metrics": [{"metric": name, **_versus(ours.get(name), theirs.get(name))} for name in wanted],
        "paired": paired(a.get("outcomes"), b.get("outcomes")),
    }


def headline(names: Iterable[str]) -> list[str]:
    """Those of dotted names of metrics that are headline metrics of one system on the test split, metric by metric.

    >>> headline(["a.classification.b.test.brier", "a.localization.c.test.cpm", "a.classification.b.test.roc_auc"])
    ['a.classification.b.test.roc_auc']
    """
    places = {text: place for place, text in enumerate(measures.headline_keys())}
    found = []
    for number, name in enumerate(names):
        *system, subset, key = name.split(".")
        if len(system) == SYSTEM_PARTS and subset in measures.HEADLINE_SUBSETS and key in places:
            found.append((places[key], number, name))
    return [name for _, _, name in sorted(found)]


def load(revision: str, root: Path = Path()) -> dict[str, Any]:
    """ "params", "metrics" and "outcomes" of an experiment, a Git revision, or the working folder.

    Raises:
        ExperimentError: If there is no such revision, it has no metrics, or they are not on this machine.
    """
    params_text, metrics_text = _text(revision, PARAMS, root), _metrics(revision, root)
    try:
        found = {"params": yaml.safe_load(params_text) or {}, "metrics": json.loads(metrics_text)}
        return {**found, "outcomes": _outcomes(revision, root)}
    except (yaml.YAMLError, ValueError) as error:
        raise ExperimentError(f"{revision}: {PARAMS} or {METRICS} cannot be read: {error}") from error


def _metrics(revision: str, root: Path) -> str:
    """Text of the study's metrics, or of those of the first chapter that has a page of its own."""
    try:
        return _text(revision, METRICS, root)
    except ExperimentError as error:
        for name in OWN_PAGE:
            try:
                return _text(revision, f"results/{name}/metrics.json", root)
            except ExperimentError:
                continue
        raise error


def _outcomes(revision: str, root: Path) -> pa.Table | None:
    """Outcomes of all chapters that have them; None if none has."""
    found = []
    for name in outcomes():
        content = _bytes(revision, name, root)
        if content is not None:
            found.append(tables.check(pq.read_table(pa.BufferReader(content)), tables.OUTCOMES))
    return pa.concat_tables(found) if found else None


def _bytes(revision: str, name: str, root: Path) -> bytes | None:
    """Content of a file of an experiment; None if it has none."""
    if revision == WORKSPACE:
        return (root / name).read_bytes() if (root / name).is_file() else None
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        content: bytes = dvc.api.read(name, repo=str(root), rev=revision, mode="rb")
    except (DvcException, OSError):
        return None
    return content


def _text(revision: str, name: str, root: Path) -> str:
    if revision == WORKSPACE:
        try:
            return (root / name).read_text()
        except FileNotFoundError as error:
            raise ExperimentError(f"{revision}: there is no {name}; run 'dvc repro' or 'snakemake' first") from error
    import dvc.api
    from dvc.exceptions import DvcException, FileMissingError, PathMissingError
    from dvc.scm import RevError

    try:
        return str(dvc.api.read(name, repo=str(root), rev=revision))
    except RevError as error:
        raise ExperimentError(params.unknown(revision, [WORKSPACE, *_experiments(root)])) from error
    except (FileMissingError, FileNotFoundError, PathMissingError) as error:
        raise ExperimentError(
            f"{revision}: {name} cannot be read: the run did not end, or its files are in the cache of "
            "another machine ('dvc push' there and 'dvc pull' here)"
        ) from error
    except DvcException as error:
        raise ExperimentError(f"{revision}: {error}") from error


def _experiments(root: Path) -> list[str]:
    """Names of the experiments that DVC keeps as Git references."""
    command = ["git", "-C", str(root), "for-each-ref", "--format=%(refname)", "refs/exps"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    parts = [name.split("/") for name in listed]
    return sorted(part[-1] for part in parts if len(part) == 5)


def _flat(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, document


def _leaves(document: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dotted name and content of each metric: each mapping that has a "value"."""
    if isinstance(document, Mapping):
        if "value" in document:
            yield prefix, {key: document.get(key) for key in ("value", "low", "high", "n")}
            return
        for key, value in document.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def _versus(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any]:
    first, second = a or {}, b or {}
    values = [first.get("value"), second.get("value")]
    bounds = [one.get(end) for one in (first, second) for end in ("low", "high")]
    return {
        "a": a,
        "b": b,
        "difference": None if None in values else second["value"] - first["value"],
        "apart": None if None in bounds else second["low"] > first["high"] or first["low"] > second["high"],
    }


def show(found: Mapping[str, Any], a: str, b: str) -> str:
    """`found`, as `compare` gives it, as text for a terminal."""
    lines = ["Parameters that differ" if found["params"] else "The parameters are the same."]
    if found["params"]:
        rows = [[entry["key"], *(_word(entry[side]) for side in "ab")] for entry in found["params"]]
        lines += _columns([["", a, b], *rows], right=False)
    metrics = found["metrics"]
    lines += ["", "Metrics, value [interval]" if metrics else "Neither has one of these metrics; try --all."]
    if metrics:
        rows = [
            [
                entry["metric"],
                *(_figure(entry[side]) for side in "ab"),
                _signed(entry["difference"]) + (" *" if entry["apart"] else "  "),
            ]
            for entry in metrics
        ]
        lines += _columns([["", a, b, "difference  "], *rows], right=True)
        lines += ["", NOTE]
    rows = paired_lines(found["paired"])
    if rows:
        lines += ["", "The same images or cases, right in one experiment alone (McNemar's exact p)"]
        lines += _columns([["", "n", a, b, f"{a} alone", f"{b} alone", "p"], *rows], right=True)
    same = len(found["paired"]) - len(rows)
    if same:
        lines += ["", f"{same} systems are right on the same images or cases in both."]
    uneven = [e["metric"] for e in metrics if e["a"] and e["b"] and e["a"]["n"] != e["b"]["n"]]
    if uneven:
        lines += ["", f"Not the same images: n differs in {len(uneven)} of these metrics, the first {uneven[0]}."]
    return "\n".join(line.rstrip() for line in lines)


def _columns(rows: Sequence[Sequence[str]], right: bool) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(f"{cell:{'>' if right and column else '<'}{widths[column]}}" for column, cell in enumerate(row))
        for row in rows
    ]


def _word(value: Any) -> str:
    return "-" if value is None else json.dumps(value) if isinstance(value, list) else str(value)


def _figure(leaf: Mapping[str, Any] | None) -> str:
    if leaf is None:
        return "-"
    if leaf["value"] is None:
        return "undefined"
    if leaf["low"] is None or leaf["high"] is None:
        return _number(leaf["value"])
    return f"{_number(leaf['value'])} [{_number(leaf['low'])}, {_number(leaf['high'])}]"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else ("+" if value >= 0 else "") + _number(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Read two experiments and print how they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", help="experiment or Git revision")
    parser.add_argument("b", nargs="?", default=WORKSPACE, help="the same; the working folder if left out")
    parser.add_argument("--all", action="store_true", help="every metric, not only the headline ones")
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    found = compare(load(args.a), load(args.b), every=args.all)
    print(json.dumps({"a": args.a, "b": args.b, **found}, indent=2) if args.json else show(found, args.a, args.b))


if __name__ == "__main__":
    cli.run(main)

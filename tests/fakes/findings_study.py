"""The chapter findings small enough for a test: drawn cases of two regions, and a tiny model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import checkout as checkouts

from stages.lib.core import case_tables, tables
from stages.lib.core.tables import Schema

SHORT: Mapping[str, Any] = {"max_tokens": 24, "batch_size": 2}
SMALL_FINDINGS: Mapping[str, Mapping[str, Any] | None] = {
    "study": {"shards": 1, "chapters": ["findings"]},
    "findings.simulate": {"cases_per_stratum": 5},
    "findings.sample": {"regions": ["thorax", "abdomen"], "per_stratum": 2, "examples": 1},
    "findings.arms.all_images": SHORT,
    "findings.measure": {"draws": 50, "comparisons": [["all_images", "nothing_abnormal"]], "min_stratum_cases": 2},
    "findings.section": {"max_cases": 4, "image_px": 112},
    **{f"findings.arms.{name}": None for name in ("first_image", "reworded", "three_samples", "most_frequent")},
    **{f"findings.retrievers.{name}": None for name in ("alike", "histories", "shuffled")},
}
ARMS = ("all_images", "nothing_abnormal")
MODELS = ("all_images",)
CASES = 8
TABLES: Mapping[str, Schema] = {
    "cases": case_tables.CASES,
    "case_images": case_tables.CASE_IMAGES,
    "sample": case_tables.SAMPLE,
    **{f"answer/{arm}": case_tables.ANSWERS for arm in ARMS},
    "judge/rules": case_tables.JUDGEMENTS,
    "measure/outcomes": tables.OUTCOMES,
    "measure/findings": case_tables.FINDINGS,
    "measure/measures": tables.MEASURES,
}


def snakemake(folder: Path, *arguments: str, fails: bool = False, **environment: str) -> str:
    """What Snakemake prints when it runs the chapter, two models at a time."""
    targets = arguments or ("findings",)
    options = ("--cores", "2", "--resources", "gpu=2", "--rerun-incomplete", "--nocolor", "--quiet", "host")
    return checkouts.run(folder, "snakemake", *options, "--", *targets, fails=fails, **environment)


def ledger(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Lines of the ledger of each arm and judge of a study."""
    root = folder / "results/findings/ledger"
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(root.rglob("*.jsonl")):
        found.setdefault(file.parent.name, []).extend(map(json.loads, file.read_text().splitlines()))
    return found


def asked_once(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no request of an arm or judge has two lines."""
    return len({line["key"] for line in lines}) == len(lines)


def metrics(folder: Path, page: str = "results/findings") -> dict[str, Any]:
    """The chapter's metrics.json."""
    document: dict[str, Any] = json.loads((folder / page / "metrics.json").read_text())["findings"]
    return document

"""A zoo that was never run: rows, records and scores in agreement, made through the real schemas.

`write(folder)` makes its files up to the raw scores; `choose`, `measured` and `shown` run the stages behind them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import documents, tables
from stages.lib.learn.candidate import Tried
from stages.nodules import calibrate
from stages.zoo import measure, section, select
from stages.zoo.records import Embedded, Failure, Fit, Inferred

SOURCES = ("nih",)
IMAGES = {"train": 12, "val": 60, "test": 60}
PREPROCESSING = "c0ffee"
OPERATIONS = {"qlora": 7.0e12, "probe": 5.0e12, "small": 2.0e9, "both": None, "prevalence": 0.0, "published": 6.0e9}
QUALITY = {"qlora": 2.0, "probe": 1.8, "small": 0.6, "both": 2.2, "prevalence": 0.0, "published": 3.0}
ROWS: dict[str, dict[str, Any]] = {
    "prevalence": {"kind": "prevalence", "seen": "no", "licence": "none", "commercial": True},
    "qlora": {"kind": "study", "label": "QLoRA", "seen": "unknown", "licence": "HAI-DEF", "commercial": True},
    "probe": {"kind": "probe", "label": "Probe", "seen": "unknown", "licence": "HAI-DEF", "commercial": True},
    "small": {"kind": "tuned", "label": "Small CNN", "seen": "no", "licence": "Apache-2.0", "commercial": True},
    "published": {"kind": "published", "label": "XRV", "seen": "labels", "licence": "Apache-2.0", "commercial": True},
    "both": {
        "kind": "ensemble",
        "label": "Both",
        "seen": "unknown",
        "licence": "HAI-DEF",
        "commercial": True,
        "members": ["qlora", "probe"],
    },
}
DOCUMENT: dict[str, Any] = {
    "zoo": {
        "models": ROWS,
        "select": {
            "by": "average_precision",
            "standard_errors": 1.0,
            "prefer": "operations",
            "draws": 50,
            "seed": 1,
            "confidence": 0.95,
        },
        "measure": {
            "draws": 40,
            "test_draws": 99,
            "seed": 1,
            "confidence": 0.95,
            "ece_bins": 5,
            "other_prevalence": 0.05,
            "reference": "qlora",
            "agreement_at": "specificity_95",
            "step": 0.01,
        },
        "section": {"images": 5, "card": "RTX 4090", "card_tflops": 165.2},
    },
    "nodules": {"cohort": {"sources": list(SOURCES)}, "calibrate": {"world_prevalence": "validation"}},
    "data": {"ingest": {"root": "results/data/simulate"}},
    "report": {"title": "A zoo that was never run"},
}
Rows = list[dict[str, Any]]


def images() -> list[dict[str, Any]]:
    """Images of each split, two of a patient, every third patient with a nodule; one of another source in each."""
    rows = []
    for split, count in IMAGES.items():
        for number in range(count):
            patient = number // 2
            label = int(patient % 3 == 0)
            source = "other" if number == count - 1 else "nih"
            names = {"image_id": f"{split}{number:03d}", "patient_id": f"{split}-p{patient:02d}"}
            rows.append({**names, "split": split, "label": label, "source": source})
    return rows


def manifest(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    facts = {"study_id": None, "view": "PA", "sex": None, "age_years": None, "bit_depth": 8, "status": "ok"}
    facts |= {"width_px": 64, "height_px": 64, "sha256": "0" * 64, "pixel_sha256": "0" * 64, "spacing_mm": None}
    keys = ("image_id", "patient_id", "label", "source")
    made = [
        {**facts, **{key: row[key] for key in keys}, "file_name": f"{row['image_id']}.png", "path": row["image_id"]}
        for row in rows
    ]
    return tables.from_rows(made, tables.MANIFEST)


def split(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    keys = [name for name in tables.SPLIT.names if name in rows[0]]
    return tables.from_rows([{key: row[key] for key in keys} for row in rows], tables.SPLIT)


def infer(rows: Sequence[Mapping[str, Any]], scores: Mapping[str, float]) -> pa.Table:
    """Scores of validation and test images."""
    made = [
        {"image_id": row["image_id"], "split": row["split"], "label": row["label"], "score": scores[row["image_id"]]}
        for row in rows
        if row["split"] != "train"
    ]
    return tables.from_rows(made, tables.INFER)


def saturated(table: pa.Table, raised: float = 38.0) -> pa.Table:
    """A table whose scores are all 1, with logits that rank the images as the scores did."""
    z = np.argsort(np.argsort(table["score"].to_numpy(), kind="stable"), kind="stable") * 0.1 + raised
    logits = {"logit_negative": np.zeros(len(z)), "logit_positive": z, "score": 1 / (1 + np.exp(-z))}
    rows = [
        {**row, **{name: float(values[number]) for name, values in logits.items()}}
        for number, row in enumerate(table.to_pylist())
    ]
    return tables.from_rows(rows, tables.INFER)


def scores(rows: Sequence[Mapping[str, Any]], quality: float, seed: int) -> dict[str, float]:
    """Score of each image, the further from chance the larger `quality`; all alike with 0."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=len(rows))
    raised = [
        quality * (row["label"] - 0.5) + (noise if quality else 0.0) for row, noise in zip(rows, drawn, strict=True)
    ]
    return {row["image_id"]: float(1 / (1 + np.exp(-one))) for row, one in zip(rows, raised, strict=True)}


def fit(model: str, kind: str = "probe", **changes: Any) -> Fit:
    """Record of a fit, with some of its fields changed."""
    facts: dict[str, Any] = {
        "model": model,
        "kind": kind,
        "failure": None,
        "images": 12,
        "positive_images": 4,
        "validation_images": 60,
        "positive_validation_images": 20,
        "preprocessing_hash": PREPROCESSING,
        "side_px": 64,
        "tried": (
            Tried(option="strength 0.01", average_precision=0.5),
            Tried(option="strength 1", average_precision=0.6),
        ),
        "chosen": "strength 1",
        "trained_parameters": 129,
        "parameters": 1000,
        "operations": 1.0e9,
        "passes": 1,
        "random_weights": False,
        "notes": (),
        "seconds": 1.5,
        "features": None,
    }
    return Fit(**{**facts, **changes})


def inferred(model: str, **changes: Any) -> Inferred:
    facts: dict[str, Any] = {"failure": None, "images": 120, "seconds": 3.0, "seconds_per_image": 0.025}
    return Inferred(**{"model": model, "answer_mass": None, **facts, **changes})


def embedded(**changes: Any) -> Embedded:
    facts: dict[str, Any] = {
        "failure": None,
        "architecture": "SiglipModel",
        "identity": "siglip",
        "weights_sha256": "0" * 64,
        "parameters": 900,
        "operations": 1.0e9,
        "features": 64,
        "rows": 8,
        "prefix": 0,
        "patch_px": 14,
        "places": 1,
        "random_weights": False,
        "preprocessing_hash": PREPROCESSING,
        "images": 120,
        "bytes": 4096,
        "computed": 120,
        "seconds": 6.0,
        "seconds_per_image": 0.05,
    }
    return Embedded(**{**facts, **changes})


def failed(stage: str, reason: str = "SiglipModel: found 3 missing keys, wanted none") -> Failure:
    return Failure(stage=stage, error="ModelError", reason=reason)


def write_row(folder: Path, name: str, table: pa.Table | None, fit: Fit, inferred: Inferred) -> None:
    """Files of one row below `folder`; without a table its scores are empty."""
    empty = tables.INFER.arrow.empty_table()
    tables.write(folder / f"infer/raw/{name}.parquet", empty if table is None else table, tables.INFER)
    documents.write(folder / f"fit/{name}.json", fit)
    documents.write(folder / f"infer/raw/{name}.json", inferred)


def write(
    folder: Path,
    document: Mapping[str, Any] = DOCUMENT,
    failures: Mapping[str, Failure] | None = None,
    tamper: Callable[[Rows], Rows] = lambda rows: rows,
    fits: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Files of a zoo below `folder`.

    Args:
        folder: Where.
        document: Its parameters.
        failures: Why rows failed, by name.
        tamper: Changes the rows of the manifest and the split, and no score.
        fits: Changed fields of records of fits, by name.
    """
    rows = images()
    for seed, (name, row) in enumerate(document["zoo"]["models"].items()):
        reason = (failures or {}).get(name)
        table = None if reason else infer(rows, scores(rows, QUALITY[name], seed))
        facts = {"operations": OPERATIONS[name], "failure": reason, **(fits or {}).get(name, {})}
        write_row(folder, name, table, fit(name, row["kind"], **facts), inferred(name, failure=reason))
    tables.write(folder / "manifest.parquet", manifest(tamper(rows)), tables.MANIFEST)
    tables.write(folder / "split.parquet", split(tamper(rows)), tables.SPLIT)
    documents.write(folder / "features/siglip.json", embedded())


def choose(folder: Path, document: Mapping[str, Any] = DOCUMENT) -> None:
    """Run `select` on the files below `folder`."""
    select.main(
        [
            *_shared(folder, document),
            *("--infer", *_each(folder, document, "infer/raw/{}.parquet")),
            *("--choice", str(folder / "select.json")),
        ]
    )


def measured(folder: Path, document: Mapping[str, Any] = DOCUMENT) -> None:
    """Run `calibrate` and `measure` on the files below `folder`."""
    values = ("--params", json.dumps(document))
    kept = {
        "infer": _each(folder, document, "infer/{}.parquet"),
        "calibration": _each(folder, document, "infer/{}_calibration.json"),
    }
    raw = _each(folder, document, "infer/raw/{}.parquet")
    made = [part for name, paths in kept.items() for part in (f"--{name}", *paths)]
    calibrate.main([*values, "--raw", *raw, "--manifest", str(folder / "manifest.parquet"), *made])
    results = {name: str(folder / f"measure/{name}.parquet") for name in ("measures", "curves", "outcomes")}
    results["notes"] = str(folder / "measure/notes.json")
    given = [part for name, path in results.items() for part in (f"--{name}", path)]
    measure.main([*_shared(folder, document), *made, *given, "--choice", str(folder / "select.json")])


def shown(folder: Path, document: Mapping[str, Any] = DOCUMENT, *more: str) -> None:
    """Run `section` on the files below `folder`."""
    files = {name: folder / f"measure/{name}.parquet" for name in ("measures", "curves")}
    files |= {"notes": folder / "measure/notes.json", "choice": folder / "select.json"}
    given = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    section.main(["--params", json.dumps(document), *given, "--section", str(folder / "section.json"), *more])


def _shared(folder: Path, document: Mapping[str, Any]) -> list[str]:
    """Arguments that select and measure have in common."""
    return [
        *("--params", json.dumps(document)),
        *("--manifest", str(folder / "manifest.parquet"), "--split", str(folder / "split.parquet")),
        *("--fits", *_each(folder, document, "fit/{}.json")),
        *("--inferred", *_each(folder, document, "infer/raw/{}.json")),
        *("--embedded", str(folder / "features/siglip.json")),
    ]


def _each(folder: Path, document: Mapping[str, Any], path: str) -> list[str]:
    return [str(folder / path.format(name)) for name in document["zoo"]["models"]]

"""A small study that was never run: every artifact that the report reads, made from random numbers and in agreement.

`write(folder)` makes it; images are discs of noise, scores are drawn around the label, boxes around the points.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from train_logs import STEPS, train_log

from stages.lib.core import documents, files, tables
from stages.lib.detect.choice import BankRow, Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.images.geometry import Geometry
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.sources import Sources
from stages.lib.models.snapshot import Snapshot
from stages.nodules import measure, section

HOSTILE = "<img src=x onerror=alert(1)>.png"
HOSTILE_USED = '0004" onload="alert(2)\' <b>&amp;.png'
SIDE = 112
MODELS = {"zero_shot": 0.7, "tuned": 2.2}
LOCALIZERS = {"medgemma": 55.0, "chexagent": 90.0, "attribution": 70.0}  # how far off each points, pixels
CONFIDENT = ("attribution",)  # those that give confidences, and no boxes
PARAMETERS: dict[str, Any] = {
    "data": {
        "ingest": {"root": "results/data/simulate"},
        "split": {"unit": "image", "folds": 0, "fold": 0, "file": "none", "seed": 1},
        "normalize": {"low_percentile": 0.5, "high_percentile": 99.5, "side_px": SIDE},
    },
    "nodules": {
        "prompt": {"question": "Nodule? </script>"},
        "infer": {"weights": "unmerged"},
        "classifiers": {"zero_shot": {"label": "Zero-shot"}, "tuned": {"label": "Tuned"}},
        "localizers": {
            "medgemma": {"label": "MedGemma"},
            "chexagent": {"label": "CheXagent-2", "model": "Somebody/CheXagent-2"},
            "attribution": {"adapter": "results/nodules/train/adapter", "label": "Attribution map"},
        },
        "cohort": {"sources": ["nih", "lidc"]},
        "tolerance": {"tight_fraction": 0.02, "tolerant_fraction": 0.05},
        "measure": {
            "draws": 25,
            "seed": 1,
            "confidence": 0.95,
            "ece_bins": 8,
            "other_prevalence": 0.05,
            "size_edges_mm": [10.0, 20.0],
            "contrast_edges": [],
            "min_stratum_nodules": 3,
            "age_edges_years": [40.0, 65.0],
            "min_subgroup_images": 3,
            "comparisons": [["tuned", "zero_shot"]],
        },
        "submit": {
            "classifier": "tuned",
            "localizer": "attribution",
            "threshold": "specificity_95",
            "max_points": 3,
            "points_for": "positive_images",
        },
        "section": {
            "examples": 4,
            "image_px": 280,
            "operating_point": "youden",
            "report_mined_labels": ["nih"],
            "test_images_in_base": "unknown",
        },
    },
    "report": {"title": "A study that was never run"},
}


def write(folder: Path, seed: int = 7) -> Path:
    """Write the study below `folder` and return the results folder."""
    rng = np.random.default_rng(seed)
    results = folder / "results"
    images, points = _images(rng)
    used = [image for image in images if image["status"] == "ok"]
    _tables(results, images, points, used)
    (results / "normalized/1-of-1").mkdir(parents=True, exist_ok=True)
    for image in used:
        mine = [point for point in points if point["image_id"] == image["image_id"]]
        (results / _png(image)).write_bytes(_pixels(rng, image, mine))
    for model, strength in MODELS.items():
        _infer(results, rng, model, strength, used)
    _other_form(results)
    for localizer, spread in LOCALIZERS.items():
        _localize(results, rng, localizer, spread, points, used)
    _choice(results)
    _training(results, rng)
    measure.main(measure_options(results))
    section.main(section_options(results))
    return results


LOCALIZED = ("localize", "responses", "choice", "cutoff")  # options without which a study has classifiers alone


def measure_options(results: Path, without: Collection[str] = ()) -> list[str]:
    """Command line of `stages.nodules.measure` for a study that `write` made, some options left out."""
    named = {
        **_inputs(results),
        "normalized": [results / "normalized.parquet"],
        "results": [results],
        "choice": [results / "localize/attribution_choice.json"],
        "cutoff": [results / "localize/attribution_cutoff.json"],
        "train": [results / "train/train.json"],
        "other_form": [results / "infer/tuned_other_form.parquet"],
        **_measured(results),
    }
    return _line({name: paths for name, paths in named.items() if name not in without})


def section_options(results: Path, without: Collection[str] = ()) -> list[str]:
    """Command line of `stages.nodules.section` for a study that `write` made, some options left out."""
    named = {
        **_measured(results),
        **_inputs(results),
        "normalized": [results / "normalized.parquet"],
        "choice": [results / "localize/attribution_choice.json"],
        "cutoff": [results / "localize/attribution_cutoff.json"],
        "train": [results / "train/train.json"],
        "curve": [results / "train/curve.csv"],
        "files": [results / "files.parquet"],
        "fetch": [results / "fetch.json"],
        "results": [results],
        "section": [results / "section.json"],
    }
    return _line({name: paths for name, paths in named.items() if name not in without})


def report_options(results: Path) -> list[str]:
    """Command line of `stages.report` for a study that `write` made."""
    named = {
        "sections": [results / "section.json"],
        "measures": [results / "measures.parquet"],
        "notes": [results / "notes.json"],
        "report": [results / "report.html"],
        "pages": [results / "nodules/report.html"],
        "metrics": [results / "metrics.json"],
        "summary": [results / "summary.json"],
    }
    return _line(named)


def _inputs(results: Path) -> dict[str, list[Path]]:
    return {
        "manifest": [results / "manifest.parquet"],
        "points": [results / "points.parquet"],
        "split": [results / "split.parquet"],
        "infer": [results / f"infer/{model}.parquet" for model in MODELS],
        "calibration": [results / f"infer/{model}_calibration.json" for model in MODELS],
        "localize": [results / f"localize/{localizer}.parquet" for localizer in LOCALIZERS],
        "responses": [results / f"localize/{localizer}_responses.parquet" for localizer in LOCALIZERS],
    }


def _measured(results: Path) -> dict[str, list[Path]]:
    return {name: [results / f"{name}.parquet"] for name in ("measures", "curves", "outcomes")} | {
        "notes": [results / "notes.json"]
    }


def _line(named: Mapping[str, Sequence[Path]]) -> list[str]:
    return [
        "--params",
        json.dumps(PARAMETERS),
        *(text for k, v in named.items() for text in (f"--{k.replace('_', '-')}", *map(str, v))),
    ]


def _images(rng: np.random.Generator) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    images: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for number in range(90):
        label = int(number % 4 == 0)
        name = f"{number // 2:08d}_{number % 2:03d}.png"
        image = _image(name, "nih", f"nih-{number // 2:08d}", label, 1024, 1024, 8)
        told = {"sex": "FM"[number // 4 % 2], "age_years": 20.0 + number, "view": ("AP", "PA")[number // 12 % 2]}
        images.append(image | (told if number % 10 else {}))
    for number in range(16):
        name = HOSTILE_USED if number == 4 else f"{number:04d}.png"
        width, height = int(rng.integers(1700, 2100)), int(rng.integers(1900, 2100))
        image = _image(name, "lidc", f"lidc-{number:04d}", 1, width, height, 16)
        image["spacing_mm"] = 0.175 if number % 3 else None
        if number == 5:
            image |= {"problem": "its patient is not known", "notices": ["patient"]}
        images.append(image)
        for point in range(1 + number % 2):
            x, y = (0.28 + 0.44 * point) * width, float(rng.uniform(0.3, 0.7)) * height
            size = {"diameter_mm": float(rng.uniform(4, 28)) if number % 4 else None}
            points.append({"image_id": image["image_id"], "point": point, "x": x, "y": y, **size})
    problems = {HOSTILE: "is HTML, not PNG", "00099999_000.png": "truncated", "00088888_000.png": "every pixel is 0"}
    for name, problem in problems.items():
        images.append(
            _image(name, "nih", name, 0, None, None, None)
            | {"status": "rejected", "problem": problem, "notices": ["unreadable"]}
        )
    return images, points


def _image(
    name: str, source: str, patient: str, label: int, width: int | None, height: int | None, depth: int | None
) -> dict[str, Any]:
    size = {"width_px": width, "height_px": height, "bit_depth": depth}
    ids = {"image_id": name.removesuffix(".png"), "file_name": name, "path": f"data/{source}/{name}"}
    hashes = {"sha256": name, "pixel_sha256": name if width else None}
    return {**ids, "source": source, "patient_id": patient, "label": label, **size, **hashes, "status": "ok"}


def _tables(
    results: Path, images: list[dict[str, Any]], points: list[dict[str, Any]], used: list[dict[str, Any]]
) -> None:
    normalized, split = [], []
    for number, image in enumerate(used):
        geometry = Geometry(width_px=image["width_px"], height_px=image["height_px"], side_px=SIDE)
        pads = {"pad_x_px": geometry.pad_x_px, "pad_y_px": geometry.pad_y_px, "scale": geometry.scale}
        grey = {"low": 12.0, "high": 3000.0 if image["bit_depth"] == 16 else 230.0}
        normalized.append({"image_id": image["image_id"], "png": _png(image), **pads, **grey, "side_px": SIDE})
        image["split"] = ("test", "test", "train", "val", "train", "test")[number // 2 % 6]
        split.append({key: image[key] for key in ("image_id", "patient_id", "label", "split")})
    for row in normalized:
        row["preprocessing_hash"] = "c0ffee" + "0" * 58
        row["histogram"] = [SIDE * SIDE // 64] * 64
    others = [("Thumbs.db", "litter", None), (".DS_Store", "litter", None)]
    others.append(("more.zip", "archive", "an archive is not read; unpack it: unzip 'more.zip' -d <folder>"))
    files = [{"file_name": name, "role": role, "reason": reason} for name, role, reason in others]
    written = {"manifest": images, "points": points, "files": files, "normalized": normalized, "split": split}
    for name, rows in written.items():
        schema = tables.SCHEMAS[name]
        kept = [{key: row.get(key) for key in schema.names} for row in rows]
        tables.write(results / f"{name}.parquet", tables.from_rows(kept, schema), schema)


def _png(image: dict[str, Any]) -> str:
    return f"normalized/1-of-1/{image['image_id']}.png"


def _pixels(rng: np.random.Generator, image: dict[str, Any], points: list[dict[str, Any]]) -> bytes:
    import cv2

    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    pixels = 170 - 110 * sum(
        np.exp(-((((columns - c) / 0.14) ** 2 + ((rows - 0.5) / 0.27) ** 2) ** 2)) for c in (0.3, 0.7)
    )
    geometry = Geometry(width_px=image["width_px"], height_px=image["height_px"], side_px=SIDE)
    for point in points:
        x, y = geometry.to_normalized(point["x"], point["y"])
        pixels += 60 * np.exp(-((columns * SIDE - x) ** 2 + (rows * SIDE - y) ** 2) / 12)
    pixels += cv2.GaussianBlur(rng.normal(0, 25, (SIDE, SIDE)), (0, 0), 1.5)
    return bytes(cv2.imencode(".png", pixels.clip(0, 255).astype(np.uint8))[1])


def _infer(results: Path, rng: np.random.Generator, model: str, strength: float, used: list[dict[str, Any]]) -> None:
    rows = []
    for image in used:
        logit = float(rng.normal(strength * image["label"] - 0.5 * strength, 1))
        score = 1 / (1 + np.exp(-logit))
        row = {"logit_negative": 0.0, "logit_positive": logit, "score": score, "answer_mass": 0.93}
        row |= {"image_id": image["image_id"], "split": image["split"], "label": image["label"]}
        rows.append(row | {"score_calibrated": 1 / (1 + np.exp(1 - logit))})
    tables.write(results / f"infer/{model}.parquet", tables.from_rows(rows, tables.INFER), tables.INFER)
    fitted = Calibration(
        model=model,
        method="prior and temperature" if model == "tuned" else "platt",
        intercept=-1.0,
        temperature=1.0,
        at_bound=False,
        world_prevalence=0.25,
        sources=("nih",),
        n=16,
        n_positive=4,
        form_losses={"prior and temperature": 0.41, "platt": 0.42},
        thresholds_on="score_calibrated",
        thresholds={"half": 0.5, "f1": 0.41, "youden": 0.33, "specificity_95": 0.62},
        reason=None,
    )
    documents.write(results / f"infer/{model}_calibration.json", fitted)


def _other_form(results: Path) -> None:
    """The tuned model again on validation images, as if its weights had been in another form."""
    rows = [
        row for row in tables.read(results / "infer/tuned.parquet", tables.INFER).to_pylist() if row["split"] == "val"
    ]
    for number, row in enumerate(rows):
        row["logit_positive"] += 0.3 * (number % 3)
        row["score"] = float(1 / (1 + np.exp(-row["logit_positive"])))
    tables.write(results / "infer/tuned_other_form.parquet", tables.from_rows(rows, tables.INFER), tables.INFER)


def _localize(
    results: Path,
    rng: np.random.Generator,
    localizer: str,
    spread: float,
    points: list[dict[str, Any]],
    used: list[dict[str, Any]],
) -> None:
    confident = localizer in CONFIDENT
    rows, responses = [], []
    for number, image in enumerate(used):
        mine = [point for point in points if point["image_id"] == image["image_id"]]
        away = 600 if number % 5 == 0 else 0
        centres = [(p["x"] + rng.normal(0, spread), p["y"] + away + rng.normal(0, spread)) for p in mine]
        if (not mine and number % 7 == 0) or confident:
            centres += [(0.7 * image["width_px"], float(rng.uniform(0.3, 0.6)) * image["height_px"])]
        for rank, (x, y) in enumerate(centres):
            row: dict[str, Any] = {"image_id": image["image_id"], "rank": rank, "x": x, "y": y, "phrase": "nodule"} | {
                "shown": True
            }
            if confident:
                row["confidence"] = float(rng.uniform(0.2, 1.0 if rank < len(mine) else 0.6))
            else:
                row |= {"x0": x - 90, "y0": y - 80, "x1": x + 90, "y1": y + 80}
            rows.append(row)
        words = "".join(f'{{"box_2d": [{y:.0f}, {x:.0f}], "label": "nodule"}}' for x, y in centres)
        parsed = "malformed" if number % 23 == 5 else "ok" if centres else "empty"
        parsed = "cut" if number % 23 == 7 else parsed
        response = "I see <b>something" if parsed in ("malformed", "cut") else f"Final Answer: [{words}]"
        asked = {"image_id": image["image_id"], "prompt": "Where?", "view": "whole"}
        error = 0.1 + number % 7 / 10 if localizer == "attribution" else None
        responses.append(asked | {"response": response, "parsed": parsed, "completeness_error": error})
    for name, stem, found in (("localize", localizer, rows), ("responses", f"{localizer}_responses", responses)):
        schema = tables.SCHEMAS[name]
        tables.write(results / f"localize/{stem}.parquet", tables.from_rows(found, schema), schema)


def _choice(results: Path) -> None:
    """What was chosen for the localizer with confidences."""
    counts = {"f1": 0.5, "true_positives": 3, "points": 8, "nodules": 4, "images": 6, "cutoff": None}
    counts |= {"responses": 6, "malformed": 1, "cut": 2}
    counts |= {"negatives": 3, "false_points_per_image": 0.2}
    rows = BankRow(prompt="Where?", **counts), BankRow(prompt="<b>?", **{**counts, "f1": 0.25, "cutoff": 0.125})
    choice = Choice(prompts=("Where?",), splits=("val",), bank=rows)
    documents.write(results / "localize/attribution_choice.json", choice)
    counts = {"true_positives": 3, "points": 4, "nodules": 4, "images": 6, "negatives": 3}
    sources = Sources(marked={"lidc": 3}, negative={"nih": 3})
    cutoff = Cutoff(cutoff=0.25, f1=0.75, wanted_rate=0.5, false_points_per_image=0.125, sources=sources, **counts)
    documents.write(results / "localize/attribution_cutoff.json", cutoff)


def _training(results: Path, rng: np.random.Generator) -> None:
    lines = ["step,loss,grad_norm,learning_rate,val_loss,val_balanced_accuracy,val_f1,val_average_precision"]
    for step in range(1, STEPS + 1):
        fall = float(np.exp(-step / 60))
        loss = 0.25 + 0.9 * fall + float(rng.normal(0, 0.05))
        judged = {"loss": 0.3 + 0.8 * fall, "balanced_accuracy": 0.9 - 0.4 * fall, "f1": 0.7 - 0.5 * fall}
        judged["average_precision"] = 0.8 - 0.6 * fall
        cells = ",".join(f"{value:.4f}" for value in judged.values()) if step % 20 == 0 else ",,,"
        lines.append(f"{step},{loss:.4f},1.5,0.0002,{cells}")
    files.write_bytes(results / "train/curve.csv", ("\n".join(lines) + "\n").encode())
    documents.write(results / "train/train.json", train_log())
    base = Snapshot(
        base="results/weights/pretrain/chest", revision="none", commit=None, folder="gone", sha256="0", files={}
    )
    documents.write(results / "fetch.json", base)

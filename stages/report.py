"""Draw the study as one page that needs nothing else: numbers with intervals, curves, images, provenance.

in   metrics  metrics.json; manifest, points, normalized, split, infer, localize, answers  tables; calibration  JSON per
     model; train, curve  of the training; fetch  of the base model; template  Jinja2; results  folder of the images
out  report  one HTML file without script, font or address
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import cli, documents, files, params, tables
from stages.lib.core.errors import TableError
from stages.lib.core.log import LOG
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import froc
from stages.lib.metrics.binary import reliability
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.matching import distances, match
from stages.lib.models.snapshot import Snapshot
from stages.lib.report import figures, overlays
from stages.lib.report.charts import Chart
from stages.lib.report.gallery import Group, Record, by_answer, by_place, records
from stages.lib.report.numbers import fact, name, threshold_name
from stages.nodules import summary

Draw = Callable[[Record, str | None], dict[str, Any]]


@params.section
class Params:
    """What the page shows beyond the numbers."""

    title: params.Text  # of the page
    examples: params.NonNegativeInt  # images shown per group
    image_px: params.Count  # width and height of an image on the page, pixels
    operating_point: Literal["f1", "youden", "specificity_95"]  # threshold, chosen on validation, that calls an image


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that the page is made of; mappings go from the name of a model or localizer to its part."""

    metrics: Mapping[str, Any]
    manifest: pa.Table
    points: pa.Table
    normalized: pa.Table
    split: pa.Table
    infer: Mapping[str, pa.Table]
    calibration: Mapping[str, Calibration]
    localize: Mapping[str, pa.Table]
    answers: Mapping[str, pa.Table]
    train: Mapping[str, Any] | None
    curve: Sequence[Mapping[str, float | None]]
    fetch: Mapping[str, Any] | None


def report(study: Study, params: Params, pixels: Callable[[str], bytes]) -> dict[str, Any]:
    """Return all that the template shows.

    Args:
        study: The artifacts.
        params: What is shown.
        image: Returns the PNG of a normalized image, given its path relative to the results folder.
    """
    settings = _settings(study.metrics)
    images = records(
        study.manifest, study.normalized, study.split, study.points, study.infer, study.localize, study.answers
    )
    model = list(study.infer)[-1]
    draw = partial(_card, localizers=list(study.localize), params=params, settings=settings, pixels=pixels)
    return {
        "title": params.title,
        "warnings": summary.warnings(study.metrics),
        "headline": summary.headline(study.metrics),
        "tiles": summary.tiles(study.metrics, model),
        "models": list(study.metrics["classification"]),
        "classification": summary.classification(study.metrics, params.operating_point),
        "weights": summary.weights(study.metrics),
        "reference": summary.reference(study.metrics),
        "charts": _charts(study, settings, params.operating_point),
        "froc": _froc_charts(images, study, settings),
        "places": [
            {"localizer": localizer, "style": overlays.style(k), "mark": overlays.mark(5, 5, k)}
            for k, localizer in enumerate(study.localize)
        ],
        "matrices": summary.matrices(study.metrics, params.operating_point),
        "operating_point": threshold_name(params.operating_point),
        "settings": settings,
        "localization": summary.localization(study.metrics),
        "banks": summary.banks(study.metrics),
        "examples_model": model,
        "answer_groups": _answer_groups(images, study, settings, params, draw),
        "place_groups": _place_groups(images, study, settings, params, draw),
        "training": _training(study),
        "data": _data(study),
        "provenance": summary.provenance(study.metrics, study.fetch or {}),
        "fetch": study.fetch,
        "calibration": {model: documents.as_mapping(fitted) for model, fitted in study.calibration.items()},
    }


@dataclass(frozen=True)
class Settings:
    """How it was measured, from the provenance of metrics.json: what is drawn is what was measured.

    Attributes:
        sources: Sources of the images that the classification was measured on.
        tight: Tolerance of a hit, fraction of the diagonal.
        tolerant: The wider one.
        bins: Of the reliability diagram.
        confidence: Of the intervals.
    """

    sources: tuple[str, ...]
    tight: float
    tolerant: float
    bins: int
    confidence: float


def _settings(metrics: Mapping[str, Any]) -> Settings:
    try:
        chapter = metrics["provenance"]["parameters"]["nodules"]
        given = {**chapter["measure"], **chapter["cohort"], **chapter["tolerance"]}
        return Settings(
            sources=tuple(given["sources"]),
            tight=given["tight_fraction"],
            tolerant=given["tolerant_fraction"],
            bins=given["ece_bins"],
            confidence=given["confidence"],
        )
    except (KeyError, TypeError) as error:
        raise TableError(f"metrics.json: its provenance lacks the parameter {error}; run measure again") from error


def _charts(study: Study, settings: Settings, chosen: str) -> list[Chart]:
    """Return the ROC, the precision-recall and the reliability charts of the test split, as far as they are defined."""
    measured = {model: splits.get("test", {}) for model, splits in study.metrics["classification"].items()}
    curves, calibrations = {}, []
    for model, table in study.infer.items():
        labels, given, calibrated = _test_scores(study, table, settings.sources)
        if len(labels):
            kinds = {"ece": given} if calibrated is None else {"ece": given, "ece_calibrated": calibrated}
            bins = {kind: reliability(labels, s, settings.bins, settings.confidence) for kind, s in kinds.items()}
            calibrations.append(figures.reliability(model, bins, measured.get(model, {})))
        if 0 < labels.sum() < len(labels):
            curves[model] = figures.Curve(labels, given, measured.get(model, {}))
    both = [figures.roc(curves, chosen), figures.precision_recall(curves, chosen)] if curves else []
    return both + calibrations


def _froc_charts(images: Mapping[str, Record], study: Study, settings: Settings) -> list[Chart]:
    """Return the FROC chart at each tolerance; none if no localizer gives confidences."""
    charts = []
    for tolerance, fraction in (("tight", settings.tight), ("tolerant", settings.tolerant)):
        shown = {}
        for place, localizer in enumerate(study.localize):
            measured = study.metrics["localization"].get(localizer, {}).get("test", {})
            near, curve = measured.get(tolerance, {}), measured.get("froc", {}).get(tolerance, {})
            ends = tuple(near.get(key, {}).get("value") for key in ("non_lesion_fraction", "recall"))
            point = (ends[0], ends[1]) if None not in ends else None
            has_curve = curve.get("cpm", {}).get("value") is not None
            false, found = _froc_curve(images.values(), localizer, fraction) if has_curve else (None, None)
            shown[localizer] = figures.Froc(overlays.style(place), false, found, curve, point)
        if any(one.false is not None for one in shown.values()):
            charts.append(figures.froc(shown, f"FROC, within {fraction:g} of the diagonal ({tolerance})"))
    return charts


def _froc_curve(
    images: Iterable[Record], localizer: str, fraction: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steps of the FROC curve of a localizer on the test images that it was asked about."""
    asked = [f for f in images if f.split == "test" and localizer in f.answers and (f.points or f.label == 0)]
    confidences, verdicts = [np.zeros(0)], [np.zeros(0, np.int64)]
    for image in asked:
        rows = image.ranked.get(localizer, ())
        predicted = np.array([(row["x"], row["y"]) for row in rows], np.float64).reshape(-1, 2)
        true = np.array([(row["x"], row["y"]) for row in image.points], np.float64).reshape(-1, 2)
        confidences.append(np.array([row["confidence"] for row in rows], np.float64))
        verdicts.append(froc.judge(predicted, confidences[-1], true, fraction * image.geometry.diagonal_px))
    points = sum(len(image.points) for image in asked)
    return froc.curve(np.concatenate(confidences), np.concatenate(verdicts), len(asked), points)


def _test_scores(
    study: Study, table: pa.Table, sources: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Return labels, scores and calibrated scores of the images that the classification was measured on."""
    source = dict(zip(*(study.manifest[name].to_pylist() for name in ("image_id", "source")), strict=True))
    rows = [
        row
        for row in table.select(["image_id", "split", "label", "score", "score_calibrated"]).to_pylist()
        if row["split"] == "test" and row["label"] is not None and source[row["image_id"]] in sources
    ]
    calibrated = [row["score_calibrated"] for row in rows]
    return (
        np.array([row["label"] for row in rows], np.int64),
        np.array([row["score"] for row in rows], np.float64),
        None if None in calibrated else np.array(calibrated, np.float64),
    )


def _answer_groups(
    images: Mapping[str, Record], study: Study, settings: Settings, params: Params, draw: Draw
) -> list[dict[str, Any]]:
    """Return test images that the last model (the tuned one) called rightly and wrongly."""
    model = list(study.infer)[-1]
    fitted = study.calibration.get(model)
    threshold = fitted.thresholds.get(params.operating_point) if fitted else None
    measured = [image for image in images.values() if image.split == "test" and image.source in settings.sources]
    groups = by_answer(measured, model, 0.5 if threshold is None else threshold, params.examples)
    return [_group(group, None, draw) for group in groups]


def _place_groups(
    images: Mapping[str, Record], study: Study, settings: Settings, params: Params, draw: Draw
) -> dict[str, list[dict[str, Any]]]:
    """Return for each localizer images with nodules found and missed, and negative images with points."""
    made = {}
    for localizer in study.localize:
        hits = partial(_hits, localizer=localizer, tolerant=settings.tolerant)
        groups = by_place(list(images.values()), localizer, hits, params.examples)
        made[localizer] = [_group(group, localizer, draw) for group in groups]
    return made


def _hits(image: Record, localizer: str, tolerant: float) -> int:
    """Return how many true points of an image have a prediction within the tolerant distance, one to one."""
    predicted = [(row["x"], row["y"]) for row in image.findings.get(localizer, ())]
    gaps = distances(predicted, [(row["x"], row["y"]) for row in image.points])
    return len(match(gaps, tolerant * image.geometry.diagonal_px)[0])


def _group(group: Group, localizer: str | None, draw: Draw) -> dict[str, Any]:
    cards = [draw(image, localizer) for image in group.images]
    return {"title": group.title, "rule": group.rule, "total": group.total, "cards": cards}


def _card(
    image: Record,
    localizer: str | None,
    *,
    localizers: Sequence[str],
    params: Params,
    settings: Settings,
    pixels: Callable[[str], bytes],
) -> dict[str, Any]:
    """Return one image as it is shown: its image, the points of all localizers, and what was said about it.

    Boxes are shown of the localizer that the image is an example of, or of the only one there is.
    """
    alone = localizer or (localizers[0] if len(localizers) == 1 else None)
    found = [
        finding
        for place, one in enumerate(localizers)
        for finding in overlays.findings(
            image.findings.get(one, []), image.geometry, name(one), place=place, boxed=one == alone
        )
    ]
    said = [localizer] if localizer else localizers
    facts = [{1: "nodule", 0: "no finding", None: "not labelled"}[image.label], name(image.source)]
    facts += [name(image.split).lower()] if image.split else []
    facts += [f"{name(model).lower()} {score:.3f}" for model, score in image.scores.items()]
    return {
        "image_id": image.image_id,
        "image": overlays.embed(pixels(image.png), params.image_px),
        "rings": overlays.rings(image.points, image.geometry, settings.tight, settings.tolerant),
        "findings": found,
        "facts": facts,
        "answers": [
            {"localizer": name(one), "parsed": image.answers[one]["parsed"], "words": image.answers[one]["answer"]}
            for one in said
            if one in image.answers
        ],
    }


def _training(study: Study) -> dict[str, Any]:
    """Return the charts of the training, its key figures, its checkpoints and its notes."""
    columns = list(study.curve[0]) if study.curve else []
    losses = [column for column in columns if "loss" in column]
    judged = [column for column in columns if column.startswith("val_") and column not in losses]
    charts = [figures.training(study.curve, losses, "Loss"), figures.training(study.curve, judged, "Validation metric")]
    log = study.train or {}
    return {
        "charts": [chart for chart in charts if chart],
        "figures": {name(key): fact(value) for key, value in log.items() if not isinstance(value, list | dict)},
        "checkpoints": [{key: fact(value) for key, value in row.items()} for row in log.get("checkpoints", ())],
        "selected": fact(log.get("selected_step")),
        "notes": log.get("notes", ()),
    }


def _data(study: Study) -> dict[str, Any]:
    """Return how many images there are of each kind, every rejected image, and every answer that was not read."""
    given = study.metrics["provenance"]["parameters"].get("data", {}).get("normalize", {})
    part = dict(zip(study.split["image_id"].to_pylist(), study.split["split"].to_pylist(), strict=True))
    rows = study.manifest.select(["image_id", "file_name", "source", "label", "status", "problem"]).to_pylist()
    columns = ["train", "val", "test", "unused", "rejected"]
    counts: Counter[tuple[str, Any, str]] = Counter()
    for row in rows:
        where = "rejected" if row["status"] == "rejected" else part.get(row["image_id"], "unused")
        counts[row["source"], row["label"], where] += 1
    kinds = sorted({(source, label) for source, label, _ in counts}, key=lambda kind: (kind[0], str(kind[1])))
    label_names = {1: "Nodule", 0: "No finding", None: "Not labelled"}
    lines = [
        {"source": name(source), "label": label_names[label], "counts": [counts[source, label, c] for c in columns]}
        for source, label in kinds
    ]
    unread = [
        {"localizer": name(localizer), **answer}
        for localizer, table in study.answers.items()
        for answer in table.to_pylist()
        if answer["parsed"] == "malformed"
    ]
    return {
        "columns": columns,
        "lines": lines,
        "total": [sum(line["counts"][k] for line in lines) for k in range(len(columns))],
        "images": len(rows),
        "rejected": [row for row in rows if row["status"] == "rejected"],
        "remarks": [row for row in rows if row["status"] == "ok" and row["problem"]],
        "answers": {name(k): Counter(table["parsed"].to_pylist()) for k, table in study.answers.items()},
        "unread": unread,
        "preprocessing_hashes": sorted(set(study.normalized["preprocessing_hash"].to_pylist())),
        "percentiles": [given[key] for key in ("low_percentile", "high_percentile") if key in given],
        "sides": sorted(set(study.normalized["side_px"].to_pylist())),
    }


def page(view: Mapping[str, Any], template: str) -> str:
    """Return the page as HTML; every value of `view` is escaped, and one that the template wants and lacks is an error.

    Args:
        view: What `report` returned.
        template: Text of the Jinja2 template.
    """
    from jinja2 import Environment, StrictUndefined

    surroundings = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    surroundings.filters["name"] = name
    return surroundings.from_string(template).render(view)


def _read_image(results: Path, png: str) -> bytes:
    try:
        return (results / png).read_bytes()
    except OSError as error:
        raise TableError(
            f"{results / png}: {error.strerror}; wanted a normalized image, run normalize again"
        ) from error


def _read_json(path: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: not readable as JSON ({error}); run the pipeline again") from error


def _read_curve(path: str | None) -> list[dict[str, float | None]]:
    if path is None:
        return []
    with Path(path).open(newline="", encoding="utf-8") as handle:
        return [{key: float(text) if text else None for key, text in row.items()} for row in csv.DictReader(handle)]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the study, draw the page, write it."""
    single = ("template", "metrics", "manifest", "points", "normalized", "split", "train", "curve", "fetch", "results")
    many = ("infer", "calibration", "localize", "answers")
    args = cli.parse(
        __doc__,
        argv,
        params={"report": Params},
        reads=(*single, *many),
        writes=("report",),
        optional=("train", "curve", "fetch", "calibration", "localize", "answers"),
        many=many,
    )
    calibrations = [documents.read(path, Calibration) for path in args.calibration or ()]
    study = Study(
        metrics=_read_json(args.metrics),
        manifest=tables.read(args.manifest, tables.MANIFEST),
        points=tables.read(args.points, tables.POINTS),
        normalized=tables.read(args.normalized, tables.NORMALIZED),
        split=tables.read(args.split, tables.SPLIT),
        infer={Path(path).stem: tables.read(path, tables.INFER) for path in args.infer},
        calibration={fitted.model: fitted for fitted in calibrations},
        localize={Path(path).stem: tables.read(path, tables.LOCALIZE) for path in args.localize or ()},
        answers={
            Path(path).stem.removesuffix("_answers"): tables.read(path, tables.ANSWERS) for path in args.answers or ()
        },
        train=documents.as_mapping(documents.read(args.train, TrainLog)) if args.train else None,
        curve=_read_curve(args.curve),
        fetch=documents.as_mapping(documents.read(args.fetch, Snapshot)) if args.fetch else None,
    )
    view = report(study, args.params.report, partial(_read_image, Path(args.results)))
    html = page(view, Path(args.template).read_text(encoding="utf-8"))
    files.write_bytes(args.report, html.encode())
    LOG.info("report: %s, %.1f MB", args.report, len(html.encode()) / 1e6)


if __name__ == "__main__":
    cli.run(main)

"""Points of the curves of the test split: ROC, precision and recall, reliability, FROC."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.metrics import froc
from stages.lib.metrics.binary import precision_recall_curve, reliability, roc_curve
from stages.lib.metrics.localization_suite import FROC_NAMES
from stages.lib.report import figures
from stages.lib.report.blocks import Chart, Point
from stages.lib.report.figures import Curve
from stages.nodules.page.images import Record
from stages.nodules.page.study import Study, System
from stages.nodules.page.words import cell, name, threshold_name

Facts = Mapping[str, Any]
AS_GIVEN, CALIBRATED = "as given", "calibrated"


def of_classifiers(study: Study) -> tuple[Chart, ...]:
    """ROC, precision-recall and reliability charts, as far as they are defined."""
    rocs, recalls, diagrams = [], [], []
    prevalence = 0.0
    for model, table in study.infer.items():
        system = study.classifiers[model]
        measured = study.metrics["classification"].get(model, {}).get("test", {})
        labels, given, calibrated = _scores(study, table)
        if len(labels):
            diagrams.append(_reliability(study, system, measured, labels, given, calibrated))
        if 0 < labels.sum() < len(labels):
            prevalence = prevalence or float(np.mean(labels))
            rocs.append(roc(system, labels, given, measured, study.settings.threshold))
            recalls.append(precision_recall(system, labels, given, measured, study.settings.threshold))
    both = [figures.roc(rocs), figures.precision_recall(recalls, prevalence)] if rocs else []
    return (*both, *diagrams)


def roc(system: System, labels: NDArray[np.int64], scores: NDArray[np.float64], measured: Facts, chosen: str) -> Curve:
    """ROC curve of a classifier, with dots at the threshold 0.5 and at the one named `chosen`."""
    false, found, _ = roc_curve(labels, scores)
    dots = tuple(
        Point(x=1 - b, y=a, title=f"{system.label}, {where}: sensitivity {a:.3f}, specificity {b:.3f}", open=is_open)
        for where, is_open, a, b in _dots(measured, ("sensitivity", "specificity"), chosen)
    )
    return Curve(system.look, _legend(system, "roc_auc", measured), false.tolist(), found.tolist(), dots)


def precision_recall(
    system: System, labels: NDArray[np.int64], scores: NDArray[np.float64], measured: Facts, chosen: str
) -> Curve:
    """Precision-recall curve of a classifier, with dots as `roc` has them."""
    recall, precision, _ = precision_recall_curve(labels, scores)
    recall, first = np.unique(recall, return_index=True)  # further thresholds of a recall only lose precision
    precision = precision[first][recall > 0]
    dots = tuple(
        Point(x=a, y=b, title=f"{system.label}, {where}: precision {b:.3f}, sensitivity {a:.3f}", open=is_open)
        for where, is_open, a, b in _dots(measured, ("sensitivity", "precision"), chosen)
    )
    label = _legend(system, "pr_auc", measured)
    return Curve(system.look, label, recall[recall > 0].tolist(), precision.tolist(), dots)


def _dots(measured: Facts, keys: tuple[str, str], chosen: str) -> Iterator[tuple[str, bool, float, float]]:
    """Name, whether it is open, and two metrics of each threshold that is marked, as far as they are defined."""
    for threshold, suffix in (("half", ""), (chosen, f"_at_{chosen}")):
        first, second = (measured.get(key + suffix, {}).get("value") for key in keys)
        if first is not None and second is not None:
            yield threshold_name(threshold), threshold == "half", first, second


def _legend(system: System, metric: str, measured: Facts) -> str:
    """Text of a system in a legend: its label, a metric with its interval, and n."""
    facts = measured.get(metric, {})
    shown = cell(facts)
    behind = f", n = {facts['n']:,}" if facts.get("n") is not None else ""
    return f"{system.label}: {name(metric)} {shown.text} {shown.interval}".rstrip() + behind


def _reliability(
    study: Study,
    system: System,
    measured: Facts,
    labels: NDArray[np.int64],
    given: NDArray[np.float64],
    calibrated: NDArray[np.float64] | None,
) -> Chart:
    """Reliability diagram of one classifier: its scores as given, and calibrated."""
    kinds = [(AS_GIVEN, "ece", given)] + ([] if calibrated is None else [(CALIBRATED, "ece_calibrated", calibrated)])
    curves = []
    for look, (kind, metric, scores) in enumerate(kinds):
        rows = reliability(labels, scores, study.settings.bins, study.settings.confidence)
        error = cell(measured.get(metric))
        points = tuple(
            Point(
                x=row["score"],
                y=row["fraction"],
                low=row["low"],
                high=row["high"],
                radius=3.5,
                title=f"{kind}: mean score {row['score']:.3f}, with a nodule {row['fraction']:.3f} "
                f"[{row['low']:.3f}, {row['high']:.3f}], {row['n']:.0f} images",
            )
            for row in rows
        )
        label = f"{kind}: calibration error {error.text} {error.interval}".rstrip()
        curves.append(Curve(look, label, [row["score"] for row in rows], [row["fraction"] for row in rows], points))
    return figures.reliability(curves, f"Reliability, {system.label}", "with a nodule")


def _scores(study: Study, table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Labels, scores and calibrated scores of the test images that the classification was measured on."""
    source = dict(zip(*(study.manifest[key].to_pylist() for key in ("image_id", "source")), strict=True))
    rows = [
        row
        for row in table.select(["image_id", "split", "label", "score", "score_calibrated"]).to_pylist()
        if row["split"] == "test" and row["label"] is not None and source[row["image_id"]] in study.settings.sources
    ]
    calibrated = [row["score_calibrated"] for row in rows]
    return (
        np.array([row["label"] for row in rows], np.int64),
        np.array([row["score"] for row in rows], np.float64),
        None if None in calibrated else np.array(calibrated, np.float64),
    )


def of_localizers(study: Study, images: Iterable[Record]) -> tuple[Chart, ...]:
    """FROC chart at each tolerance; none if no localizer gives confidences."""
    images, charts = list(images), []
    for near, fraction in (("tight", study.settings.tight), ("tolerant", study.settings.tolerant)):
        curves, drawn = [], False
        for system in study.localizers.values():
            measured = study.metrics["localization"].get(system.name, {}).get("test", {})
            curve = measured.get("froc", {}).get(near, {})
            if curve.get("cpm", {}).get("value") is not None:
                false, found = _froc(images, system.name, fraction)
                label = _legend(system, "cpm", curve)
                curves.append(Curve(system.look, label, false.tolist(), found.tolist(), _rates(system, curve)))
                drawn = True
                continue
            ends = [measured.get(near, {}).get(key, {}).get("value") for key in ("non_lesion_fraction", "recall")]
            if None not in ends:
                title = f"{system.label}: sensitivity {ends[1]:.3f} at {ends[0]:.3f} false points per image"
                label = f"{system.label}: no confidences, one operating point"
                points = (Point(x=ends[0], y=ends[1], title=title),)
                curves.append(Curve(system.look, label, [ends[0]], [ends[1]], points))
        if drawn:
            charts.append(figures.froc(curves, f"FROC, within {fraction:g} of the diagonal ({near})"))
    return tuple(charts)


def _rates(system: System, measured: Facts) -> tuple[Point, ...]:
    """Sensitivities at the fixed rates of false points, with their intervals."""
    points = []
    for key, (text, rate) in zip(FROC_NAMES, figures.RATES.items(), strict=True):
        shown = cell(measured.get(key))
        if shown.value is not None:
            whole = shown.low is not None and shown.high is not None
            title = f"{system.label}: sensitivity {shown.text} {shown.interval} at {text} false points"
            low, high = (shown.low, shown.high) if whole else (None, None)
            points.append(Point(x=rate, y=shown.value, title=title, radius=3, low=low, high=high))
    return tuple(points)


def _froc(images: Sequence[Record], localizer: str, fraction: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps of the FROC curve of a localizer on the test images that it was run on."""
    run = [f for f in images if f.split == "test" and localizer in f.answers and (f.points or f.label == 0)]
    confidences, verdicts = [np.zeros(0)], [np.zeros(0, np.int64)]
    for image in run:
        rows = image.ranked.get(localizer, ())
        predicted = np.array([(row["x"], row["y"]) for row in rows], np.float64).reshape(-1, 2)
        true = np.array([(row["x"], row["y"]) for row in image.points], np.float64).reshape(-1, 2)
        confidences.append(np.array([row["confidence"] for row in rows], np.float64))
        verdicts.append(froc.judge(predicted, confidences[-1], true, fraction * image.geometry.diagonal_px))
    points = sum(len(image.points) for image in run)
    return froc.curve(np.concatenate(confidences), np.concatenate(verdicts), len(run), points)

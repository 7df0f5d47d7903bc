"""Charts of the test split: ROC, precision and recall, reliability, FROC, each from the curves that were measured."""

from collections.abc import Iterator, Mapping

import numpy as np

from stages.lib.metrics import catalog
from stages.lib.metrics.curves import AS_GIVEN, CALIBRATED, Curve
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report import figures
from stages.lib.report.blocks import Chart, Point
from stages.lib.report.numbers import label, number
from stages.lib.report.systems import System
from stages.nodules.page.study import Study

Measured = Mapping[Key, Estimate]
KINDS = {AS_GIVEN: ("as given", Key("ece")), CALIBRATED: ("calibrated", Key("ece_calibrated"))}


def of_classifiers(study: Study) -> tuple[Chart, ...]:
    """ROC, precision-recall and reliability charts, as far as they are defined."""
    rocs, recalls, diagrams = [], [], []
    prevalence = 0.0
    for system in study.classifiers.values():
        measured = study.of("classification", system.name)
        kinds: dict[str, list[Curve]] = {}
        for curve in study.curves.get(Subject("classification", system.name, "test"), ()):
            kinds.setdefault(curve.curve, []).append(curve)
        rocs += [roc(system, curve, measured, study.settings.threshold) for curve in kinds.get("roc", ())]
        for curve in kinds.get("precision_recall", ()):
            prevalence = measured[Key("prevalence")].value or 0.0
            recalls.append(precision_recall(system, curve, measured, study.settings.threshold))
        if "reliability" in kinds:
            diagrams.append(_reliability(system, kinds["reliability"], measured))
    both = [figures.roc(rocs), figures.precision_recall(recalls, prevalence)] if rocs else []
    return (*both, *diagrams)


def roc(system: System, curve: Curve, measured: Measured, chosen: str) -> figures.Curve:
    """ROC curve of a classifier, with dots at the threshold 0.5 and at the one named `chosen`."""
    dots = tuple(
        Point(x=1 - b, y=a, title=f"{system.label}, {where}: sensitivity {a:.3f}, specificity {b:.3f}", open=is_open)
        for where, is_open, a, b in _dots(measured, ("sensitivity", "specificity"), chosen)
    )
    return figures.Curve(
        system.look, _legend(system, Key("roc_auc"), measured), curve.x.tolist(), curve.y.tolist(), dots
    )


def precision_recall(system: System, curve: Curve, measured: Measured, chosen: str) -> figures.Curve:
    """Precision-recall curve of a classifier, with dots as `roc` has them."""
    recall, first = np.unique(curve.x, return_index=True)  # further thresholds of a recall only lose precision
    precision = curve.y[first][recall > 0]
    dots = tuple(
        Point(x=a, y=b, title=f"{system.label}, {where}: precision {b:.3f}, sensitivity {a:.3f}", open=is_open)
        for where, is_open, a, b in _dots(measured, ("sensitivity", "precision"), chosen)
    )
    legend = _legend(system, Key("pr_auc"), measured)
    return figures.Curve(system.look, legend, recall[recall > 0].tolist(), precision.tolist(), dots)


def _dots(measured: Measured, metrics: tuple[str, str], chosen: str) -> Iterator[tuple[str, bool, float, float]]:
    """Name, whether it is open, and two metrics of each threshold that is marked, as far as they are defined."""
    for at in ("half", chosen):
        first, second = (measured.get(Key(metric, at), Estimate(value=None)).value for metric in metrics)
        if first is not None and second is not None:
            yield catalog.at_label(at), at == "half", first, second


def _legend(system: System, key: Key, measured: Measured) -> str:
    """Text of a system in a legend: its label, a metric with its interval, and n."""
    one = measured.get(key)
    shown = number(key, one)
    behind = f", n = {one.n:,}" if one and one.n is not None else ""
    return f"{system.label}: {label(key.metric)} {shown.text} {shown.interval}".rstrip() + behind


def _reliability(system: System, curves: list[Curve], measured: Measured) -> Chart:
    """Reliability diagram of one classifier: its scores as given, and calibrated."""
    drawn = []
    for look, curve in enumerate(curves):
        kind, key = KINDS[curve.at or AS_GIVEN]
        error = number(key, measured.get(key))
        columns = (curve.x, curve.y, curve.low, curve.high, curve.n)
        rows = zip(*(column.tolist() for column in columns if column is not None), strict=True)
        points = tuple(_bin(kind, *row) for row in rows)
        text = f"{kind}: calibration error {error.text} {error.interval}".rstrip()
        drawn.append(figures.Curve(look, text, curve.x.tolist(), curve.y.tolist(), points))
    return figures.reliability(drawn, f"Reliability, {system.label}", "with a nodule")


def _bin(kind: str, score: float, fraction: float, low: float, high: float, n: int) -> Point:
    behind = f"mean score {score:.3f}, with a nodule {fraction:.3f} [{low:.3f}, {high:.3f}], {n} images"
    return Point(x=score, y=fraction, low=low, high=high, radius=3.5, title=f"{kind}: {behind}")


def of_localizers(study: Study) -> tuple[Chart, ...]:
    """FROC chart at each tolerance; none if no localizer gives confidences."""
    charts = []
    for near, fraction in (("tight", study.settings.tight), ("tolerant", study.settings.tolerant)):
        curves, drawn = [], False
        for system in study.localizers.values():
            measured = study.of("localization", system.name)
            found = study.curves.get(Subject("localization", system.name, "test"), ())
            for curve in (curve for curve in found if curve.at == near):
                legend = _legend(system, Key("cpm", near), measured)
                points = _rates(system, measured, near)
                curves.append(figures.Curve(system.look, legend, curve.x.tolist(), curve.y.tolist(), points))
                drawn = True
            if not found:
                curves += _operating_point(system, measured, near)
        if drawn:
            across = ", across sources" if study.across() else ""
            charts.append(figures.froc(curves, f"FROC, within {fraction:g} of the diagonal ({near}){across}"))
    return tuple(charts)


def _operating_point(system: System, measured: Measured, near: str) -> list[figures.Curve]:
    """The one point of a localizer without confidences."""
    metrics = ("non_lesion_fraction", "recall")
    false, found = (measured.get(Key(metric, near), Estimate(value=None)).value for metric in metrics)
    if false is None or found is None:
        return []
    title = f"{system.label}: sensitivity {found:.3f} at {false:.3f} false points per image"
    text = f"{system.label}: no confidences, one operating point"
    return [figures.Curve(system.look, text, [false], [found], (Point(x=false, y=found, title=title),))]


def _rates(system: System, measured: Measured, near: str) -> tuple[Point, ...]:
    """Sensitivities at the fixed rates of false points, with their intervals."""
    points = []
    for name, rate in catalog.FALSE_POINT_RATES.items():
        key = Key("froc_sensitivity", f"{near}/{name}")
        shown = number(key, measured.get(key))
        if shown.value is not None:
            whole = shown.low is not None and shown.high is not None
            text = name.replace("_", "/")
            title = f"{system.label}: sensitivity {shown.text} {shown.interval} at {text} false points"
            low, high = (shown.low, shown.high) if whole else (None, None)
            points.append(Point(x=rate, y=shown.value, title=title, radius=3, low=low, high=high))
    return tuple(points)

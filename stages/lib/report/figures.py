"""The charts of the report: what each shows, from which columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.metrics.binary import precision_recall_curve, roc_curve
from stages.lib.metrics.froc import RATES
from stages.lib.metrics.localization_suite import FROC_NAMES
from stages.lib.report.charts import Axis, Chart, fitting_axis, steps, unit_axis
from stages.lib.report.numbers import MINUS, cell, decimal, name, threshold_name

FALSE_LEAST, FALSE_MOST = 1 / 16, 8.0  # false points per image at the ends of the axis of a FROC chart
MANY = 60  # points of a training curve that are drawn one by one


@dataclass(frozen=True)
class Curve:
    """One model on the images of one split.

    Attributes:
        labels: 0 or 1, shape (n,); both occur.
        scores: Shape (n,).
        measured: Its metrics, as metrics.json has them: the numbers of the legend, and the dots at thresholds.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    measured: Mapping[str, Any]


def roc(models: Mapping[str, Curve], chosen: str) -> Chart:
    """Return the ROC curves, with dots at the threshold 0.5 and at the one named `chosen`."""
    chart = Chart("ROC", unit_axis(f"1 {MINUS} specificity"), unit_axis("sensitivity"))
    chart.add_line([0, 1], [0, 1], "chance")
    for model, curve in models.items():
        alarms, hits, _ = roc_curve(curve.labels, curve.scores)
        chart.add_line(alarms.tolist(), hits.tolist(), model, legend(model, "roc_auc", curve.measured))
        for style, where, at in _dots(curve.measured, ("sensitivity", "specificity"), chosen):
            title = f"{name(model)}, {where}: sensitivity {at[0]:.3f}, specificity {at[1]:.3f}"
            chart.add_mark(1 - at[1], at[0], f"{model} {style}", title)
    return chart


def precision_recall(models: Mapping[str, Curve], chosen: str) -> Chart:
    """Return the precision-recall curves as staircases, with dots as `roc` has them."""
    chart = Chart("Precision and recall", unit_axis("sensitivity (recall)"), unit_axis("precision"))
    for model, curve in models.items():
        if not chart.lines:
            prevalence = float(np.mean(curve.labels))
            chart.add_line([0, 1], [prevalence, prevalence], "chance")
        recall, precision, _ = precision_recall_curve(curve.labels, curve.scores)
        recall, first = np.unique(recall, return_index=True)  # further thresholds of a recall only lose precision
        precision = precision[first][recall > 0]
        across, up = steps([0.0, *recall[recall > 0].tolist()], [*precision.tolist(), float(precision[-1])])
        chart.add_line(across, up, model, legend(model, "pr_auc", curve.measured))
        for style, where, at in _dots(curve.measured, ("sensitivity", "precision"), chosen):
            title = f"{name(model)}, {where}: precision {at[1]:.3f}, sensitivity {at[0]:.3f}"
            chart.add_mark(at[0], at[1], f"{model} {style}", title)
    return chart


def _dots(
    measured: Mapping[str, Any], keys: tuple[str, str], chosen: str
) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Yield style, name and two metrics of each threshold that is marked, as far as they are defined."""
    for threshold, suffix, style in (("half", "", "open"), (chosen, f"_at_{chosen}", "")):
        first, second = (measured.get(key + suffix, {}).get("value") for key in keys)
        if first is not None and second is not None:
            yield style, threshold_name(threshold), (first, second)


def legend(model: str, metric: str, measured: Mapping[str, Any]) -> str:
    """Return the text of a model in a legend: its name, a metric with its interval, and n."""
    facts = measured.get(metric, {})
    shown = cell(facts)
    behind = f", n = {facts['n']:,}" if facts.get("n") is not None else ""
    return f"{name(model)}: {name(metric)} {shown.text} {shown.interval}".rstrip() + behind


def reliability(model: str, bins: Mapping[str, Sequence[Mapping[str, float]]], measured: Mapping[str, Any]) -> Chart:
    """Return how often a nodule is there, against the score that was given.

    Args:
        model: Name of the model.
        bins: The bins, as `classification.reliability` has them, of "ece" (scores as given) and "ece_calibrated".
        measured: Metrics of the model, as metrics.json has them.
    """
    title = f"Reliability, {name(model).lower()}"
    chart = Chart(title, unit_axis("mean score of the bin"), unit_axis("fraction with a nodule"))
    chart.add_line([0, 1], [0, 1], "chance")
    for metric, rows in bins.items():
        style = "third" if metric == "ece" else model
        facts = cell(measured.get(metric))
        kind = "as given" if metric == "ece" else "calibrated"
        label = f"{kind}: calibration error {facts.text} {facts.interval}"
        chart.add_line([row["score"] for row in rows], [row["fraction"] for row in rows], style, label)
        for row in rows:
            text = (
                f"{kind}: mean score {row['score']:.3f}, with a nodule {row['fraction']:.3f} "
                f"[{row['low']:.3f}, {row['high']:.3f}], {row['n']:.0f} images"
            )
            chart.add_mark(row["score"], row["fraction"], style, text, radius=3.5, whisker=(row["low"], row["high"]))
    return chart


def training(curve: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str) -> Chart | None:
    """Return columns of the training curve against the step; None if none of them has a number.

    A column with more than 60 numbers is drawn faintly, with its running mean above.

    Args:
        curve: Rows of curve.csv; a missing value is None.
        columns: Columns shown.
        title: Title of the chart.
    """
    series = {
        column: [(float(row["step"]), float(row[column])) for row in curve if row.get(column) is not None]
        for column in columns
    }
    series = {column: pairs for column, pairs in series.items() if pairs}
    if not series:
        return None
    across = [step for pairs in series.values() for step, _ in pairs]
    up = [value for pairs in series.values() for _, value in pairs]
    chart = Chart(title, fitting_axis([0.0, *across], "optimizer step"), _value_axis(up, title.lower()))
    for (column, pairs), style in zip(series.items(), ("tuned", "second", "third", "zero_shot"), strict=False):
        steps_, values = [step for step, _ in pairs], [value for _, value in pairs]
        label = name(column)
        if len(pairs) > MANY:
            window = len(pairs) // 25
            chart.add_line(steps_, values, f"{style} faint")
            chart.add_line(steps_, running_mean(values, window), style, f"{label}, mean of {2 * window + 1} steps")
            continue
        chart.add_line(steps_, values, style, label)
        for step, value in pairs:
            chart.add_mark(step, value, style, f"step {step:,.0f}: {label} {decimal(value)}", radius=2.5)
    return chart


@dataclass(frozen=True)
class Froc:
    """One localizer at one tolerance, on the test images.

    Attributes:
        style: Its CSS class.
        false: False points per image at each step of the curve, rising; None if it gives no confidence.
        found: Sensitivity at each step; None likewise.
        measured: Sensitivities at fixed rates and their mean, as metrics.json has them; empty without a curve.
        point: False points per image and recall of all its points together; None if they are not defined.
    """

    style: str
    false: NDArray[np.float64] | None
    found: NDArray[np.float64] | None
    measured: Mapping[str, Any]
    point: tuple[float, float] | None


def froc(localizers: Mapping[str, Froc], title: str) -> Chart:
    """Return sensitivity against false points per image: a curve with confidences, one dot without.

    The dots of a curve are the rates of metrics.json, with their intervals. What lies beyond an end of the axis is
    drawn at that end; the tooltip has the true number.
    """
    texts = ("1/8", "1/4", "1/2", "1", "2", "4", "8")
    ticks = tuple(float(value) for value in np.log2(RATES))
    axis = Axis(float(np.log2(FALSE_LEAST)), ticks[-1], ticks, "false points per image (logarithmic)", texts)
    chart = Chart(title, axis, unit_axis("sensitivity"))
    for localizer, one in localizers.items():
        if one.false is not None and one.found is not None:
            false = np.append(one.false, FALSE_MOST)
            found = np.append(one.found, one.found[one.false <= FALSE_MOST].max())
            shown = false <= FALSE_MOST
            across, up = steps(_on_axis(false[shown]), found[shown].tolist())
            chart.add_line(across, up, one.style, legend(localizer, "cpm", one.measured))
            for key, rate, text in zip(FROC_NAMES, RATES, texts, strict=True):
                shown_at = cell(one.measured.get(key))
                if shown_at.value is not None:
                    words = f"{name(localizer)}: sensitivity {shown_at.text} {shown_at.interval} at {text} false points"
                    ends = None if shown_at.low is None or shown_at.high is None else (shown_at.low, shown_at.high)
                    chart.add_mark(float(np.log2(rate)), shown_at.value, one.style, words, radius=3, whisker=ends)
        elif one.point is not None:
            words = f"{name(localizer)}: sensitivity {one.point[1]:.3f} at {one.point[0]:.3f} false points per image"
            x = _on_axis(np.array([one.point[0]]))[0]
            chart.add_line([x], [one.point[1]], one.style, f"{name(localizer)}: no confidences, one operating point")
            chart.add_mark(x, one.point[1], one.style, words)
    return chart


def _on_axis(false: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.log2(np.clip(false, FALSE_LEAST, FALSE_MOST))]


def running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Return the mean of each value with up to `reach` neighbours on either side.

    >>> running_mean([0.0, 3.0, 6.0], 1)
    [1.5, 3.0, 4.5]
    """
    return [float(np.mean(values[max(k - reach, 0) : k + reach + 1])) for k in range(len(values))]


def _value_axis(values: Sequence[float], title: str) -> Axis:
    """Return an axis that holds `values`, from 0 unless they are all far from it."""
    low, high = min(values), max(values)
    return fitting_axis([0.0 if 0 <= low < 0.5 * high else low, high], title)

"""Curves of classifiers and localizers, as the report draws them: ROC, precision and recall, reliability, FROC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import tables
from stages.lib.metrics import binary, froc
from stages.lib.metrics import localization_suite as suite
from stages.lib.metrics.binary_suite import Scored
from stages.lib.metrics.localization_suite import Examined
from stages.lib.metrics.measures import Subject

AS_GIVEN, CALIBRATED = "as_given", "calibrated"
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One curve.

    Attributes:
        curve: Its kind, as in `tables.CURVES`.
        at: Tolerance of a FROC curve, or kind of score of a reliability diagram; None without one.
        x: Shape (n,).
        y: Shape (n,).
        low: Lower ends of y's intervals, shape (n,); None without intervals.
        high: Upper ends.
        n: Images of each bin, shape (n,); None without bins.
        threshold: Least score or confidence at each point, shape (n,); infinite where nothing is positive.
    """

    curve: str
    at: str | None = None
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    n: NDArray[np.int64] | None = None
    threshold: Floats | None = None


def of_classifier(images: Scored, bins: int, confidence: float) -> list[Curve]:
    """ROC and precision-recall curve of the scores as given, and reliability of these and the calibrated ones.

    A curve that is not defined on these images is left out.

    Args:
        images: Labels and scores.
        bins: Bins of the reliability diagram.
        confidence: Of its intervals.
    """
    made = []
    if 0 < images.labels.sum() < len(images.labels):
        false, found, steps = binary.roc_curve(images.labels, images.evidence)
        made.append(Curve(curve="roc", x=false, y=found, threshold=_scores_at(images, steps)))
        recall, precision, steps = binary.precision_recall_curve(images.labels, images.evidence)
        made.append(Curve(curve="precision_recall", x=recall, y=precision, threshold=_scores_at(images, steps)))
    for at, scores in ((AS_GIVEN, images.scores), (CALIBRATED, images.calibrated)):
        if scores is not None and len(scores):
            rows = binary.reliability(images.labels, scores, bins, confidence)
            x, y, low, high = (
                np.array([row[name] for row in rows], np.float64) for name in ("score", "fraction", "low", "high")
            )
            n = np.array([row["n"] for row in rows], np.int64)
            made.append(Curve(curve="reliability", at=at, x=x, y=y, low=low, high=high, n=n))
    return made


def _scores_at(images: Scored, steps: Floats) -> Floats:
    """Score of an image of each step of a ranking; infinite before the first. Steps may share a score near 1."""
    order = np.argsort(images.evidence, kind="stable")
    place = np.searchsorted(images.evidence[order], steps)
    return np.append(images.scores[order], np.inf)[place]


def of_localizer(examined: Sequence[Examined], tolerances: Mapping[str, float]) -> list[Curve]:
    """FROC curve at each tolerance; none where a prediction has no confidence, or no image has a nodule.

    Args:
        examined: Images of one evaluation set.
        tolerances: Fraction of the diagonal, by name.
    """
    confidences = np.concatenate([np.zeros(0), *(one.confidence for one in examined)])
    points = sum(len(one.image.points) for one in examined)
    if suite.no_curve(confidences) is not None or not points:
        return []
    made = []
    for name, fraction in tolerances.items():
        false, found = froc.curve(confidences, suite.judged(examined, fraction)[0], len(examined), points)
        thresholds = np.append(np.inf, np.unique(confidences)[::-1])
        made.append(Curve(curve="froc", at=name, x=false, y=found, threshold=thresholds))
    return made


def table(chapter: str, curves: Mapping[Subject, Sequence[Curve]]) -> pa.Table:
    """Table `tables.CURVES` of one chapter."""
    parts = []
    for subject, several in curves.items():
        for curve in several:
            steps = len(curve.x)
            same: dict[str, str | None] = {
                "chapter": chapter,
                "task": subject.task,
                "system": subject.system,
                "subset": subject.subset,
            }
            same |= {"curve": curve.curve, "at": curve.at}
            columns = {name: pa.array([value] * steps, pa.string()) for name, value in same.items()}
            columns["step"] = pa.array(np.arange(steps))
            for name in ("x", "y", "low", "high", "threshold"):
                columns[name] = _column(getattr(curve, name), steps)
            columns["n"] = pa.nulls(steps, pa.int64()) if curve.n is None else pa.array(curve.n)
            parts.append(pa.table([columns[name] for name in tables.CURVES.names], schema=tables.CURVES.arrow))
    return tables.check(pa.concat_tables([tables.CURVES.arrow.empty_table(), *parts]), tables.CURVES)


def _column(values: Floats | None, steps: int) -> pa.Array:
    """Numbers of a column; null where there are none, or where one is infinite."""
    if values is None:
        return pa.nulls(steps, pa.float64())
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def from_table(found: pa.Table) -> dict[Subject, list[Curve]]:
    """Curves of a table `tables.CURVES` of one chapter; a threshold that is null is infinite."""
    made: dict[Subject, list[Curve]] = {}
    groups: dict[tuple[Subject, str, str | None], list[int]] = {}
    names = [found[name].to_pylist() for name in ("task", "system", "subset", "curve", "at")]
    for row, (task, system, subset, curve, at) in enumerate(zip(*names, strict=True)):
        groups.setdefault((Subject(task, system, subset), curve, at), []).append(row)
    numbers = {name: found[name].to_numpy() for name in ("x", "y", "low", "high", "n", "threshold")}
    for (subject, curve, at), rows in groups.items():
        values = {name: column[rows] for name, column in numbers.items()}
        binned = not np.isnan(values["n"].astype(float)).any()
        made.setdefault(subject, []).append(
            Curve(
                curve=curve,
                at=at,
                x=values["x"],
                y=values["y"],
                low=values["low"] if binned else None,
                high=values["high"] if binned else None,
                n=values["n"].astype(np.int64) if binned else None,
                threshold=None if binned else np.nan_to_num(values["threshold"], nan=np.inf),
            )
        )
    return made

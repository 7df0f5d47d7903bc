"""Source probe: how much of the source, and of the label, is told by what has no anatomy in it.

A logistic regression sees the histogram of an image's grey values, its size and its bit depth, and no shape; it is
fitted on the training split and measured on the test split. A second one sees no pixel: size, bit depth, and sex, age
and view where they are known. Where the label can be told from these, a model may have learned them in the place of
nodules.

Source: Zech et al. (PLoS Medicine, 2018) and DeGrave et al. (Nature Machine Intelligence, 2021) for what such shortcuts
    do. The features and the regression are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.lib.core import tables
from stages.lib.core.errors import UndefinedMetricError
from stages.lib.metrics import binary
from stages.lib.metrics.bootstrap import Outcome, attempt, replicate
from stages.lib.metrics.measures import Estimate, Key, Measures, Subject, estimates

TASK = "probe"
GREY, METADATA = "grey_values", "metadata"  # systems: what the regression sees
COHORT, ALL = "cohort", "all"  # images: of the sources that classifiers are trained on, or of all sources
SOURCE_AUC, LABEL_AUC = Key("probe_source_auc"), Key("probe_label_auc")
SIZE = ("width_px", "height_px", "bit_depth")
NUMBERS = (*SIZE, "age_years")  # columns of the manifest, those that are there
WORDS = ("sex", "view")
BINS = 64  # of `tables.NORMALIZED`, histogram
FITTED, MEASURED = "train", "test"
PENALTY = 0.1  # C of scikit-learn: with 64 bins and few images, less of it fits noise
ALIKE = 0.95  # ROC AUC of the source from which sources count as told apart
UNLIKE = 0.1  # difference of the fractions of images with a nodule from which sources differ

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Intervals: resamples of patients, their seed, and the confidence."""

    draws: int
    seed: int
    confidence: float


def images(split: pa.Table, manifest: pa.Table, normalized: pa.Table) -> pa.Table:
    """Labelled images of the split with everything that a probe may look at.

    Args:
        split: Table `tables.SPLIT`.
        manifest: Table `tables.MANIFEST`.
        normalized: Table `tables.NORMALIZED`.
    """
    there = [name for name in (*NUMBERS, *WORDS) if name in manifest.column_names]
    return tables.lookup(tables.lookup(split, manifest, ["source", *there]), normalized, ["histogram"])


def measure(rows: pa.Table, sources: Sequence[str], settings: Settings) -> Measures:
    """ROC AUC of each probe on test images, with its interval over patients.

    Args:
        rows: As `images` gives them.
        sources: Sources of the cohort: those that classifiers are trained and measured on.
        settings: How the intervals are made.

    Returns:
        Of `GREY`, on `ALL`, the AUC of the source; of `GREY` and of `METADATA`, on `ALL` and on `COHORT`, the AUC of
        the label. The source is the most frequent one of the training images against the rest.
    """
    in_cohort = rows.filter(pc.is_in(rows["source"], pa.array(sources, pa.string())))
    found: dict[Subject, dict[Key, Estimate]] = {}
    for subset, part in ((ALL, rows), (COHORT, in_cohort)):
        labels = np.array(part["label"].to_pylist(), np.int64)
        for system, features in ((GREY, grey_values(part)), (METADATA, metadata(part))):
            measured = {LABEL_AUC: auc(features, labels, part, settings, "images with and without a nodule")}
            if (system, subset) == (GREY, ALL):
                wanted = "images of two sources"
                measured = {SOURCE_AUC: auc(features, _first_source(part), part, settings, wanted), **measured}
            found[Subject(TASK, system, subset)] = measured
    return found


def auc(features: Floats | None, targets: NDArray[np.int64], rows: pa.Table, settings: Settings, what: str) -> Estimate:
    """ROC AUC, on the test images, of a logistic regression that was fitted on the training images.

    Args:
        features: Shape (n, d); None if they are not known.
        targets: 0 or 1, shape (n,).
        rows: With split and patient_id of the n images.
        settings: How the interval is made.
        what: What both classes are, for the reason why there is none.
    """
    split = np.array(rows["split"].to_pylist(), str)
    fitted, measured = split == FITTED, split == MEASURED
    patients = np.array(rows["patient_id"].to_pylist(), str)[measured]
    y = targets[measured]
    facts = {"n": len(y), "n_patients": len(set(patients.tolist()))}
    if what.endswith("nodule"):
        facts["n_positive"] = int(y.sum())
    missing = [name for name, part in ((FITTED, targets[fitted]), (MEASURED, y)) if len(np.unique(part)) < 2]
    if features is None:
        return Estimate(value=None, **facts, reason="the histogram, size or bit depth of some images is not known")
    if missing:
        return Estimate(value=None, **facts, reason=f"wanted {what} in the splits {FITTED} and {MEASURED}")
    ranking = binary.Ranking(y, _scores(features, targets, fitted)[measured])

    def area(weights: NDArray[Any]) -> dict[str, Outcome]:
        if len(np.unique(y[weights > 0])) < 2:
            return {"auc": UndefinedMetricError("the resample has one class")}
        return {"auc": attempt(ranking.roc_auc, weights)}

    draws = replicate(area, patients, draws=settings.draws, seed=settings.seed)
    return estimates(area(np.ones(len(y))), draws, facts, confidence=settings.confidence)["auc"]


def grey_values(rows: pa.Table) -> Floats | None:
    """Features without any shape: square root of the fraction of pixels in each of 64 bins, size and bit depth.

    Returns:
        Shape (n, 68): 64 bins; width, height, bit depth, the logarithm of width by height.
        None if a histogram or a size is missing.
    """
    if any(rows[name].null_count for name in ("histogram", *SIZE)):
        return None
    counts = np.array(rows["histogram"].to_pylist(), np.float64).reshape(rows.num_rows, BINS)
    size = _numbers(rows, SIZE)
    ratio = np.log(size[:, :1] / size[:, 1:2])
    features: Floats = np.hstack([np.sqrt(counts / counts.sum(1, keepdims=True)), size, ratio])
    return features


def metadata(rows: pa.Table) -> Floats:
    """Features that need no pixel: `NUMBERS`, each value of `WORDS`, and whether each of them is known.

    Returns:
        Shape (n, d); columns that the table does not have are left out.
    """
    numbers = _numbers(rows, [name for name in NUMBERS if name in rows.column_names])
    known = ~np.isnan(numbers)
    columns = [np.where(known, numbers, 0.0), known.astype(np.float64)]
    for name in (name for name in WORDS if name in rows.column_names):
        values = np.array([str(value) for value in rows[name].to_pylist()], str)
        columns.append((values[:, None] == np.unique(values)).astype(np.float64))
    return np.hstack(columns)


def warnings(measures: Measures, rows: pa.Table, sources: Sequence[str]) -> list[str]:
    """A sentence where grey values tell the source, and sources differ in how many images have a nodule.

    Args:
        measures: As `measure` gives them.
        rows: As `images` gives them.
        sources: Sources of the cohort.
    """
    area = measures.get(Subject(TASK, GREY, ALL), {}).get(SOURCE_AUC)
    if area is None or area.value is None or area.value < ALIKE:
        return []
    of_each = prevalences(rows)
    fractions = {source: positive / n for source, (positive, n) in of_each.items()}
    if max(fractions.values()) - min(fractions.values()) < UNLIKE:
        return []
    counts = ", ".join(f"{positive} of {n} images of {source}" for source, (positive, n) in of_each.items())
    where = " and ".join(sources)
    return [
        f"Grey values, size and bit depth alone tell the source of an image (ROC AUC {area.value:.2f}), and sources "
        f"differ in how many images have a nodule ({counts}). Numbers across sources may measure the source in the "
        f"place of the nodule; classifiers are trained and measured on images of {where}."
    ]


def prevalences(rows: pa.Table) -> Mapping[str, tuple[int, int]]:
    """Images with a nodule, and all images, of each source in alphabetical order."""
    sources, labels = np.array(rows["source"].to_pylist(), str), np.array(rows["label"].to_pylist(), np.int64)
    return {str(one): (int(labels[sources == one].sum()), int((sources == one).sum())) for one in np.unique(sources)}


def _first_source(rows: pa.Table) -> NDArray[np.int64]:
    """1 for images of the most frequent source of the training images, the first by name among equals; else 0."""
    sources = np.array(rows["source"].to_pylist(), str)
    names, counts = np.unique(sources[np.array(rows["split"].to_pylist(), str) == FITTED], return_counts=True)
    return (sources == (names[counts.argmax()] if len(names) else "")).astype(np.int64)


def _numbers(rows: pa.Table, names: Sequence[str]) -> Floats:
    columns = [np.array(rows[name].to_pylist(), np.float64) for name in names]
    return np.stack(columns, 1) if columns else np.zeros((rows.num_rows, 0))


def _scores(features: Floats, targets: NDArray[np.int64], fitted: NDArray[np.bool_]) -> Floats:
    """Logits of all images, of a regression with a ridge penalty on features scaled by the training images."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = features[fitted].mean(0), features[fitted].std(0)
    scaled = (features - middle) / np.where(spread > 1e-9, spread, 1.0)
    scaled[:, spread <= 1e-9] = 0.0  # what no training image varies in says nothing
    model = LogisticRegression(C=PENALTY, max_iter=2000).fit(scaled[fitted], targets[fitted])
    # Equal features give equal scores: without this, the last bits of a sum would order them.
    logits: Floats = model.decision_function(scaled)
    return logits.round(9)

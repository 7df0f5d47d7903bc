"""A probe: logistic regression on frozen features, standardized.

Which statistics over the patch tokens it sees, the strength of its penalty and the weights of the classes are chosen on
validation images by average precision. Where the images are seen at several places, there are two ways: by `logits`,
each place of a training image is a sample, and the logits of an image's places are averaged, as for every other kind
of row; by `features`, the statistics are taken over the tokens of all places together.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.core.progress import track
from stages.lib.learn import logistic, pooled_features
from stages.lib.learn.candidate import Fitted, Inputs, Scores, Setting, Tried, of_one
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models import token_statistics
from stages.lib.models.backbone import BackboneParams, Row

READS = "features"
FILE = "probe.json"
Places = Literal["logits", "features"]
Features = Mapping[str, NDArray[np.float16]]


@params.section
class Params(Row, BackboneParams):
    """What is tried on validation images."""

    pool: tuple[params.Text, ...]  # statistics side by side: mean, largest, smallest, deviation, prefix, joined by +
    strengths: tuple[params.PositiveFloat, ...]  # inverse strengths of the penalty, C of scikit-learn
    class_weight: tuple[Literal["none", "balanced"], ...]  # balanced: both classes weigh the same
    places: tuple[Places, ...]  # what is joined over an image's places: its logits, or its features

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        BackboneParams.__post_init__(self)
        wrong = [*pooled_features.problems(self.pool)]
        wrong += [
            f"{name} that is empty, wanted one or more"
            for name in ("strengths", "class_weight", "places")
            if not getattr(self, name)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))


@params.section
class Head:
    """A fitted probe, probe.json."""

    written_by: ClassVar[str] = "zoo.fit"

    pool: params.Text
    places: Places
    centre: tuple[float, ...]  # of each feature, on training images
    scale: tuple[float, ...]
    weights: tuple[float, ...]  # of the standardized features
    bias: float


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Fit every combination on training images, and keep the one that is best on validation images.

    Raises:
        ModelError: If features are missing or do not vary.
        TrainingError: If no fit ends in finite numbers.
    """
    tried: list[Tried] = []
    best: tuple[float, Head, str] | None = None
    notes: list[str] = []
    ways = params.places if params.shifts > 1 else params.places[:1]  # of one place they are the same
    pairs = [(pool, places) for pool in params.pool for places in ways]
    for pool, places in track(pairs, total=len(pairs), what="probes"):
        for option, head, precision, converged in _of(params, setting, pool, places):
            tried.append(Tried(option=option, average_precision=precision, note="" if converged else "not converged"))
            if not converged:
                notes.append(f"{option}: the fit did not converge in {logistic.ITERATIONS} iterations")
            if precision is not None and (best is None or precision > best[0]):
                best = (precision, head, option)
    if best is None:
        raise TrainingError(
            f"{setting.row}: average precision is undefined on the validation images for all {len(tried)} options "
            "tried; wanted validation images of both classes"
        )
    _, head, chosen = best
    documents.write(folder / FILE, head)
    return Fitted(
        tried=tuple(tried),
        chosen=chosen,
        trained_parameters=len(head.weights) + 1,
        passes=params.shifts**2,
        notes=tuple(notes),
    )


def _of(params: Params, setting: Setting, pool: str, places: Places) -> Iterator[tuple[str, Head, float | None, bool]]:
    """Options of one pooling: what each is called, the head, its average precision and whether it converged."""
    train = setting.train
    if train is None or train.labels is None or setting.images.labels is None:
        raise TrainingError(f"{setting.row}: wanted training and validation images with labels")
    if len(np.unique(train.labels)) < 2:
        raise TrainingError(f"{setting.row}: found training images of one class, wanted both")
    samples, labels, owners = _samples(train, pool, places, setting.row)
    centre, scale = pooled_features.spread(samples)
    pooled_features.standardized(samples, centre, scale)
    if not samples.any():
        raise ModelError(f"{setting.row}: all features of pool {pool} are constant, wanted features that vary")
    seen, _, images = _samples(setting.images, pool, places, setting.row)
    pooled_features.standardized(seen, centre, scale)
    for weight in params.class_weight:
        fits = dict(_regressions(samples, labels, owners, sorted(params.strengths), weight))
        for strength in params.strengths:
            found = fits[strength]
            logits = _means(_products(seen, found.weights.astype(np.float64)) + found.bias, images, len(setting.images))
            precision = None
            if np.isfinite(logits).all() and len(np.unique(setting.images.labels)) == 2:
                precision = binary.average_precision(setting.images.labels, logits)
            head = Head(
                pool=pool,
                places=places,
                centre=tuple(map(float, centre)),
                scale=tuple(map(float, scale)),
                weights=tuple(map(float, found.weights)),
                bias=found.bias,
            )
            option = f"pool {pool}, places {places}, class weight {weight}, C {strength:g}"
            yield option, head, precision, found.converged


def _samples(
    images: Inputs, pool: str, places: Places, row: str
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.intp]]:
    """Features of samples, their labels (empty of images to be scored), and the number of the image of each."""
    if images.features is None:
        raise ModelError(f"{row}: found no features, wanted those of zoo.embed")
    own: Features = images.features
    used = {name: own[name] for name in {*pool.split("+"), *(("mean",) if "deviation" in pool else ())}}
    count, number = next(iter(used.values())).shape[:2]
    if places == "features" or number == 1:
        flat: Mapping[str, Any] = (
            token_statistics.over_places(used) if number > 1 else {name: found[:, 0] for name, found in used.items()}
        )
        owners = np.arange(count)
    else:
        flat = {name: found.reshape(count * number, -1) for name, found in used.items()}
        owners = np.repeat(np.arange(count), number)
    labels = images.labels[owners] if images.labels is not None else np.zeros(0, np.int64)
    return pooled_features.matrix(flat, pool, row), labels, owners


def _regressions(
    samples: NDArray[np.float32],
    labels: NDArray[np.int64],
    owners: NDArray[np.intp],
    strengths: list[float],
    class_weight: str,
) -> Iterator[tuple[float, logistic.Solution]]:
    """Logistic regressions from the strongest penalty to the weakest, each from where the last one ended.

    An image weighs 1, however many places it is seen at.
    """
    counts = np.full(len(samples), 1.0 / np.bincount(owners).max())
    if class_weight == "balanced":
        counts = logistic.balanced(labels, counts)
    found = None
    for strength in strengths:
        found = logistic.fit(samples, labels, counts, strength, found)
        yield strength, found


def _means(values: NDArray[Any], owners: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Mean of the logits of each image's places, shape (images,)."""
    total = np.bincount(owners, values.astype(np.float64), count)
    return np.asarray(total / np.bincount(owners, minlength=count), np.float64)


def logits(setting: Setting, folder: Path) -> NDArray[np.float64]:
    """Logit of each image, the mean over its places, shape (n,).

    Raises:
        DocumentError: If the probe is not there or not whole.
        ModelError: If it was fitted to other features.
    """
    head = documents.read(folder / FILE, Head)
    samples, _, owners = _samples(setting.images, head.pool, head.places, setting.row)
    if samples.shape[1] != len(head.weights):
        raise ModelError(
            f"{setting.row}: found {samples.shape[1]} features, wanted {len(head.weights)}, as it was fitted to; run "
            "zoo.fit of this row again"
        )
    pooled_features.standardized(samples, np.array(head.centre, np.float32), np.array(head.scale, np.float32))
    return _means(_products(samples, np.array(head.weights)) + head.bias, owners, len(setting.images))


def _products(samples: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the weighted features of each sample, the same bits whatever other samples stand beside it.

    A product of matrices would round by the number of samples, and so by how images are cut into shards.
    """
    found = np.empty(len(samples))
    for start in range(0, len(samples), pooled_features.BLOCK):
        block = samples[start : start + pooled_features.BLOCK]
        found[start : start + len(block)] = (block * weights).sum(axis=1)
    return found


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Probability of a nodule, of each image, and the logits behind it. Raises as `logits`."""
    found = logits(setting, folder)
    return Scores(score=sigmoid(found), logits=of_one(found))

"""The most alike training images: k nearest by the cosine of frozen features, their labels weighted by it.

Features are standardized on training images first: without it, cosines of natural encoders crowd near 1. No image is
compared with one of its own patient. At each of an image's places it is compared with training images at the same
place, and the scores of the places are averaged.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.core.progress import track
from stages.lib.learn import pooled_features
from stages.lib.learn.candidate import Fitted, Inputs, Scores, Setting, Tried
from stages.lib.metrics import binary
from stages.lib.models import search as nearest
from stages.lib.models.backbone import BackboneParams, Row

READS = "features"
FILE, VECTORS = "knn.json", "vectors.safetensors"


@params.section
class Params(Row, BackboneParams):
    """What is tried on validation images."""

    pool: tuple[params.Text, ...]  # as of a probe
    k: tuple[params.Count, ...]  # training images whose labels count

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        BackboneParams.__post_init__(self)
        wrong = [*pooled_features.problems(self.pool), *([] if self.k else ["k that is empty, wanted one or more"])]
        if wrong:
            raise ValueError("; ".join(wrong))


@params.section
class Index:
    """Training images that may be found, knn.json; their vectors lie beside it."""

    written_by: ClassVar[str] = "zoo.fit"

    pool: params.Text
    k: params.Count
    patients: tuple[str, ...]
    labels: tuple[int, ...]


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Keep the training images, and choose pooling and k on validation images.

    Raises:
        ModelError: If features are missing or do not vary.
        TrainingError: If there is no training image, or average precision is undefined on validation images.
    """
    train, val = setting.train, setting.images
    if train is None or train.labels is None or val.labels is None or not len(train):
        raise TrainingError(f"{setting.row}: wanted training and validation images with labels")
    tried: list[Tried] = []
    best: tuple[float, str, int, str] | None = None
    for pool in track(params.pool, total=len(params.pool), what="neighbours"):
        centre, scale = _scaling(train, pool, setting.row)
        index, queries = (_vectors(images, pool, centre, scale, setting.row) for images in (train, val))
        found = search(queries, val.patients, index, train.patients, train.labels, params.k)
        for k, scores in zip(params.k, found, strict=True):
            known = len(np.unique(val.labels)) == 2
            precision = binary.average_precision(val.labels, scores) if known else None
            option = f"pool {pool}, k {k}"
            tried.append(Tried(option=option, average_precision=precision))
            if precision is not None and (best is None or precision > best[0]):
                best = (precision, pool, k, option)
    if best is None:
        raise TrainingError(
            f"{setting.row}: average precision is undefined on the validation images, wanted both classes"
        )
    _, pool, k, chosen = best
    centre, scale = _scaling(train, pool, setting.row)
    vectors = _vectors(train, pool, centre, scale, setting.row)
    _save(folder, vectors, centre, scale)
    labels = tuple(map(int, train.labels))
    documents.write(folder / FILE, Index(pool=pool, k=k, patients=tuple(map(str, train.patients)), labels=labels))
    return Fitted(tried=tuple(tried), chosen=chosen, trained_parameters=0, passes=params.shifts**2)


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Weighted fraction of positive neighbours, of each image.

    Raises:
        DocumentError: If the index is not there or not whole.
        ModelError: If its vectors are damaged, or of other features.
    """
    told = documents.read(folder / FILE, Index)
    vectors, centre, scale = _load(folder, setting.row)
    queries = _vectors(setting.images, told.pool, centre, scale, setting.row)
    patients, labels = np.array(told.patients, str), np.array(told.labels, np.int64)
    [found] = search(queries, setting.images.patients, vectors, patients, labels, (told.k,))
    return Scores(score=found)


def search(
    queries: NDArray[np.floating[Any]],
    query_patients: NDArray[Any],
    index: NDArray[np.floating[Any]],
    patients: NDArray[Any],
    labels: NDArray[np.int64],
    ks: tuple[int, ...],
) -> list[NDArray[np.float64]]:
    """Scores of images by their nearest neighbours, for several k, shape (n,) each, in [0, 1].

    Args:
        queries: Vectors of length 1, shape (n, places, d).
        query_patients: Patient of each, shape (n,).
        index: Vectors of length 1 that may be found, shape (m, places, d).
        patients: Patient of each, shape (m,).
        labels: Of each, 0 or 1, shape (m,).
        ks: Neighbours that count; fewer where fewer are there.

    Raises:
        TrainingError: If an image has no neighbour of another patient.
    """
    own = nearest.pairs_of_equal(query_patients.tolist(), patients.tolist())
    left = len(index) - np.bincount(own[:, 0], minlength=len(queries))
    if len(queries) and left.min() < 1:
        raise TrainingError("an image has no training image of another patient, wanted one or more")
    scores = [np.zeros(len(queries)) for _ in ks]
    reach = np.minimum(left, max(ks))  # fewer than k of an image alone whose patient has most of the training images
    for most in np.unique(reach):
        some = np.flatnonzero(reach == most)
        place_of = np.full(len(queries), -1)
        place_of[some] = np.arange(len(some))
        blocked = np.stack([place_of[own[:, 0]], own[:, 1]], axis=1)
        blocked = blocked[blocked[:, 0] >= 0]
        for place in range(queries.shape[1]):
            found = nearest.search(queries[some, place], index[:, place], int(most), blocked=blocked)
            weight = np.maximum(found.similarities, 0.0)
            weight[weight.max(axis=1) == 0] = 1.0  # nothing is alike: each counts the same
            for number, k in enumerate(ks):
                voted = (weight[:, :k] * labels[found.places[:, :k]]).sum(axis=1)
                scores[number][some] += voted / weight[:, :k].sum(axis=1)
    return [one / queries.shape[1] for one in scores]  # divided once: nine ninths add up to more than 1


def _raw(images: Inputs, pool: str, row: str) -> NDArray[np.float32]:
    """Features of a pooling at each place, shape (n, places, d)."""
    if images.features is None:
        raise ModelError(f"{row}: found no features, wanted those of zoo.embed")
    used = {name: images.features[name] for name in pool.split("+")}
    count, places = next(iter(used.values())).shape[:2]
    flat = {name: found.reshape(count * places, -1) for name, found in used.items()}
    return pooled_features.matrix(flat, pool, row).reshape(count, places, -1)


def _scaling(images: Inputs, pool: str, row: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre and spread of the features of training images, all places together.

    Raises:
        ModelError: If no feature varies: no image would lie in any direction from the centre.
    """
    raw = _raw(images, pool, row)
    if (raw == raw[:1, :1]).all():
        raise ModelError(f"{row}: all features of pool {pool} are constant, wanted features that vary")
    return pooled_features.spread(raw.reshape(-1, raw.shape[-1]))


def _vectors(
    images: Inputs, pool: str, centre: NDArray[np.float32], scale: NDArray[np.float32], row: str
) -> NDArray[np.float32]:
    """Standardized features of length 1, float32 of shape (n, places, d)."""
    raw = _raw(images, pool, row)
    if raw.shape[-1] != len(centre):
        raise ModelError(f"{row}: found {raw.shape[-1]} features, wanted {len(centre)}; run zoo.fit of this row again")
    pooled_features.standardized(raw.reshape(-1, raw.shape[-1]), centre, scale)
    length = np.linalg.norm(raw, axis=-1, keepdims=True)
    return np.asarray(raw / np.maximum(length, 1e-12), np.float32)


def _save(folder: Path, vectors: NDArray[np.float32], centre: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
    from safetensors.numpy import save_file

    save_file({"vectors": vectors, "centre": centre, "scale": scale}, folder / VECTORS)


def _load(folder: Path, row: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Vectors, centre and spread.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(folder / VECTORS)
        return found["vectors"], found["centre"], found["scale"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{row}: {folder / VECTORS}: damaged ({error}); run zoo.fit of this row again") from error

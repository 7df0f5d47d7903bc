"""How well predicted points find the nodules of images that have them, and what they do on negative ones."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.core.lengths import diagonal_px
from stages.lib.metrics.bootstrap import Outcome, attempt
from stages.lib.metrics.matching import distances, match_many
from stages.lib.metrics.ratios import f1_score, ratio


@dataclass(frozen=True)
class Field:
    """Part of an image in which points of the random-placement baseline are thrown, as equal squares.

    Attributes:
        corners: Upper left corner of each square, x and y, shape (k, 2), pixels of the original; k is at least 1.
        side_px: Side of a square, pixels of the original.
    """

    corners: NDArray[np.float64]
    side_px: float

    def throw(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Points spread evenly over the field: x and y, shape (*shape, 2)."""
        chosen = self.corners[rng.integers(len(self.corners), size=shape)]
        return chosen + self.side_px * rng.random((*shape, 2))


@dataclass(frozen=True)
class Image:
    """One image that was examined, in pixels of the original.

    Attributes:
        image_id: Its name.
        patient_id: Its patient.
        width_px: Width.
        height_px: Height.
        points: The nodules, x and y, shape (m, 2).
        predictions: The points predicted, x and y, shape (n, 2).
        spacing_mm: Millimetres per pixel; None if it is not known.
        diameter_mm: Of each nodule, NaN where it is not known, shape (m,); None if none is known.
        contrast: Of each nodule, NaN where it is not known, shape (m,); None if none is known.
        field: Where points of the random-placement baseline are thrown; None for the whole image.
    """

    image_id: str
    patient_id: str
    width_px: int
    height_px: int
    points: NDArray[np.float64]
    predictions: NDArray[np.float64]
    spacing_mm: float | None = None
    diameter_mm: NDArray[np.float64] | None = None
    contrast: NDArray[np.float64] | None = None
    field: Field | None = None

    def threshold_px(self, fraction: float) -> float:
        """A fraction of the diagonal of the original, pixels."""
        return fraction * diagonal_px(self.width_px, self.height_px)


@dataclass(frozen=True)
class Pairs:
    """Predictions matched to nodules on some images at one tolerance.

    Attributes:
        true_positives: Pairs of prediction and nodule on each image, shape (n,).
        radial_error_px: Distance within each pair, shape (pairs,).
        image: Number of the image of each pair, shape (pairs,).
        found: Whether each nodule is in a pair, image after image, shape (nodules,).
    """

    true_positives: NDArray[np.int64]
    radial_error_px: NDArray[np.float64]
    image: NDArray[np.int64]
    found: NDArray[np.bool_]


@dataclass(frozen=True)
class Hits(Pairs):
    """Pairs with what they are measured against.

    Attributes:
        predictions: Points predicted on each image, shape (n,).
        points: Nodules of each image, shape (n,).
        chance: Pairs to be expected if as many points were thrown anywhere in the image's field, shape (n,).
    """

    predictions: NDArray[np.int64]
    points: NDArray[np.int64]
    chance: NDArray[np.float64]


def find(images: Sequence[Image], fraction: float, *, throws: int, rng: np.random.Generator) -> Hits:
    """Predictions and nodules matched on every image, with what chance would find.

    Args:
        images: Images with or without nodules.
        fraction: Greatest distance of a pair, inclusive, as a fraction of the diagonal of the original.
        throws: How often points are thrown to know what chance would find.
        rng: Of the throws.
    """
    return Hits(
        **vars(find_pairs(images, fraction)),
        predictions=np.array([len(image.predictions) for image in images], np.int64),
        points=np.array([len(image.points) for image in images], np.int64),
        chance=np.array([chance_hits(image, fraction, throws, rng) for image in images], np.float64),
    )


def find_pairs(images: Sequence[Image], fraction: float) -> Pairs:
    """Predictions and nodules matched on every image, one to one; arguments as of `find`."""
    found = np.zeros(len(images), np.int64)
    errors, owners = [np.zeros(0)], [np.zeros(0, np.int64)]
    nodules = [np.zeros(0, bool) for _ in images]
    for numbers in by_size(images):
        some = [images[number] for number in numbers]
        gaps = distances(np.stack([image.predictions for image in some]), np.stack([image.points for image in some]))
        pairs = match_many(gaps, np.array([image.threshold_px(fraction) for image in some]))
        found[numbers] = pairs.sum(axis=(1, 2))
        errors.append(gaps[pairs])
        owners.append(np.repeat(numbers, found[numbers]))
        for number, hit in zip(numbers, np.any(pairs, axis=1).tolist(), strict=True):
            nodules[number] = np.array(hit, bool)
    image = np.concatenate(owners)
    order = np.argsort(image, kind="stable")
    return Pairs(
        true_positives=found,
        radial_error_px=np.concatenate(errors)[order],
        image=image[order],
        found=np.concatenate([np.zeros(0, bool), *nodules]),
    )


def by_size(images: Sequence[Image]) -> list[NDArray[np.int64]]:
    """Numbers of the images in groups that have equally many predictions and equally many nodules."""
    sizes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        sizes[len(image.predictions), len(image.points)].append(number)
    return [np.array(numbers, np.int64) for numbers in sizes.values()]


def chance_hits(image: Image, fraction: float, throws: int, rng: np.random.Generator) -> float:
    """How many nodules as many points as were predicted would find if thrown evenly over the image's field.

    It is the mean over `throws` throws, so it has an error of its own of about 0.5 / sqrt(throws).
    """
    n, threshold = len(image.predictions), image.threshold_px(fraction)
    if not n or not len(image.points):
        return 0.0
    if image.field is None:
        # An image spans -0.5 to its width - 0.5: coordinates are 0 at the centre of a pixel.
        thrown = rng.random((throws, n, 2)) * np.array([image.width_px, image.height_px]) - 0.5
    else:
        thrown = image.field.throw((throws, n), rng)
    gaps = distances(thrown, image.points)
    near = (gaps <= threshold).sum(axis=(1, 2))
    crowded = gaps[near > 1]
    pairs = (near == 1).sum() + match_many(crowded, np.full(len(crowded), threshold)).sum()
    return float(pairs / throws)


def precision_recall_f1(true_positives: float, predictions: float, points: float) -> dict[str, Outcome]:
    """Micro-averaged precision, recall and F1 = 2 PR / (P + R), each [0, 1].

    The tight row of the published study, 10 hits of 53 predictions on 179 points:

    >>> {name: round(value, 4) for name, value in precision_recall_f1(10, 53, 179).items()}
    {'precision': 0.1887, 'recall': 0.0559, 'f1': 0.0862}
    """
    return {
        "precision": attempt(ratio, true_positives, predictions, "no point was predicted"),
        "recall": attempt(ratio, true_positives, points, "no image has a point"),
        "f1": attempt(f1_score, true_positives, predictions, points, "there is no point, predicted or true"),
    }


def measure_hits(hits: Hits, weights: NDArray[Any]) -> dict[str, Outcome]:
    """Measures at one tolerance, of images with nodules.

    Radial errors are those of matched pairs only, so they grow with the tolerance and flatter a tight one.

    Args:
        hits: Of images that each have a nodule.
        weights: How often each image counts, shape (n,).

    Returns:
        Value, or the reason why there is none, of: true_positives, false_positives, false_negatives; precision, recall,
        f1 (micro); precision_macro (mean over images with a prediction), recall_macro and f1_macro (mean over images);
        pck (the fraction of nodules found, equal to recall); mean_radial_error_px, std_radial_error_px (ddof 0),
        median_radial_error_px; random_placement_recall.
    """
    found, predicted, points = (
        int(np.dot(weights, each)) for each in (hits.true_positives, hits.predictions, hits.points)
    )
    counts = {"true_positives": found, "false_positives": predicted - found, "false_negatives": points - found}
    measures = precision_recall_f1(found, predicted, points)
    spoken = weights * (hits.predictions > 0)
    of_each = {
        "precision_macro": (hits.true_positives / np.maximum(hits.predictions, 1), spoken, "no point was predicted"),
        "recall_macro": (hits.true_positives / np.maximum(hits.points, 1), weights, "there is no image"),
        "f1_macro": (
            # an image with neither a point nor a nodule counts as 0
            f1_score(hits.true_positives, hits.predictions, np.maximum(hits.points, 1 - hits.predictions)),
            weights,
            "there is no image",
        ),
    }
    errors = np.repeat(hits.radial_error_px, weights[hits.image])
    no_pair = "no predicted point is near enough to a nodule"
    return {
        **{
            name: number if len(weights) else UndefinedMetricError("there is no image")
            for name, number in counts.items()
        },
        **measures,
        **{name: attempt(ratio, np.dot(times, each), times.sum(), why) for name, (each, times, why) in of_each.items()},
        "pck": measures["recall"],
        "mean_radial_error_px": attempt(_of_any, np.mean, errors, no_pair),
        "std_radial_error_px": attempt(_of_any, np.std, errors, no_pair),
        "median_radial_error_px": attempt(_of_any, _median, errors, no_pair),
        "random_placement_recall": attempt(ratio, np.dot(weights, hits.chance), points, "no image has a point"),
    }


def measure_false_points(
    true_positives: NDArray[np.int64], predictions: NDArray[np.int64], points: NDArray[np.int64], weights: NDArray[Any]
) -> dict[str, Outcome]:
    """What false points do to a localizer at one tolerance, on images with nodules and negative ones together.

    Args:
        true_positives: Pairs of prediction and nodule on each image, 0 on a negative one, shape (n,).
        predictions: Points predicted on each image, shape (n,).
        points: Nodules of each image, shape (n,).
        weights: How often each image counts, shape (n,).

    Returns:
        Value or reason of: false_positives; precision and f1 (micro); non_lesion_fraction (false points per image).

    One point on a nodule, one beside it, and two on a negative image:

    >>> found = measure_false_points(np.array([1, 0]), np.array([2, 2]), np.array([1, 0]), np.ones(2, int))
    >>> found["false_positives"], found["precision"], found["f1"], found["non_lesion_fraction"]
    (3, 0.25, 0.4, 1.5)
    """
    found, predicted, actual = (int(np.dot(weights, each)) for each in (true_positives, predictions, points))
    both = precision_recall_f1(found, predicted, actual)
    return {
        "false_positives": predicted - found if len(weights) else UndefinedMetricError("there is no image"),
        "precision": both["precision"],
        "f1": both["f1"],
        "non_lesion_fraction": attempt(ratio, predicted - found, weights.sum(), "no image was examined"),
    }


def measure_mm(
    errors_px: NDArray[np.float64],
    image: NDArray[np.int64],
    spacing_mm: NDArray[np.float64],
    why: str,
    weights: NDArray[Any],
) -> dict[str, Outcome]:
    """Mean and median of distances in millimetres, over the images whose spacing is known.

    Args:
        errors_px: Distances, shape (k,), pixels.
        image: Number of the image of each, shape (k,).
        spacing_mm: Millimetres per pixel of each image, NaN where it is not known, shape (n,).
        why: The reason if there is no distance on such an image.
        weights: How often each image counts, shape (n,).

    >>> measure_mm(np.array([10.0, 99.0]), np.array([0, 1]), np.array([0.2, np.nan]), "", np.ones(2, int))
    {'mean': 2.0, 'median': 2.0}
    """
    if np.isnan(spacing_mm).all():
        reason = UndefinedMetricError("no image with marked nodules has a known spacing (spacing_mm in the manifest)")
        return {"mean": reason, "median": reason}
    measured = ~np.isnan(spacing_mm[image])
    millimetres = np.repeat((errors_px * spacing_mm[image])[measured], weights[image[measured]])
    return {
        "mean": attempt(_of_any, np.mean, millimetres, why),
        "median": attempt(_of_any, _median, millimetres, why),
    }


def _median(values: NDArray[np.float64]) -> float:
    """Median; NumPy's own takes ten times as long on so few values, and resampling asks for it often."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def _of_any(summary: Any, values: NDArray[np.float64], why: str) -> float:
    if not len(values):
        raise UndefinedMetricError(why)
    return float(summary(values))


@dataclass(frozen=True)
class Counted:
    """What can be said about images with nodules without any tolerance.

    Attributes:
        predictions: Points predicted on each image, shape (n,).
        points: Nodules of each image, shape (n,).
        nearest_px: Distance of every prediction to the nearest nodule of its image, shape (predictions,).
        image: Number of the image of each prediction, shape (predictions,).
    """

    predictions: NDArray[np.int64]
    points: NDArray[np.int64]
    nearest_px: NDArray[np.float64]
    image: NDArray[np.int64]


def count(images: Sequence[Image]) -> Counted:
    """Count predictions and nodules on images that each have a nodule, and measure how far off every prediction is."""
    nearest = [distances(image.predictions, image.points).min(axis=1) for image in images]
    predictions = np.array([len(image.predictions) for image in images], np.int64)
    return Counted(
        predictions,
        np.array([len(image.points) for image in images], np.int64),
        np.concatenate([np.zeros(0), *nearest]),
        np.repeat(np.arange(len(images)), predictions),
    )


def measure_counts(counted: Counted, weights: NDArray[Any]) -> dict[str, Outcome]:
    """Measures of images with nodules that need no tolerance.

    Returns:
        Value or reason of nearest_point_px (median over all predictions of the distance to the nearest nodule), and of
        the measures of `measure_numbers`.
    """
    nearest = np.repeat(counted.nearest_px, weights[counted.image])
    return {
        "nearest_point_px": attempt(_of_any, _median, nearest, "no point was predicted"),
        **measure_numbers(counted.predictions, counted.points, weights),
    }


def measure_numbers(
    predictions: NDArray[np.int64], points: NDArray[np.int64], weights: NDArray[Any]
) -> dict[str, Outcome]:
    """Whether as many points are predicted as there are nodules, wherever they are.

    Args:
        predictions: Points predicted on each image, shape (n,).
        points: Nodules of each image, shape (n,).
        weights: How often each image counts, shape (n,).

    Returns:
        Value or reason of: count_exact (fraction of images with as many predictions as nodules); count_error (mean
        absolute difference of the two); count_bias (mean difference, positive if too many are predicted).
    """
    excess = predictions - points
    mean = partial(ratio, whole=float(weights.sum()), why="there is no image")
    return {
        "count_exact": attempt(mean, np.dot(weights, excess == 0)),
        "count_error": attempt(mean, np.dot(weights, np.abs(excess))),
        "count_bias": attempt(mean, np.dot(weights, excess)),
    }


def measure_negatives(predictions: NDArray[np.int64], weights: NDArray[Any]) -> dict[str, Outcome]:
    """What a localizer does on images without a nodule.

    Args:
        predictions: Points predicted on each negative image, shape (n,).
        weights: How often each image counts, shape (n,).

    Returns:
        Value or reason of: false_points_per_image (mean), fraction_with_point.

    >>> measure_negatives(np.array([0, 2, 1, 0]), np.ones(4))
    {'false_points_per_image': 0.75, 'fraction_with_point': 0.5}
    """
    mean = partial(ratio, whole=float(weights.sum()), why="no negative image was examined")
    return {
        "false_points_per_image": attempt(mean, np.dot(weights, predictions)),
        "fraction_with_point": attempt(mean, np.dot(weights, predictions > 0)),
    }

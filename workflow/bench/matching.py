"""Time to match 100,000 images with three points each."""

import statistics

import numpy as np
from numpy.typing import NDArray

from stages.lib.metrics.matching import distances, match_many
from workflow.bench.interleave import processor_seconds
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=matching"
IMAGES, POINTS, SIDE_PX, FRACTION = 100_000, 3, 1024, 0.05
OFF_PX = 60.0  # so that some predictions are near two points, and some near none
SEED = 5
RUNS = 3


def images(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions on n images and the points that they are about, each of shape (n, points, 2), pixels."""
    points = rng.uniform(0.2 * SIDE_PX, 0.8 * SIDE_PX, (n, POINTS, 2))
    return points + rng.normal(0, OFF_PX, points.shape), points


def bench(n: int = IMAGES) -> dict[str, Result]:
    """Processor seconds from coordinates to pairs."""
    predictions, points = images(np.random.default_rng(SEED), n)
    thresholds = np.full(n, FRACTION * SIDE_PX * 2**0.5)
    seconds = []
    for _ in range(RUNS):
        began = processor_seconds()
        pairs = int(match_many(distances(predictions, points), thresholds).sum())
        seconds.append(processor_seconds() - began)
    return {
        "matching.seconds": Result(
            value=statistics.median(seconds),
            unit="processor s",
            label=MEASURED,
            command=COMMAND,
            low=min(seconds),
            high=max(seconds),
            runs=seconds,
            at_most=10.0,
            note=f"{n} images, {POINTS} points and {POINTS} predictions each, {pairs} pairs",
        )
    }

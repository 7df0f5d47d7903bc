"""How long it takes to match 100,000 films with three points each."""

import statistics
import time

import numpy as np

from stages.lib.matching import distances, match
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=matching"
FILMS, POINTS, SIDE_PX, SHARE = 100_000, 3, 1024, 0.05
OFF_PX = 60.0  # so that some predictions are near two points, and some near none
SEED = 5
RUNS = 3


def films(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and points of n films, each float array of shape (n, POINTS, 2), pixels."""
    points = rng.uniform(0.2 * SIDE_PX, 0.8 * SIDE_PX, (n, POINTS, 2))
    return points + rng.normal(0, OFF_PX, points.shape), points


def bench(n: int = FILMS) -> dict[str, Result]:
    """Return the seconds that matching takes."""
    predictions, points = films(np.random.default_rng(SEED), n)
    threshold = SHARE * float(np.hypot(SIDE_PX, SIDE_PX))
    match(distances(predictions[0], points[0]), threshold)
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        pairs = sum(len(match(distances(p, q), threshold)[0]) for p, q in zip(predictions, points, strict=True))
        seconds.append(time.perf_counter() - began)
    return {
        "matching.seconds": Result(
            value=statistics.median(seconds),
            unit="s",
            label=MEASURED,
            command=COMMAND,
            low=min(seconds),
            high=max(seconds),
            runs=seconds,
            at_most=10.0,
            note=f"{n} films, {POINTS} points and {POINTS} predictions each, {pairs} pairs",
        )
    }

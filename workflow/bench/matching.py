"""How long it takes to match 100,000 films with three points each."""

import statistics

import numpy as np

from stages.lib.localization import Film, find
from workflow.bench.interleave import processor_seconds
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=matching"
FILMS, POINTS, SIDE_PX, SHARE = 100_000, 3, 1024, 0.05
OFF_PX = 60.0  # so that some predictions are near two points, and some near none
SEED = 5
RUNS = 3


def films(rng: np.random.Generator, n: int) -> list[Film]:
    """Return n films with predictions about their points."""
    points = rng.uniform(0.2 * SIDE_PX, 0.8 * SIDE_PX, (n, POINTS, 2))
    predictions = points + rng.normal(0, OFF_PX, points.shape)
    return [Film(f"{i}", f"{i}", SIDE_PX, SIDE_PX, points[i], predictions[i]) for i in range(n)]


def bench(n: int = FILMS) -> dict[str, Result]:
    """Return the processor seconds that `localization.find` takes, with one throw to know what chance finds."""
    rng = np.random.default_rng(SEED)
    made = films(rng, n)
    seconds = []
    for _ in range(RUNS):
        began = processor_seconds()
        pairs = int(find(made, SHARE, throws=1, rng=rng).true_positives.sum())
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
            note=f"{n} films, {POINTS} points and {POINTS} predictions each, {pairs} pairs",
        )
    }

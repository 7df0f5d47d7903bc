"""Time of 40 leave-one-patient-out fits of a heatmap at the size of the demo: 16 x 16 tokens of 64 features."""

import statistics

import numpy as np

from stages.lib.detect import map_head
from stages.lib.detect.map_head import Cells
from workflow.bench.interleave import processor_seconds
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=localizer_cv"
PATIENTS, NEGATIVES, GRID, FEATURES = 40, 150, 16, 64
STRENGTH, TOLERANCE, ITERATIONS = 0.003, 1.0e-5, 1000
SEED = 3
RUNS = 2
MAX_SECONDS = 30.0


def cells(rng: np.random.Generator, patients: int = PATIENTS, negatives: int = NEGATIVES) -> Cells:
    """Cells of annotated images, one of a patient, and of negative ones; features go together, as those of a tower do.

    Args:
        rng: Of the tokens.
        patients: Annotated images.
        negatives: Negative images.
    """
    images, each = patients + negatives, GRID * GRID
    mixed = rng.standard_normal((FEATURES, FEATURES)) * np.linspace(0.05, 2.0, FEATURES)
    tokens = rng.standard_normal((images * each, FEATURES)) @ mixed
    target = np.zeros((images, each))
    target[np.arange(patients), rng.integers(each, size=patients)] = 1.0
    tokens[target.ravel() > 0] += 2.0 * mixed[-1]
    return Cells(
        tokens=tokens.astype(np.float32),
        image=np.repeat(np.arange(images), each),
        target=target.ravel(),
        weight=np.ones(images * each),
        label=np.array([1.0] * patients + [0.0] * negatives),
        label_weight=np.zeros(images),
    )


def fits(of: Cells, patients: int = PATIENTS) -> float:
    """Processor seconds of a fit for each patient, on all images but the patient's."""
    began = processor_seconds()
    for patient in range(patients):
        weight = np.where(of.image == patient, 0.0, of.weight)
        map_head.fit(
            Cells(**{**vars(of), "weight": weight}),
            loss="weighted_cross_entropy",
            focus=0.0,
            strength=STRENGTH,
            sharpness=1.0,
            iterations=ITERATIONS,
            tolerance=TOLERANCE,
        )
    return processor_seconds() - began


def bench(patients: int = PATIENTS, negatives: int = NEGATIVES) -> dict[str, Result]:
    """Processor seconds of all fits, by marks."""
    of = cells(np.random.default_rng(SEED), patients, negatives)
    runs = [fits(of, patients) for _ in range(RUNS)]
    return {
        "localizer_cv.seconds": Result(
            value=statistics.median(runs),
            unit="processor s",
            label=MEASURED,
            command=COMMAND,
            low=min(runs),
            high=max(runs),
            runs=runs,
            at_most=MAX_SECONDS,
            note=f"{patients} fits by marks, {len(of.image):,} cells of {FEATURES} features",
        )
    }

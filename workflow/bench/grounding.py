"""Time to score 10,000 grounded sentences: P, R and F1, RoDeO, and their intervals over patients."""

import numpy as np

from stages.lib.metrics import grounding, grounding_suite
from stages.lib.metrics.grounding import Answer, Sentence
from workflow.bench.interleave import processor_seconds
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=grounding"
SENTENCES, PER_PATIENT, DRAWS = 10_000, 3, 2_000
SIDE_PX, OFF_PX, SEED = 1024.0, 60.0, 5
AT_MOST_SECONDS = 20.0


def sentences(rng: np.random.Generator, n: int) -> tuple[list[Sentence], list[Answer]]:
    """N sentences with one to three true boxes each, and as many predicted ones beside them."""
    asked, answers = [], []
    for number in range(n):
        corners = rng.uniform(0, 0.7 * SIDE_PX, (1 + number % 3, 2))
        truths = np.concatenate([corners, corners + rng.uniform(40, 300, corners.shape)], axis=1)
        moved = truths + np.tile(rng.normal(0, OFF_PX, corners.shape), 2)
        asked.append(Sentence(str(number), 0, str(number // PER_PATIENT), truths, SIDE_PX, SIDE_PX))
        answers.append(Answer("ok", moved, np.zeros(0)))
    return asked, answers


def bench(n: int = SENTENCES, draws: int = DRAWS) -> dict[str, Result]:
    """Processor seconds from boxes to measures with intervals."""
    asked, answers = sentences(np.random.default_rng(SEED), n)
    settings = grounding_suite.Settings(
        draws=draws,
        seed=SEED,
        confidence=0.95,
        iou=0.5,
        judged_by="f1",
        size_edges=(),
        min_stratum_sentences=1,
    )
    began = processor_seconds()
    scored = grounding.score(asked, answers, settings.iou)
    weights = grounding_suite.drawn(asked, settings)
    found = grounding_suite.measured_on(asked, scored, weights, settings)
    seconds = processor_seconds() - began
    f1 = found.estimates[settings.key]
    return {
        "grounding.seconds": Result(
            value=seconds,
            unit="processor s",
            label=MEASURED,
            command=COMMAND,
            at_most=AT_MOST_SECONDS,
            note=f"{n} sentences, {draws} draws, F1 {f1.value:.3f} [{f1.low:.3f}, {f1.high:.3f}]",
        )
    }

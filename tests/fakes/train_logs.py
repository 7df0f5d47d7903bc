"""The log of a training that never was."""

from typing import Any

from stages.lib.learn.train_log import Checkpoint, TrainedBase, TrainLog

STEPS = 200


def train_log(**changes: Any) -> TrainLog:
    """A log of 200 steps on 36 images, with some of its fields changed."""
    fall = {step: 0.5 ** (step / 50) for step in range(50, STEPS + 1, 50)}
    facts: dict[str, Any] = {
        "base": TrainedBase(base="results/weights/pretrain/chest", commit=None, sha256="0" * 64, revision="none"),
        "preprocessing_hash": "c0ffee",
        "trainable_parameters": 123456,
        "total_parameters": 987654,
        "images": 36,
        "positive_images": 15,
        "validation_images": 16,
        "positive_validation_images": 4,
        "steps": STEPS,
        "steps_planned": STEPS,
        "samples": 16 * STEPS,
        "samples_per_step": 16,
        "epochs": 76.2,
        "coverage_of_negatives": 1.0,
        "training_odds": 1.0,
        "positive_weight": 1.0,
        "loss_first": 0.95,
        "loss_last": 0.29,
        "selected_by": "average_precision",
        "selected_step": STEPS,
        "checkpoints": tuple(
            Checkpoint(
                step=step,
                loss=0.3 + 0.8 * rest,
                balanced_accuracy=0.9 - 0.4 * rest,
                f1=0.7 - 0.5 * rest,
                average_precision=0.8 - 0.6 * rest,
            )
            for step, rest in fall.items()
        ),
        "notes": (),
        "resumed_from_step": 0,
        "seconds": 81.5,
        "data_wait_fraction": 0.02,
    }
    return TrainLog(**{**facts, **changes})

"""The curve of a run: one row per optimizer step, which is all that a run leaves beside its checkpoints."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from stages.lib.core import files

STEP = ("step", "loss", "grad_norm", "learning_rate")  # columns of every run; a task's metrics follow, as val_<name>


@dataclass(frozen=True)
class Row:
    """One optimizer step.

    Attributes:
        step: Its number, from 1.
        loss: Loss of the whole step, over all micro-batches and processes, before the step is taken.
        grad_norm: Norm of the gradient before it is clipped.
        learning_rate: The learning rate that the step is taken with.
        validation: Validation metrics after the step, by name, None where undefined; empty where not measured.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    validation: Mapping[str, float | None] = field(default_factory=dict)

    def flat(self, metrics: Sequence[str]) -> dict[str, float | None]:
        """Row by column; a metric that was not measured is None.

        >>> Row(2, 0.5, 1.0, 0.1, {"f1": 0.7}).flat(["f1", "auc"])
        {'step': 2, 'loss': 0.5, 'grad_norm': 1.0, 'learning_rate': 0.1, 'val_f1': 0.7, 'val_auc': None}
        """
        step = {name: getattr(self, name) for name in STEP}
        return {**step, **{f"val_{name}": self.validation.get(name) for name in metrics}}


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON; a loss that is not finite is kept as it is (Python's NaN, Infinity)."""
    files.write_bytes(path, json.dumps([asdict(row) for row in rows]).encode())


def read(path: Path) -> list[Row]:
    """Rows that `write` wrote, bit by bit."""
    return [Row(**row) for row in json.loads(path.read_text())]


def write_csv(path: str | Path, rows: Sequence[Row], metrics: Sequence[str]) -> None:
    """Write a curve as CSV; a metric that was not measured at a step is an empty cell.

    Args:
        path: File.
        rows: At least one.
        metrics: The task's validation metrics.
    """
    table = [row.flat(metrics) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    files.write_bytes(path, text.getvalue().encode())


def mean_loss(losses: Sequence[float]) -> float | None:
    """Mean of some steps' losses; None if one of them was not finite, as a single overflow may be.

    >>> mean_loss([1.0, 2.0]), mean_loss([1.0, float("nan")])
    (1.5, None)
    """
    mean = float(np.mean(losses))
    return mean if np.isfinite(mean) else None

"""Which checkpoint of a run is taken, and when a run has nothing more to gain: functions of its curve."""

import math
from collections.abc import Sequence

from stages.lib.learn.curve import Row
from stages.lib.learn.task import LoopParams


def planned(curve: Sequence[Row], params: LoopParams) -> list[Row]:
    """Rows so far after which a checkpoint is planned: each `save_steps`, and the end of the run."""
    end = len(curve) if exhausted(curve, params) else params.max_steps
    return [row for row in curve if row.step % params.save_steps == 0 or row.step in (end, params.max_steps)]


def rule(rows: Sequence[Row], select_by: str) -> tuple[str, list[str]]:
    """What the checkpoint is selected by, and why, if it is not what was asked for."""
    if select_by == "last" or all(row.validation.get(select_by) is not None for row in rows):
        return select_by, []
    return "last", [f"{select_by} is undefined on the validation images: the last checkpoint is taken"]


def best(rows: Sequence[Row], select_by: str) -> int:
    """Step of the best checkpoint; of equals the earliest, and the last one for "last".

    >>> best([Row(2, 1.0, 1.0, 0.1, {"loss": 0.4}), Row(4, 1.0, 1.0, 0.1, {"loss": 0.5})], "loss")
    2
    """
    if select_by == "last":
        return rows[-1].step
    return max(rows, key=lambda row: (merit(row, select_by), -row.step)).step


def merit(row: Row, metric: str) -> float:
    """A validation metric so that a larger value is a better one, -inf where it is undefined.

    As in scikit-learn the name says the direction: less of a `loss` or an `error` is better, and more of all else.

    >>> merit(Row(2, 1.0, 1.0, 0.1, {"loss": 0.4}), "loss")
    -0.4
    """
    value = row.validation.get(metric)
    if value is None:
        return -math.inf
    return -value if metric.endswith(("loss", "error")) else value


def exhausted(curve: Sequence[Row], params: LoopParams) -> bool:
    """Whether the last `patience` measurements were none of them better than the best one before.

    A measurement without a value counts as no better. Before `patience` + 1 measurements the answer is no.

    >>> from types import SimpleNamespace
    >>> curve = [Row(step, 1.0, 1.0, 0.1, {"f1": value}) for step, value in enumerate((0.5, 0.7, 0.7, 0.6))]
    >>> [exhausted(curve, SimpleNamespace(patience=n, select_by="f1")) for n in (0, 1, 2, 3)]
    [False, True, True, False]
    """
    values = [merit(row, params.select_by) for row in curve if row.validation]
    if not params.patience or len(values) <= params.patience:
        return False
    return max(values[-params.patience :]) <= max(values[: -params.patience])

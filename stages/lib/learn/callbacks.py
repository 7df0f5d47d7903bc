"""What follows a run from outside: lines in the log, and DVCLive's curves, which `dvc plots show` draws."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stages.lib.core.log import LOG
from stages.lib.learn.curve import Row

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Says how far a run is: at its first and last step, and every ten seconds between.

    Args:
        first: Steps that were done before.
        steps: Steps in all.
    """

    def __init__(self, first: int, steps: int) -> None:
        self.first, self.steps = first, steps
        self.began = self.said = time.monotonic()

    def step(self, row: Row) -> None:
        """Say how far the run is, if it is time to."""
        now = time.monotonic()
        if now - self.said < SECONDS_BETWEEN_LINES and row.step not in (self.first + 1, self.steps):
            return
        rate = (row.step - self.first) / max(now - self.began, 1e-9)
        LOG.info(
            "train: step %d of %d, loss %.4f, %.2f steps per second, %.0f s left",
            *(row.step, self.steps, row.loss, rate, (self.steps - row.step) / max(rate, 1e-9)),
        )
        self.said = now

    def measured(self, row: Row) -> None:
        """Say what validation has shown."""
        shown = {name: "undefined" if value is None else f"{value:.4f}" for name, value in row.validation.items()}
        if shown:
            text = ", ".join(f"{name} {value}" for name, value in shown.items())
            LOG.info("train: step %d, validation %s", row.step, text)


class Live:
    """Curves to watch while training runs, one file per column.

    Args:
        folder: Where they are.
        metrics: The task's validation metrics.
    """

    def __init__(self, folder: Path, metrics: Sequence[str]) -> None:
        from dvclive import Live as Files

        self.metrics = metrics
        self.files = Files(dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)

    def write(self, row: Row) -> None:
        """Add one step to the curves."""
        self.files.step = row.step
        for column, value in row.flat(self.metrics).items():
            if column != "step" and value is not None:
                self.files.log_metric(column, value)
        self.files.make_summary()


@contextmanager
def live(folder: Path | None, metrics: Sequence[str], before: Sequence[Row]) -> Iterator[Live | None]:
    """Give curves that begin with the steps done before, so that they have no gap and no double; None for no folder."""
    if folder is None:
        yield None
        return
    curves = Live(folder, metrics)
    for row in before:
        curves.write(row)
    try:
        yield curves
    finally:
        curves.files.end()

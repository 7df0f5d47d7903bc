"""Curves to watch while training runs: files by DVCLive, which `dvc plots show` draws."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.lib.learn.training import CURVE


def watcher(folder: Path) -> Any:
    """Return a callback of the Trainer that writes loss, learning rate and validation metrics to `folder` at each step.

    A run that goes on from a checkpoint writes the steps before it anew, so the curves have no gap and no double.
    """
    from dvclive import Live
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        live: Live | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not state.is_world_process_zero:
                return
            self.live = Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)
            for entry in state.log_history:
                self.write(int(entry["step"]), entry)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.write(state.global_step, logs)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.live:
                self.live.end()

        def write(self, step: int, entry: Mapping[str, Any]) -> None:
            """Write what the Trainer logged after a step, under the names of the curve's columns."""
            if self.live is None:
                return
            self.live.step = step
            for column, key in CURVE.items():
                if column != "step" and entry.get(key) is not None:
                    self.live.log_metric(column, entry[key])
            self.live.make_summary()

    return Watcher()

"""What is looked at after each step of training: how far it is, whether its loss is sound, and whether it must stop."""

import math
import time
from typing import Any

from stages.lib.core.errors import TrainingError
from stages.lib.core.log import LOG
from stages.lib.learn import training
from stages.lib.learn.training import METRICS, TrainParams

BAD_STEPS = 3  # steps in a row without a finite loss before training stops
SECONDS_BETWEEN_LINES = 10.0


def watch(params: TrainParams) -> Any:
    """Return a callback of the Trainer that says how far training is, and stops it when it must stop.

    Its `stop()` asks for a checkpoint and an end after the current step. It also stops after `params.patience`
    measurements without a better one, and raises a TrainingError after `BAD_STEPS` steps without a finite loss.
    """
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """Says how far training is, and stops it when it must stop."""

        def __init__(self) -> None:
            self.stopped = False
            self.bad = 0
            self.began = self.said = time.monotonic()
            self.first = 0
            self.waited = 0.0
            self.ended = self.began

        def stop(self) -> None:
            """Ask for a checkpoint and an end after the current step."""
            self.stopped = True

        @property
        def data_wait_fraction(self) -> float:
            return self.waited / max(self.ended - self.began, 1e-9)

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.first, self.began = state.global_step, time.monotonic()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ended = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if _any(self.stopped, args):
                control.should_save = control.should_training_stop = True

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in logs:
                return
            sound = math.isfinite(logs["loss"]) and math.isfinite(logs.get("grad_norm", 0.0))
            self.bad = 0 if sound else self.bad + 1
            if self.bad == BAD_STEPS:
                raise TrainingError(
                    f"the loss or its gradient was not finite for {BAD_STEPS} steps, up to step {state.global_step} "
                    f"(loss {logs['loss']}); lower train.learning_rate or train.positive_weight. The last good "
                    f"checkpoint is kept in {args.output_dir}"
                )
            now = time.monotonic()
            if not state.is_world_process_zero:
                return
            if now - self.said >= SECONDS_BETWEEN_LINES or state.global_step in (self.first + 1, state.max_steps):
                rate = (state.global_step - self.first) / max(now - self.began, 1e-9)
                LOG.info(
                    "train: step %d of %d, loss %.4f, %.2f steps per second, %.0f s left",
                    *(state.global_step, state.max_steps, logs["loss"], rate),
                    (state.max_steps - state.global_step) / max(rate, 1e-9),
                )
                self.said = now

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
            shown = {name: (metrics or {}).get(f"eval_{name}") for name in METRICS}
            text = ", ".join(
                f"{name} {'undefined' if value is None else f'{value:.4f}'}" for name, value in shown.items()
            )
            if state.is_world_process_zero:
                LOG.info("train: step %d, validation %s", state.global_step, text)
            if training.exhausted(state.log_history, params):
                control.should_save = control.should_training_stop = True

    return Watch()


def _any(flag: bool, args: Any) -> bool:
    """Return whether `flag` is set in any process: all have to stop after the same step."""
    import torch

    if args.world_size == 1:
        return flag
    flags = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())

"""Fraction of the time that the model waits for images, read from the logs of the stages."""

import json
import re
import subprocess
import sys

from stages.lib.core import documents, params
from stages.lib.learn.train_log import TrainLog
from workflow.bench.images import Study
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=waiting"
STEPS = 12
SAID = re.compile(r"waited for images ([\d.]+) %")


def train(study: Study) -> float:
    """Fraction in a short training by stages.nodules.train."""
    names = ("nodules.train", "nodules.cohort", "nodules.model", "nodules.prompt")
    short = {"nodules.train": {"max_steps": STEPS, "eval_steps": STEPS, "save_steps": STEPS}}
    given = json.dumps(params.subset(study.params, names, short))
    _run(
        "stages.nodules.train",
        *("--params", given, "--results", str(study.folder)),
        *study.named(manifest="manifest.parquet", normalized="normalized.parquet", split="split.parquet"),
        *study.named(base="fetch.json", checkpoints="checkpoints", adapter="adapter", log="train.json"),
        *study.named(curve="curve.csv"),
    )
    return documents.read(study.folder / "train.json", TrainLog).data_wait_fraction


def infer(study: Study) -> float:
    """Fraction that stages.nodules.infer logs."""
    log = _run(
        "stages.nodules.infer",
        *study.options("nodules.infer", "nodules.model", "nodules.prompt", "nodules.classifiers"),
        *("--classifier", "zero_shot"),
        *study.named(normalized="normalized.parquet", base="fetch.json", infer="infer.parquet"),
        *("--shard", "1-of-1", "--results", str(study.folder)),
    )
    found = SAID.findall(log)
    if not found:
        raise ValueError(f"stages.nodules.infer does not log how long the model waited:\n{log}")
    return float(found[-1]) / 100


def _run(module: str, *options: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stderr


def bench(study: Study) -> dict[str, Result]:
    """Fraction of the time that the model waits for images, in training and in inference."""
    return {
        f"waiting.{name}": Result(value=fraction, unit="of the time", label=MEASURED, command=COMMAND, note=note)
        for name, fraction, note in (
            ("train", train(study), f"{STEPS} steps, reading from pixels"),
            ("infer", infer(study), f"{study.normalized.num_rows} images, reading from pixels"),
        )
    }

"""Time and memory of a probe at the size of ChestX-ray14: 50,000 images, 2,304 features, ten strengths.

The features are made up: some hundred directions of falling variance and noise, as those of encoders are, and one
direction that tells the classes apart a little.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from stages.lib.learn.candidate import Bank, Inputs, Setting
from stages.lib.learn.zoo import probe
from workflow.bench.interleave import processor_seconds
from workflow.bench.memory import peak_mb
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=probe"
IMAGES, VALIDATION, WIDTH = 50_000, 5_000, 1152  # of each of two statistics
STRENGTHS = tuple(float(10.0**exponent) for exponent in np.arange(-5, 0, 0.5))
DIRECTIONS, BLOCK = 256, 1000
SEED = 11
RUNS = 2
MAX_SECONDS, MAX_MB = 60.0, 4000.0
ROW = probe.Params(
    library="transformers",
    source="bench",
    revision="none",
    architecture="none",
    side_px=448,
    shifts=1,
    seen="no",
    licence="none",
    commercial=True,
    pool=("largest+smallest",),
    strengths=STRENGTHS,
    class_weight=("none",),
    places=("logits",),
)


def images(rng: np.random.Generator, n: int, width: int, first: int) -> Inputs:
    """Made-up images, one in twenty with a nodule, with two statistics of `width` features each."""
    scales = (1.0 / np.arange(1, DIRECTIONS + 1)).astype(np.float32)
    basis = np.random.default_rng(SEED).standard_normal((DIRECTIONS, 2 * width), np.float32) * scales[:, None]
    labels = (rng.random(n) < 0.05).astype(np.int64)
    made = np.empty((2, n, 1, width), np.float16)
    for start in range(0, n, BLOCK):
        inside = rng.standard_normal((min(BLOCK, n - start), DIRECTIONS), np.float32)  # (b, directions)
        inside[:, DIRECTIONS // 2] += labels[start : start + BLOCK]
        block = inside @ basis
        block += 0.1 * rng.standard_normal(block.shape, np.float32)
        made[:, start : start + BLOCK, 0] = block[:, :width], block[:, width:]
    ids = [f"i{number:07d}" for number in range(first, first + n)]
    return Inputs(ids=ids, patients=np.array(ids), labels=labels, features={"largest": made[0], "smallest": made[1]})


def measured(train: int, val: int, width: int) -> dict[str, float]:
    """Processor seconds of one fit on one thread, the most memory of the process, MB, and fits not converged."""
    rng = np.random.default_rng(SEED)
    seen, chosen = images(rng, train, width, 0), images(rng, val, width, train)
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(
            row="bench",
            images=chosen,
            train=seen,
            found=None,
            model=None,
            bank=Bank(questions=("?",), answers=("Yes/No",), text_pairs=(("a", "b"),)),
            preprocessing_hash="",
            batch_size=1,
            readers=0,
            seed=SEED,
            environment=None,
            work=Path(folder),
        )
        began = processor_seconds()
        fitted = probe.fit(ROW, setting, Path(folder))
        seconds = processor_seconds() - began
    return {"seconds": seconds, "mb": peak_mb(), "unfinished": float(len(fitted.notes))}


def bench(train: int = IMAGES, val: int = VALIDATION, width: int = WIDTH) -> dict[str, Result]:
    """Seconds, memory, and fits that did not converge, each run in a process of its own."""
    options = json.dumps([train, val, width])
    command = [sys.executable, "-m", "workflow.bench.probe", options]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        for _ in range(RUNS)
    ]
    note = f"{len(STRENGTHS)} strengths on {train} x {2 * width} features, one thread"
    return {
        f"probe.{name}": Result(
            value=statistics.median(values),
            unit=unit,
            label=MEASURED,
            command=COMMAND,
            low=min(values),
            high=max(values),
            runs=values,
            at_most=most,
            note=note,
        )
        for name, unit, most, values in (
            ("seconds", "processor s", MAX_SECONDS, [run["seconds"] for run in runs]),
            ("memory", "MB, features included", MAX_MB, [run["mb"] for run in runs]),
            ("unfinished", "fits", 0.0, [run["unfinished"] for run in runs]),
        )
    }


if __name__ == "__main__":
    print(json.dumps(measured(*json.loads(sys.argv[1]))))

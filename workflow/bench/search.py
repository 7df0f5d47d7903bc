"""Time and memory of the exact search at the size of MIMIC-CXR: 200,000 images of a pool, 2,432 that look."""

import json
import statistics
import subprocess
import sys

import numpy as np

from stages.lib.models import search
from workflow.bench.interleave import processor_seconds
from workflow.bench.memory import peak_mb
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=search"
POOL, WIDTH, QUERIES, K = 200_000, 1152, 2_432, 40
SEED = 9
RUNS = 2
MAX_SECONDS, MAX_MB = 40.0, 2000.0


def vectors(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Random directions, float32 of shape (n, d), each of length 1."""
    rows = rng.standard_normal((n, d), dtype=np.float32)
    rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return rows


def measured(pool: int, width: int, queries: int, k: int) -> dict[str, float]:
    """Processor seconds of one search on one thread, and how many MB the process grew beyond its vectors."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    items, asked = vectors(rng, pool, width), vectors(rng, queries, width)
    before = peak_mb()
    began = processor_seconds()
    search.search(asked, items, k)
    return {"seconds": processor_seconds() - began, "mb": peak_mb() - before}


def bench(pool: int = POOL, width: int = WIDTH, queries: int = QUERIES, k: int = K) -> dict[str, Result]:
    """Seconds, and memory beside the vectors, each run in a process of its own."""
    options = json.dumps([pool, width, queries, k])
    command = [sys.executable, "-m", "workflow.bench.search", options]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        for _ in range(RUNS)
    ]
    note = f"first {k} of {pool} x {width} for {queries} queries, one thread"
    return {
        f"search.{name}": Result(
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
            ("memory", "MB beside the vectors", MAX_MB, [run["mb"] for run in runs]),
        )
    }


if __name__ == "__main__":
    print(json.dumps(measured(*json.loads(sys.argv[1]))))

"""Memory of inference for few and for many images: the largest size of a process of its own."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from stages.lib.core import tables
from workflow.bench.images import Study
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=memory"
FEW, MANY = 500, 2000
RUNS = 2


def peak_mb() -> float:
    """Largest resident size that this process has had, MB.

    Linux hands `ru_maxrss` of the parent down to a child; VmHWM begins anew with each program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def repeated(images: pa.Table, n: int) -> pa.Table:
    """A table of n images, ids distinct, that shows the first `FEW` of `images` over and over."""
    rows = images.slice(0, FEW).to_pylist()
    return tables.from_rows(
        [{**rows[i % len(rows)], "image_id": f"{i:06d}"} for i in range(n)],
        tables.NORMALIZED,
    )


def asked(study: Study, n: int) -> float:
    """Largest size of a process that runs stages.nodules.infer on n images, MB."""
    table = study.folder / f"normalized_{n}.parquet"
    tables.write(table, repeated(study.normalized, n), tables.NORMALIZED)
    options = [
        *study.options("nodules.infer", "nodules.model", "nodules.prompt", "nodules.classifiers"),
        *("--classifier", "zero_shot"),
        *study.named(normalized=table.name, base="fetch.json", infer=f"infer_{n}.parquet"),
        *("--shard", "1-of-1", "--results", str(study.folder)),
    ]
    command = [sys.executable, "-m", "workflow.bench.memory", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def bench(study: Study) -> dict[str, Result]:
    """How much larger the process is for `MANY` images than for `FEW`."""
    few, many = ([asked(study, n) for _ in range(RUNS)] for n in (FEW, MANY))
    ratios = [b / a for a, b in zip(few, many, strict=True)]
    return {
        "memory.2000_images_against_500": Result(
            value=statistics.median(ratios),
            unit="times the memory",
            label=MEASURED,
            command=COMMAND,
            low=min(ratios),
            high=max(ratios),
            runs=ratios,
            at_most=1.1,
            note=f"largest resident size {statistics.median(few):.0f} and {statistics.median(many):.0f} MB",
        )
    }


if __name__ == "__main__":
    from stages.nodules import infer

    infer.main(json.loads(sys.argv[1]))
    print(peak_mb())

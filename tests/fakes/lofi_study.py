"""The chapter lofi small enough for a test: a few drawn images with reports, and a few steps of each training."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import checkout as checkouts
import yaml

from stages.lib.core import sentence_tables, tables
from stages.lib.core.tables import Schema

FEW: Mapping[str, Any] = {"max_steps": 6, "eval_steps": 3, "save_steps": 3, "per_device_train_batch_size": 8}
VARIANT = "sigmoid_alone"
IMAGES = {"train": 60, "val": 12, "test": 24}
ENCODERS = ("lofi", "base")
GROUNDERS = ("tuned_lofi", "map", "copied", "in_context_0")
ROWS = {"encoders": ENCODERS, "grounders": GROUNDERS}
SHIPPED = yaml.safe_load((checkouts.ROOT / "params.yaml").read_text())["lofi"]
SMALL_LOFI: Mapping[str, Mapping[str, Any] | None] = {
    "study": {"shards": 1, "chapters": ["lofi"]},
    "lofi.simulate": {f"{split}_images": count for split, count in IMAGES.items()},
    "lofi.train": {**FEW, "samples_per_pass": 8},
    "lofi.tune": FEW,
    "lofi.grounders.tuned_lofi": {"max_new_tokens": 12},
    "lofi.grounders.in_context_0": {"max_new_tokens": 12},
    "lofi.ground": {"max_pairs": 10},
    "lofi.measure": {"draws": 50, "compared_grounders": [["tuned_lofi", "copied"]], "min_stratum_sentences": 2},
    "lofi.section": {"queries": 4, "sentences": 4},
    **{f"lofi.{kind}.{name}": None for kind, kept in ROWS.items() for name in SHIPPED[kind] if name not in kept},
    "lofi.ablations": {"seeds": [0], "variants": {VARIANT: {"tasks": ["sigmoid"]}}},
}
ASKED = 30  # ten sentences, each with its own image, another patient's, and a grey one
TABLES: Mapping[str, Schema] = {
    "manifest": tables.MANIFEST,
    "sentences": sentence_tables.SENTENCES,
    "boxes": sentence_tables.BOXES,
    "given_split": sentence_tables.GIVEN_SPLIT,
    "normalized": tables.NORMALIZED,
    "pairs": sentence_tables.PAIRS,
    **{f"embed/{name}_images": sentence_tables.IMAGE_VECTORS for name in ENCODERS},
    **{f"embed/{name}_texts": sentence_tables.TEXT_VECTORS for name in ENCODERS},
    **{f"retrieve/{name}": sentence_tables.RANKS for name in ENCODERS},
    **{f"neighbours/{name}": sentence_tables.NEIGHBOURS for name in ENCODERS},
    **{f"ground/{name}": sentence_tables.GROUNDED for name in GROUNDERS},
    "measure/measures": tables.MEASURES,
    "measure/outcomes": tables.OUTCOMES,
}
ADAPTERS = {"train/adapter": "adapter", "tune/tuned_lofi/adapter": "tune/tuned_lofi/adapter"}
KEPT = ("checkpoints", "features", "vectors")
OPTIONS = ("--cores", "1", "--resources", "gpu=1", "--rerun-incomplete", "--nocolor", "--quiet", "all")


def snakemake(folder: Path, *targets: str, **environment: str) -> str:
    """What Snakemake prints when it makes `targets`, one job at a time."""
    return checkouts.run(folder, "snakemake", *OPTIONS, "--", *targets, **environment)


def forget(folder: Path) -> None:
    """Delete what a later run can take up, so that it has to make everything itself."""
    for name in KEPT:
        shutil.rmtree(folder / "results/lofi" / name)


def kill_when(folder: Path, log: str, written: str) -> None:
    """Run the chapter, and kill Snakemake and its job at once as soon as a job has begun and files were written.

    Args:
        folder: The study.
        log: Of the job, inside of results/logs.
        written: Pattern of files inside of results/lofi, of which there have to be more than before.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    before = len(list(folder.glob(f"results/lofi/{written}")))

    def waiting() -> bool:
        begun = (folder / "results/logs" / log).exists()
        return not begun or len(list(folder.glob(f"results/lofi/{written}"))) <= before

    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *OPTIONS, "--nolock", "--", "lofi"],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while (
            not (folder / "results/logs" / log).exists() or len(list(folder.glob(f"results/lofi/{written}"))) <= before
        ):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def planned(text: str) -> set[tuple[str, str]]:
    """Rules of a dry run that would run, with the row that a job is of, without those that only name what is wanted."""
    jobs = re.split(r"^(?:local)?rule ", text, flags=re.MULTILINE)
    found = set()
    for job in jobs[1:]:
        name, row = job.partition(":")[0], re.search(r"wildcards: (?:grounder|encoder)=(\w+)", job)
        found.add((name, row.group(1) if row else ""))
    return found - {("all", ""), ("lofi", "")}

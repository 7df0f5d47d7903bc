"""Measure, print a table, write results/bench.json: `make bench`, or `make bench ONLY=flops`.

Operations are counted on the real 4B architecture, without its weights. Times are ratios of interleaved runs with the
tiny model on this CPU: they do not carry over to a GPU.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import yaml

from stages.lib.core import cli, files, params, provenance
from stages.lib.core.log import LOG
from stages.lib.learn import answers
from stages.lib.models import prompts
from workflow.bench import (
    chat,
    embed,
    findings,
    flops,
    grounding,
    images,
    in_context,
    ingest,
    localizer_cv,
    lofi,
    matching,
    memory,
    probe,
    reports,
    search,
    speed,
    waiting,
)
from workflow.bench.result import Result, table

PRESETS = Path("workflow/presets")
OUT = Path("results/bench.json")
NAMES = (
    "flops",
    "speed",
    "memory",
    "waiting",
    "matching",
    "ingest",
    "reports",
    "chat",
    "findings",
    "search",
    *("grounding", "in_context", "lofi", "embed", "localizer_cv"),
)


def benches(study: Callable[[], images.Study]) -> dict[str, Callable[[], dict[str, Result]]]:
    """What can be measured, by name.

    Args:
        study: Makes the bench's images, or returns them if they are made.
    """

    def counted() -> dict[str, Result]:
        document = yaml.safe_load((PRESETS / "nodulocc.yaml").read_text())
        given = params.parse(document, {"nodules.prompt": prompts.PromptParams, "nodules.train": answers.TrainParams})
        return flops.bench(given.prompt, given.train)

    made = {
        "flops": counted,
        "speed": lambda: speed.bench(study()),
        "memory": lambda: memory.bench(study()),
        "waiting": lambda: waiting.bench(study()),
        "matching": matching.bench,
        "search": search.bench,
        "grounding": grounding.bench,
        "in_context": in_context.bench,
        "lofi": lofi.bench,
        "probe": probe.bench,
        "embed": embed.bench,
        "localizer_cv": localizer_cv.bench,
        "reports": reports.bench,
        "chat": chat.bench,
        "findings": lambda: findings.bench(yaml.safe_load((PRESETS / "demo.yaml").read_text())),
        "ingest": lambda: ingest.bench(yaml.safe_load((PRESETS / "demo.yaml").read_text())),
    }
    return {name: made[name] for name in NAMES}


def cpu() -> str:
    """Name of the processor and the number of threads that torch may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return f"{model or platform.processor() or platform.machine()}, OMP_NUM_THREADS {threads}"


def run(names: Sequence[str]) -> dict[str, Result]:
    """Results of the benches named."""
    folder = Path(tempfile.mkdtemp(prefix="noduleflow-bench-"))
    try:

        @cache
        def study() -> images.Study:
            return images.make(folder, yaml.safe_load((PRESETS / "demo.yaml").read_text()))

        found: dict[str, Result] = {}
        for name in names:
            LOG.info("bench: %s", name)
            found.update(benches(study)[name]())
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the benches named, or all; exit with 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if left out")
    only = parser.parse_args().only
    if unknown := [name for name in only if name not in NAMES]:
        parser.error(f"{', '.join(unknown)}: unknown; known are {', '.join(NAMES)}")
    found = run(only or NAMES)
    document = {
        "results": {name: result.row() for name, result in found.items()},
        "provenance": {"git": provenance.revision(), "versions": provenance.versions(), "cpu": cpu()},
    }
    files.write_json(OUT, document)
    print(f"\n{table(found)}\n\n{OUT}")
    if lost := [name for name, result in found.items() if result.kept is False]:
        sys.exit(f"not kept: {', '.join(lost)}")


if __name__ == "__main__":
    cli.run(main)

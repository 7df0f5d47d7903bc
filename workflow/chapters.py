"""Chapters: what each one has at the top of params.yaml, and which modules of workflow/ speak for it.

A new chapter is one entry. `estimate` and `doctor` name modules, imported where they are used: `lines(document, gpu,
results)` says what the chapter takes on a GPU, `lines(document)` what it lacks on this machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workflow.costs import Gpu

Line = tuple[str, str | None]  # what doctor found, and what to do about it; None if nothing


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One chapter.

    Attributes:
        roots: Its keys at the top of params.yaml.
        own_page: Whether its page is a rule of its own, so that it is there without the study's.
        estimate: Module of what it takes.
        doctor: Module of what it lacks here; empty if doctor itself knows.
    """

    roots: tuple[str, ...]
    own_page: bool
    estimate: str
    doctor: str = ""


CHAPTERS: Mapping[str, Chapter] = {
    "nodules": Chapter(
        roots=("data", "weights", "nodules", "predict"), own_page=False, estimate="workflow.stage_costs"
    ),
    "zoo": Chapter(
        roots=("zoo",),
        own_page=True,
        estimate="workflow.zoo_costs",
        doctor="workflow.zoo_doctor",
    ),
    "findings": Chapter(
        roots=("findings",),
        own_page=True,
        estimate="workflow.findings_costs",
        doctor="workflow.findings_doctor",
    ),
    "lofi": Chapter(
        roots=("lofi",),
        own_page=True,
        estimate="workflow.lofi_costs",
        doctor="workflow.lofi_doctor",
    ),
}
ROOTS = tuple(dict.fromkeys(root for chapter in CHAPTERS.values() for root in chapter.roots))
OWN_PAGE = tuple(name for name, chapter in CHAPTERS.items() if chapter.own_page)


def estimates(
    document: Mapping[str, Any], gpu: "Gpu", results: Path, on_demand: Sequence[str] = tuple(CHAPTERS)
) -> Iterator[str]:
    """Estimate of each chapter of the study, line by line, and behind them of those that run on demand.

    Args:
        document: The parameters, checked.
        gpu: On which models run.
        results: Folder of results, where images are counted that are there.
        on_demand: Chapters that are told beside those of the study, if the parameters have them.
    """
    asked = [name for name in CHAPTERS if name in document["study"]["chapters"]]
    for name in (*asked, *(name for name in on_demand if name in document and name not in asked)):
        if name not in asked:
            yield from ("", f"on demand, as study.chapters is without it: snakemake {name}")
        yield from import_module(CHAPTERS[name].estimate).lines(document, gpu, results)


def lacks(document: Mapping[str, Any]) -> Iterator[Line]:
    """What each chapter of the parameters needs on this machine, and what to do about it."""
    for name, chapter in CHAPTERS.items():
        if chapter.doctor and name in document:
            yield from import_module(chapter.doctor).lines(document)


def outcomes() -> tuple[str, ...]:
    """Outcomes of all chapters, by path."""
    return tuple(f"results/{name}/measure/outcomes.parquet" for name in CHAPTERS)

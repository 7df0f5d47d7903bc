"""Ask a localizer where the nodules are; keep its words, and map what it finds to points of the original film.

The stages localize_medgemma, localize_relevance and localize_chexagent are this with a model behind it.

in   manifest  tables.MANIFEST; normalized  tables.NORMALIZED; split  tables.SPLIT, and points  tables.POINTS, which
     decide what films are "choosing" and "measured" ones
     choice    JSON written by choose: the requests of the bank to put; left out, all of them are put
     results   folder that the films' paths are relative to
out  votes     tables.VOTES: a film without findings has no row; answers  tables.ANSWERS: one row per question
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, params, shards, tables
from stages.lib.core.errors import TableError
from stages.lib.core.progress import track
from stages.lib.detect import choice, views
from stages.lib.detect.detection import Answer, Finding, Question
from stages.lib.images.geometry import Geometry
from stages.lib.images.normalized import load

Localizer = Callable[[Sequence[Question]], Iterator[Answer]]
FILES = ("manifest", "normalized", "split", "points", "choice", "part", "results")
OPTIONAL = ("split", "points", "choice")


@params.section
class Params:
    """Which localizers there are, and which films they are asked about."""

    localizers: tuple[Literal["medgemma", "relevance", "chexagent"], ...]
    views: tuple[views.Name, ...]  # of each film; several are merged to votes, and cost as many times the work
    films: Literal["choosing", "measured", "all"]  # "measured": those with points, test films, and choosing ones

    def __post_init__(self) -> None:
        problems = [
            f"each of {name} once, found {list(found)}"
            for name, found in (("localizers", self.localizers), ("views", self.views))
            if not found or len(set(found)) < len(found)
        ]
        if problems:
            raise ValueError("; ".join(problems))


def localize(
    manifest: pa.Table,
    normalized: pa.Table,
    requests: Sequence[str],
    results: Path,
    localizer: Localizer,
    params: Params,
) -> tuple[pa.Table, pa.Table]:
    """Return the findings in each film of `normalized` in original pixels, and the localizer's words.

    Args:
        manifest: Table of `tables.MANIFEST` with at least the films of `normalized`.
        normalized: Table of `tables.NORMALIZED`: the films to ask about.
        requests: What is asked about each view of each film.
        results: The folder that the films' paths are relative to.
        localizer: Takes questions, those of one request in a row, and yields their answers in order.
        params: See `Params`.

    Returns:
        Tables of `tables.VOTES` and of `tables.ANSWERS`.

    Raises:
        TableError: If a film is not in the manifest.
    """
    films = normalized.to_pylist()
    geometries = _geometries(manifest, films)
    asked = [(request, view, film) for request in requests for view in params.views for film in films]
    questions = [
        Question(
            key=f"{film['image_id']}\t{view}\t{request}",
            pixels=partial(_shown, results / film["png"], view),
            request=request,
        )
        for request, view, film in asked
    ]
    votes: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    said = track(localizer(questions), total=len(questions), what="localize", unit="questions")
    for (request, view, film), answer in zip(asked, said, strict=True):
        name = film["image_id"]
        known = {"image_id": name, "request": request, "view": view}
        answers.append({**known, "answer": answer.words, "parsed": answer.parsed})
        votes += [
            {**known, "rank": rank, **_original(views.VIEWS[view].back(finding), geometries[name])}
            for rank, finding in enumerate(answer.findings)
        ]
    return tables.from_rows(votes, tables.VOTES), tables.from_rows(answers, tables.ANSWERS)


def chosen_films(
    normalized: pa.Table, split: pa.Table | None, points: pa.Table | None, params: Params, splits: Sequence[str]
) -> pa.Table:
    """Return the films that are asked about.

    "choosing" films are those of `choice.films`; "measured" ones are these, all others with points, and the test split.
    Without a split and points there is nothing to choose by or to measure, and every film is asked about.

    Args:
        normalized: All films.
        split: Which split each is in.
        points: Where the nodules are.
        params: See `Params`.
        splits: Splits whose films choose, `choose.splits`.
    """
    if params.films == "all" or (split is None and points is None):
        return normalized
    known = split.to_pylist() if split is not None else []
    marked = set(points["image_id"].to_pylist()) if points is not None else set()
    wanted = choice.films(known, marked, splits)
    if params.films == "measured":
        wanted |= marked | {row["image_id"] for row in known if row["split"] == "test"}
    return normalized.filter(pa.array([name in wanted for name in normalized["image_id"].to_pylist()], pa.bool_()))


def parse(
    doc: str | None,
    argv: Sequence[str] | None,
    sections: Mapping[str, type],
    *,
    reads: Sequence[str],
    writes: Sequence[str] = (),
) -> argparse.Namespace:
    """Return the arguments of a stage that asks a localizer.

    Args:
        doc: Docstring of the stage.
        argv: Arguments; None for those of the process.
        sections: The class of each section that it wants beside `localize` and `choose`.
        reads: Names of its inputs beside those that all localizers read.
        writes: Names of its outputs beside those that all localizers write.
    """
    return cli.parse(
        doc,
        argv,
        params={"localize": Params, "choose": choice.ChooseParams, **sections},
        reads=[*FILES, *reads],
        writes=["votes", "answers", *writes],
        optional=OPTIONAL,
    )


def run(args: argparse.Namespace, bank: Sequence[str], localizer: Callable[[], Localizer]) -> None:
    """Read the films of one part, ask about them, write the findings and the words.

    Args:
        args: What `parse` returned.
        bank: All requests that may be put.
        localizer: Returns the localizer; called only if there is a film to ask about.
    """
    section: Params = args.params.localize
    split = tables.read(args.split, tables.SPLIT) if args.split else None
    points = tables.read(args.points, tables.POINTS) if args.points else None
    films = chosen_films(
        tables.read(args.normalized, tables.NORMALIZED), split, points, section, args.params.choose.splits
    )
    films = shards.take(films, args.part)
    kept = args.params.choose.requests_kept
    if section.films == "choosing" and len(bank) <= kept:
        films = films.slice(0, 0)  # there is nothing to choose between
    requests = choice.requests(args.choice, bank, kept) if args.choice else bank
    ask = localizer() if films.num_rows else lambda questions: iter(())
    manifest = tables.read(args.manifest, tables.MANIFEST)
    votes, answers = localize(manifest, films, requests, Path(args.results), ask, section)
    tables.write(args.votes, votes, tables.VOTES)
    tables.write(args.answers, answers, tables.ANSWERS)


def _shown(png: Path, view: str) -> np.ndarray:
    return views.VIEWS[view].show(load(png))


def _geometries(manifest: pa.Table, films: Sequence[dict[str, Any]]) -> dict[str, Geometry]:
    sizes = {row["image_id"]: (row["width_px"], row["height_px"]) for row in manifest.to_pylist()}
    strange = [film["image_id"] for film in films if None in sizes.get(film["image_id"], (None,))]
    if strange:
        raise TableError(
            f"{len(strange)} normalized films have no size in the manifest (first: {strange[0]}); "
            "wanted the manifest that they were normalized from"
        )
    return {
        film["image_id"]: Geometry(
            width_px=sizes[film["image_id"]][0], height_px=sizes[film["image_id"]][1], side_px=film["side_px"]
        )
        for film in films
    }


def _original(finding: Finding, geometry: Geometry) -> dict[str, Any]:
    x, y = geometry.from_unit(finding.u, finding.v)
    row: dict[str, Any] = {"x": x, "y": y, "confidence": finding.confidence, "phrase": finding.phrase}
    if finding.box is not None:
        left, top, right, bottom = finding.box
        row["x0"], row["y0"] = geometry.from_unit(left, top)
        row["x1"], row["y1"] = geometry.from_unit(right, bottom)
    return row

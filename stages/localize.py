"""Ask the base model where the nodules are; keep its words, and map its boxes to points of the original film.

in   manifest  tables.MANIFEST; normalized  tables.NORMALIZED; base  fetch.json; split  tables.SPLIT, and
     points  tables.POINTS, which decide what "measured" films are
out  localize  tables.LOCALIZE; answers  tables.ANSWERS
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from stages.lib import boxes, cli, models, params, parts, tables
from stages.lib.errors import TableError
from stages.lib.geometry import Geometry
from stages.lib.normalized import load
from stages.lib.progress import track


@params.section
class Params:
    """What a localizer is asked, and about which films."""

    request: params.Text  # put to the model with each film
    image_first: bool  # whether the film stands before the request, or after it
    max_new_tokens: params.Count  # the answer is cut there; about 45 per box
    batch_size: params.Count  # films per batch; changes the time, not the answers
    films: Literal["measured", "all"]  # "measured": those with points and those of the test split


@dataclass(frozen=True)
class Finding:
    """One finding, in fractions of the padded square from edge to edge: u to the right, v down.

    Attributes:
        u: Column of the point, the centre of the box if there is one.
        v: Row of the point.
        box: Left, top, right, bottom; None if the localizer gives points.
        confidence: In [0, 1]; None if the localizer gives none.
        phrase: The model's name of the finding, untouched; None if it gave none.
    """

    u: float
    v: float
    box: tuple[float, float, float, float] | None
    confidence: float | None
    phrase: str | None


@dataclass(frozen=True)
class Answer:
    """What a localizer said about one film.

    Attributes:
        words: Verbatim.
        parsed: What the parser made of them: ok, empty or malformed.
        findings: In the order of the answer.
    """

    words: str
    parsed: str
    findings: tuple[Finding, ...]


class Localizer(Protocol):
    """Films in, points with words out."""

    def __call__(self, pngs: Sequence[Path]) -> list[Answer]:
        """Return one answer per normalized film, in order."""
        ...


def localize(
    manifest: pa.Table, normalized: pa.Table, results: Path, localizer: Localizer, params: Params
) -> tuple[pa.Table, pa.Table]:
    """Return the findings of each film of `normalized` in original pixels, and the localizer's words.

    Args:
        manifest: Table of `tables.MANIFEST` with at least the films of `normalized`.
        normalized: Table of `tables.NORMALIZED`: the films to ask about.
        results: The folder that the films' paths are relative to.
        localizer: Asked about `params.batch_size` films at a time.
        params: See `Params`.

    Returns:
        Tables of `tables.LOCALIZE` (a film without findings has no row) and of `tables.ANSWERS` (one row per film).

    Raises:
        TableError: If a film is not in the manifest.
    """
    films = normalized.to_pylist()
    geometries = _geometries(manifest, films)
    rows: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    batches = [films[start : start + params.batch_size] for start in range(0, len(films), params.batch_size)]
    for batch in track(batches, total=len(films), what="localize", size=params.batch_size):
        said = localizer([results / film["png"] for film in batch])
        for film, answer in zip(batch, said, strict=True):
            geometry = geometries[film["image_id"]]
            answers.append({"image_id": film["image_id"], "answer": answer.words, "parsed": answer.parsed})
            rows += [
                {"image_id": film["image_id"], "rank": rank, **_original(finding, geometry)}
                for rank, finding in enumerate(answer.findings)
            ]
    return tables.from_rows(rows, tables.LOCALIZE), tables.from_rows(answers, tables.ANSWERS)


def measured(normalized: pa.Table, split: pa.Table | None, points: pa.Table | None) -> pa.Table:
    """Return the films that the metrics look at: those with points and those of the test split.

    Without a split and points there is nothing to measure (films to predict), and every film is returned.
    """
    if split is None and points is None:
        return normalized
    wanted: set[str] = set()
    if split is not None:
        wanted |= {row["image_id"] for row in split.to_pylist() if row["split"] == "test"}
    if points is not None:
        wanted |= set(points["image_id"].to_pylist())
    return normalized.filter(pa.array([name in wanted for name in normalized["image_id"].to_pylist()], pa.bool_()))


def medgemma(base: Path, model: models.ModelParams, params: Params) -> Localizer:
    """Return a localizer that asks the base model in `base` for boxes in MedGemma's format.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    loaded = models.load(base, model)

    def ask(pngs: Sequence[Path]) -> list[Answer]:
        words = models.generate(
            loaded,
            [load(png) for png in pngs],
            params.request,
            params.max_new_tokens,
            image_first=params.image_first,
        )
        return [read(answer) for answer in words]

    return ask


def read(words: str) -> Answer:
    """Return an answer in MedGemma's format as findings; the point is the centre of the box.

    >>> read('[{"box_2d": [400, 300, 500, 350], "label": "nodule"}]').findings
    (Finding(u=0.325, v=0.45, box=(0.3, 0.4, 0.35, 0.5), confidence=None, phrase='nodule'),)
    """
    parsed = boxes.parse(words)
    unit = float(boxes.UNITS)
    findings = tuple(
        Finding(
            u=(box.x0 + box.x1) / 2 / unit,
            v=(box.y0 + box.y1) / 2 / unit,
            box=(box.x0 / unit, box.y0 / unit, box.x1 / unit, box.y1 / unit),
            confidence=None,
            phrase=box.label,
        )
        for box in parsed.boxes
    )
    return Answer(words, parsed.status, findings)


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


def main(argv: Sequence[str] | None = None) -> None:
    """Read the tables, ask the base model, write the findings and its words."""
    args = cli.parse(
        __doc__,
        argv,
        params={"localize": Params, "model": models.ModelParams},
        reads=["manifest", "normalized", "base", "split", "points", "part", "results"],
        writes=["localize", "answers"],
        optional=["split", "points"],
    )
    section: Params = args.params.localize
    asked = tables.read(args.normalized, tables.NORMALIZED)
    if section.films == "measured":
        split = tables.read(args.split, tables.SPLIT) if args.split else None
        points = tables.read(args.points, tables.POINTS) if args.points else None
        asked = measured(asked, split, points)
    asked = parts.take(asked, args.part)
    manifest = tables.read(args.manifest, tables.MANIFEST)
    localizer = medgemma(models.read_base(args.base).folder, args.params.model, section)
    found, answers = localize(manifest, asked, Path(args.results), localizer, section)
    tables.write(args.localize, found, tables.LOCALIZE)
    tables.write(args.answers, answers, tables.ANSWERS)


if __name__ == "__main__":
    cli.run(main)

"""Section of the audits: a line for each, curves of the corruptions, and images as they were changed.

in   measures    tables.MEASURES of audit_measure
     curves      tables.CURVES of audit_measure
     audits      JSON, see `audits.Audits`
     manifest, points, normalized  tables of those names; results  folder of the images
     scores      tables.AUDIT of one classifier: which images were asked about
out  section     JSON, see `blocks.Section`
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, documents, tables
from stages.lib.images import normalized, variants
from stages.lib.images.geometry import Geometry
from stages.lib.images.lung_field import lung_field
from stages.lib.images.variants import CORRUPTION, MARKER, NODULE, PROMPT, AuditParams, Variant
from stages.lib.metrics import audits as metrics
from stages.lib.metrics import curves, measures
from stages.lib.metrics.curves import Curve
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report import gallery
from stages.lib.report.blocks import (
    Album,
    Axis,
    Block,
    Card,
    Chart,
    Charts,
    Column,
    Gallery,
    Heading,
    Note,
    Part,
    Point,
    Row,
    Rows,
    Section,
    Sentence,
    Series,
    Table,
)
from stages.lib.report.charts import fitting_axis
from stages.lib.report.numbers import label, number
from stages.lib.report.systems import System, systems
from stages.nodules.audits import EVERYWHERE, TASK, TITLES, Audit, Audits
from stages.nodules.notes import CHAPTER

TITLE = "Does a classifier look at the nodule, or at a shortcut?"
OUTCOMES = {"pass": "pass", "fail": "FAIL", "null": "no outcome"}
AREAS = (metrics.BEFORE, metrics.AFTER, metrics.CHANGE)
DROPS = (metrics.DROP, metrics.CONTROL_DROP, metrics.EXCESS)
PROMPTS = (metrics.AGREEMENT, metrics.KAPPA, metrics.AFTER, metrics.CHANGE)
SIGNED = (metrics.CHANGE, *DROPS)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is shown.

    Attributes:
        audits: The audits.
        measures: Their measures.
        curves: ROC AUC by severity.
        systems: Classifiers by name.
        simulated: Whether the images are simulated.
        confidence: Of the intervals.
        albums: Images as they were changed.
    """

    audits: Audits
    measures: Mapping[Subject, Mapping[Key, Estimate]]
    curves: Mapping[Subject, Sequence[Curve]]
    systems: Mapping[str, System]
    simulated: bool
    confidence: float
    albums: tuple[Album, ...]


def section(found: Found) -> Section:
    """What the page of the audits shows."""
    return Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=finding(found),
        warnings=("The images are simulated: what is found here says nothing about any patient.",)
        if found.simulated
        else (),
        tiles=(),
        parts=(
            Part(name="audits", title="Audits", short="Audits", blocks=tuple(_tables(found))),
            Part(name="corruptions", title="Corrupted images", short="Corruptions", blocks=tuple(_charts(found))),
            Part(
                name="changed",
                title="Images as they were changed",
                short="Images",
                blocks=(Gallery(albums=found.albums),),
            ),
        ),
    )


def finding(found: Found) -> Sentence:
    """How many audits pass and fail, and which fail."""
    counts = Counter(one.outcome for one in found.audits.audits)
    failed = "; ".join(f"{one.title.lower()}{_which(one)} ({_label(found, one)})" for one in _failed(found))
    said = (
        f"Of {len(found.audits.audits)} audits {counts['pass']} pass, {counts['fail']} fail, and {counts['null']} have "
    )
    said += "no outcome. "
    return (said + (f"What fails: {failed}." if failed else "None fails."),)


def _failed(found: Found) -> list[Audit]:
    return [one for one in found.audits.audits if one.outcome == "fail"]


def _which(one: Audit) -> str:
    return f", {one.variant.replace('_', ' ')}" if one.audit in (CORRUPTION, PROMPT) else ""


def _label(found: Found, one: Audit) -> str:
    return "all classifiers" if one.system == EVERYWHERE else found.systems[one.system].label


def _tables(found: Found) -> Iterator[Block]:
    """A table for each way of measuring an audit, with a line per audit and classifier."""
    yield Note(
        text=(
            f"Asked about: {found.audits.sample}. Values have their {100 * found.confidence:g} % intervals over "
            "patients; before and after are measured on the same images and the same resamples.",
        )
    )
    if found.audits.not_asked:
        names = ", ".join(found.systems[name].label for name in found.audits.not_asked)
        yield Note(text=(f"Not asked, since the score is of a localizer's points: {names}.",))
    kinds = [one.audit for one in found.audits.audits]
    for title, keys, wanted in (
        ("Images, labels and what is around them", AREAS, lambda kind: kind not in (NODULE, PROMPT, CORRUPTION)),
        ("Marked nodules", DROPS, lambda kind: kind == NODULE),
        ("Corruptions", AREAS, lambda kind: kind == CORRUPTION),
        ("Prompts", PROMPTS, lambda kind: kind == PROMPT),
    ):
        chosen = [kind for kind in dict.fromkeys(kinds) if wanted(kind)]
        if chosen:
            yield Heading(title=title)
            yield _table(found, chosen, keys)


def _table(found: Found, kinds: Sequence[str], keys: Sequence[Key]) -> Table:
    groups: dict[tuple[str, str], list[Audit]] = {}
    for one in found.audits.audits:
        if one.audit in kinds:
            groups.setdefault((one.audit, one.variant), []).append(one)
    columns = (Column(title="Outcome"), *(Column(title=label(key.metric)) for key in keys), Column(title="Why"))
    return Table(
        name=f"audit.{kinds[0]}",
        style="measured",
        columns=columns,
        groups=tuple(
            Rows(
                title=f"{members[0].title}{_which(members[0])}",
                note=members[0].changed,
                rows=tuple(_row(found, one, keys) for one in members),
            )
            for members in groups.values()
        ),
    )


def _row(found: Found, one: Audit, keys: Sequence[Key]) -> Row:
    measured = found.measures.get(Subject(TASK, one.system, one.subset), {})
    cells = [number(key, measured.get(key), signed=key in SIGNED) if measured else "" for key in keys]
    return Row(
        title=_label(found, one),
        key=f"{one.audit}.{one.variant}.{one.system}",
        cells=(OUTCOMES[one.outcome], *cells, why(one)),
    )


def why(one: Audit) -> str:
    """Reason of an outcome, with the images that it is about and those that it leaves out."""
    left_out = "; ".join(f"{count:,} images: {reason}" for reason, count in sorted(one.problems.items()))
    changed = f"{one.n_changed:,} images changed" if one.n_changed else ""
    return ". ".join(part for part in (one.reason, changed, left_out) if part) + "."


def _charts(found: Found) -> Iterator[Block]:
    """ROC AUC by severity, a chart per corruption."""
    names = dict.fromkeys(curve.at for several in found.curves.values() for curve in several if curve.at)
    charts = tuple(_chart(found, name) for name in names)
    if not charts:
        yield Note(text=("No ROC AUC is defined on these images.",))
        return
    yield Note(text=("ROC AUC by severity; 0 is the image as it is. Whiskers are intervals over patients.",))
    yield Charts(charts=charts)


def _chart(found: Found, name: str) -> Chart:
    series, most = [], 1.0
    for system in found.systems.values():
        for curve in found.curves.get(Subject(TASK, system.name, "test"), ()):
            if curve.at != name or curve.low is None or curve.high is None:
                continue
            x, y = (tuple(float(value) for value in values) for values in (curve.x, curve.y))
            rows = zip(x, y, curve.low.tolist(), curve.high.tolist(), strict=True)
            points = tuple(
                Point(
                    x=a,
                    y=b,
                    low=low,
                    high=high,
                    title=f"{system.label}, severity {a:g}: {b:.3f} [{low:.3f}, {high:.3f}]",
                )
                for a, b, low, high in rows
            )
            series.append(Series(x=x, y=y, look=system.look, label=system.label, points=points))
            most = max(most, *x)
    axis = fitting_axis([0.0, most], "severity", intervals=int(most))
    area = Axis(low=0.0, high=1.0, ticks=(0.0, 0.25, 0.5, 0.75, 1.0), title="ROC AUC")
    chance = Series(x=(axis.low, axis.high), y=(0.5, 0.5))
    return Chart(title=name.capitalize(), x=axis, y=area, series=(chance, *series))


def albums(
    ids: Sequence[str],
    rows: Mapping[str, Mapping[str, Any]],
    points: Mapping[str, Sequence[Mapping[str, Any]]],
    load: Callable[[str], Any],
    given: AuditParams,
    image_px: int,
) -> Iterator[Album]:
    """Images as they were changed, an album each.

    Args:
        ids: The images.
        rows: Row of each image: png, side_px, width_px, height_px, spacing_mm.
        points: Rows of `tables.POINTS` of those with marked nodules.
        load: Reads an image, given its path relative to the results folder.
        given: See `AuditParams`.
        image_px: Width and height on the page, pixels.
    """
    for image_id in ids:
        row = rows[image_id]
        pixels = load(row["png"])
        geometry = Geometry(width_px=row["width_px"], height_px=row["height_px"], side_px=row["side_px"])
        nodules = variants.regions(points.get(image_id, ()), geometry, row["spacing_mm"], given)
        made = list(variants.of_image(image_id, pixels, lung_field(pixels), nodules, given, whole=True))
        worst = {name: len(strengths) for name, strengths in given.corruptions.items()}
        shown = [one for one in made if one.severity is None or one.severity in (1, worst[one.variant])]
        cards = tuple(_card(one, one.pixels, image_px) for one in shown if one.pixels is not None)
        left_out = [f"{TITLES[one.audit].lower()}: {one.problem}" for one in shown if one.problem is not None]
        rule = f"not made: {'; '.join(left_out)}" if left_out else "every change could be made"
        yield Album(title=image_id, rule=rule, total=len(shown), cards=cards)


def _card(one: Variant, pixels: np.ndarray, image_px: int) -> Card:
    import cv2

    _, png = cv2.imencode(".png", pixels)
    title = TITLES.get(one.audit, "As it is")
    more = {CORRUPTION: f"{one.variant}, severity {one.severity}", NODULE: f"{one.variant}"}.get(one.audit, "")
    return Card(name=title, image=gallery.embed(png.tobytes(), image_px), facts=(more,) if more else ())


def examples(scores: pa.Table, count: int) -> list[str]:
    """Images to show: some with marked nodules, then some of the sample, those with a marker first."""
    rows = scores.to_pylist()
    able = Counter(row["image_id"] for row in rows if row["problem"] is None)
    marked = [row["image_id"] for row in rows if (row["audit"], row["variant"]) == (NODULE, "filled")]
    sampled = [row for row in rows if row["audit"] == MARKER]
    sampled.sort(key=lambda row: (row["problem"] is not None, -able[row["image_id"]], row["image_id"]))
    first = sorted(set(marked), key=lambda image: (-able[image], image))[: (count + 1) // 2]
    rest = [row["image_id"] for row in sampled if row["image_id"] not in first]
    return [*first, *rest[: count - len(first)]]


def main(argv: Sequence[str] | None = None) -> None:
    """Read, make the section, write it."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.audit": AuditParams},
        reads=("measures", "curves", "audits", "manifest", "points", "normalized", "scores", "results"),
        writes=("section",),
    )
    document, results = args.document, Path(args.results)
    own = document["nodules"]
    given: AuditParams = args.params.audit
    read = documents.read(args.audits, Audits)
    table = tables.lookup(
        tables.read(args.normalized, tables.NORMALIZED).select(["image_id", "png", "side_px"]),
        tables.read(args.manifest, tables.MANIFEST),
        ["width_px", "height_px", "spacing_mm"],
    )
    points: dict[str, list[dict[str, Any]]] = {}
    for row in tables.read(args.points, tables.POINTS).to_pylist():
        points.setdefault(row["image_id"], []).append(row)
    ids = examples(tables.read(args.scores, tables.AUDIT), own["section"]["examples"])
    found = Found(
        audits=read,
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        curves=curves.from_table(tables.read(args.curves, tables.CURVES)),
        systems=systems(list(own["classifiers"]), own["classifiers"], 0),
        simulated=Path(document["data"]["ingest"]["root"]).parts[:3] == ("results", "data", "simulate"),
        confidence=own["audit_measure"]["confidence"],
        albums=tuple(
            albums(
                ids,
                {row["image_id"]: row for row in table.to_pylist()},
                points,
                lambda png: normalized.load(results / png),
                given,
                own["section"]["image_px"],
            )
        ),
    )
    documents.write(args.section, section(found))


if __name__ == "__main__":
    cli.run(main)

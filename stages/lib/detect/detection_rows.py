"""Findings on images, between the tables that hold them and what chooses among them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import documents, params, tables
from stages.lib.core.lengths import diagonal_px
from stages.lib.core.log import LOG
from stages.lib.detect import choice, fusion
from stages.lib.detect.cutoff import Cutoff, Shown, at_rate, chosen
from stages.lib.detect.fusion import Candidate
from stages.lib.metrics import evaluation_sets, sources

EDGES = ("x0", "y0", "x1", "y1")


@params.section
class LinkParams:
    """How detections of one nodule become one."""

    link: fusion.Link  # detections are one finding if their points are near, or if their boxes overlap
    link_fraction: (
        params.Fraction
    )  # of the diagonal of the original: greatest distance of two points that are one finding
    link_iou: params.Fraction  # least intersection over union of two boxes that are one finding
    max_points: params.Count  # findings kept of an image, the most confident or the first

    def near(self, diagonal_px: float) -> Any:
        """What decides whether two findings are one on an image of such a diagonal."""
        radius = self.link_fraction * diagonal_px
        return fusion.by_distance(radius) if self.link == "distance" else fusion.by_iou(self.link_iou, radius)


def candidate(row: Mapping[str, Any]) -> Candidate:
    """A row of `tables.DETECTIONS` or `tables.LOCALIZE` as a candidate."""
    box = None if row["x0"] is None else (row["x0"], row["y0"], row["x1"], row["y1"])
    return Candidate(row["x"], row["y"], box, row["confidence"], row["phrase"])


def by_image(
    rows: Iterable[Mapping[str, Any]], detector: Sequence[str]
) -> dict[str, dict[tuple[Any, ...], list[Candidate]]]:
    """Candidates of each image by detector, in the order of the rows.

    Args:
        rows: Rows of `tables.DETECTIONS` or `tables.LOCALIZE`.
        detector: Columns that tell detectors apart.
    """
    found: dict[str, dict[tuple[Any, ...], list[Candidate]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["image_id"]][tuple(row[name] for name in detector)].append(candidate(row))
    return found


def diagonals(manifest: pa.Table) -> dict[str, float]:
    """Diagonal of each original that has a size, pixels."""
    sizes = zip(*(manifest[name].to_pylist() for name in ("image_id", "width_px", "height_px")), strict=True)
    return {name: diagonal_px(width, height) for name, width, height in sizes if width is not None}


def table(found: Mapping[str, Sequence[Candidate]], max_points: int) -> pa.Table:
    """Findings of each image, at most `max_points` of each, as `tables.LOCALIZE` with all of them shown."""
    rows = []
    for image_id, candidates in found.items():
        for rank, one in enumerate(candidates[:max_points]):
            row = {"image_id": image_id, "rank": rank, "x": one.x, "y": one.y, "shown": True}
            row |= {"confidence": one.confidence, "phrase": one.phrase}
            rows.append(row | (dict(zip(EDGES, one.box, strict=True)) if one.box else {}))
    return tables.from_rows(rows, tables.LOCALIZE)


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """What a cutoff is chosen by, or read from.

    Attributes:
        how: `choice.SelectParams`.
        tolerance_fraction: Greatest distance of a hit, of the diagonal of the original.
        points: Table of `tables.POINTS`; None if there is none.
        split: Table of `tables.SPLIT`; None if there is none.
        fitted: A choice made before, to apply; None to make one.
    """

    how: choice.SelectParams
    tolerance_fraction: float
    points: pa.Table | None
    split: pa.Table | None
    fitted: Cutoff | None

    @classmethod
    def read(
        cls,
        how: choice.SelectParams,
        tolerance_fraction: float,
        *,
        points: str | None,
        split: str | None,
        fitted: str | None,
    ) -> "Chooser":
        """A chooser from its files, each None where it was not given."""
        return cls(
            how=how,
            tolerance_fraction=tolerance_fraction,
            points=tables.read(points, tables.POINTS) if points else None,
            split=tables.read(split, tables.SPLIT) if split else None,
            fitted=documents.read(fitted, Cutoff) if fitted else None,
        )

    def settle(self, localize: pa.Table, asked: Iterable[str], manifest: pa.Table) -> tuple[pa.Table, Cutoff]:
        """`localize` with those findings shown whose confidence reaches the cutoff, and the cutoff's document.

        The cutoff is the lowest that keeps to the rate of false points on the negative images that choose. Without
        such images, or without confidences, there is none, and all findings are shown.

        Args:
            localize: Table of `tables.LOCALIZE`.
            asked: image_id of every image that was asked about.
            manifest: Table of `tables.MANIFEST`, with the sizes and sources of these images.
        """
        if self.fitted is not None:
            return cut(localize, self.fitted.cutoff), self.fitted
        images = [] if self.points is None or self.split is None else choosing(asked, self.points, self.split, self.how)
        rate = self.how.false_points_per_image
        seen = shown(localize.to_pylist(), images, self.points, diagonals(manifest), self.tolerance_fraction)
        counts, source = at_rate(seen, rate), tables.mapping(manifest, "source")
        if not counts.negatives:
            reason = "no negative image is there to choose by"
            return localize, Cutoff(cutoff=None, splits=self.how.splits, reason=reason)
        of_each = ((source[name], len(one.nodules)) for name, one in zip(images, seen, strict=True))
        kinds = sources.of_images((name, nodules > 0, not nodules) for name, nodules in of_each)
        document = chosen(counts, len(images), rate, kinds, self.how.splits)
        if not document.kept:
            LOG.warning(
                "cutoff: %.3f false points per negative image, wanted at most %.3f: no confidence tells them apart",
                *(document.false_points_per_image, rate),
            )
        return cut(localize, counts.cutoff), document


def choosing(asked: Iterable[str], points: pa.Table, split: pa.Table, how: choice.SelectParams) -> list[str]:
    """Images that choose, of those that were asked about."""
    return sorted(evaluation_sets.choosing_images(split, points, how.splits, **how.sample) & set(asked))


def shown(
    rows: Iterable[Mapping[str, Any]],
    images: Sequence[str],
    points: pa.Table | None,
    diagonal: Mapping[str, float],
    tolerance_fraction: float,
) -> list[Shown]:
    """Images with the candidates of `rows` on them and the nodules that are there."""
    nodules: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for point in points.to_pylist() if points is not None else ():
        nodules[point["image_id"]].append((point["x"], point["y"]))
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for row in rows:
        confidence = np.nan if row["confidence"] is None else row["confidence"]
        found[row["image_id"]].append((row["x"], row["y"], confidence))
    made = []
    for name in images:
        here = np.array(found[name], np.float64).reshape(-1, 3)
        there = np.array(nodules[name], np.float64).reshape(-1, 2)
        made.append(Shown(here[:, :2], here[:, 2], there, tolerance_fraction * diagonal[name]))
    return made


def cut(localize: pa.Table, cutoff: float | None) -> pa.Table:
    """`localize` with those findings shown that reach the cutoff or have no confidence."""
    confidence = localize["confidence"].to_pylist()
    reached = [cutoff is None or one is None or one >= cutoff for one in confidence]
    at = localize.schema.get_field_index("shown")
    return tables.check(localize.set_column(at, "shown", pa.array(reached, pa.bool_())), tables.LOCALIZE)

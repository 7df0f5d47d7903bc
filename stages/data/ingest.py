"""Read a data folder: one row per image, its content hashed, with all problems at once.

in   a data folder in one of the layouts of `stages.lib.images.layouts`
out  manifest  tables.MANIFEST, one row per image and one per label without a file
     points    tables.POINTS, of the images that take part, in pixels of the original
     files     tables.FILES, one row per file that is no image
     duplicates  tables.DUPLICATES, pairs of images that are much alike
     cache     folder of what is known of files by size, time and inode: unchanged ones are not read again.
               With --verify every file is read
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import AfterValidator

from stages.lib.core import cli, tables
from stages.lib.core import params as parameters
from stages.lib.core.errors import DataError
from stages.lib.core.log import LOG
from stages.lib.images import examining, layouts, manifest, near_duplicates, patients, reading
from stages.lib.images import points as units
from stages.lib.images.dataset import Folder, Image, Options, PassedOver, Point
from stages.lib.images.notices import Notice, rejecting

Layout = Literal["auto", "nodulocc", "nih", "vindr", "node21", "jsrt", "padchest", "folder", "images"]
Unit = Annotated[parameters.Text, AfterValidator(units.check_unit)]
Pattern = Annotated[parameters.Text, AfterValidator(layouts.check_pattern)]
Accepted = Literal["modality", "body_part", "view"]


@parameters.section
class Params:
    """The data folder, how it is read, and its limits."""

    root: parameters.Text  # the data folder
    layout: Layout  # of the folder; auto: told by its files
    patient_column: parameters.Text  # column of the patient in the table of labels; auto: the usual names
    patient_pattern: Pattern  # regular expression that finds the patient in a path; none: not told by the path
    positive_labels: tuple[parameters.Text, ...]  # words of a label that mean a nodule; none: those of the layout
    negative_labels: tuple[parameters.Text, ...]  # words that mean no nodule; images with neither are not labelled
    reader_rule: Literal["any", "majority", "all"]  # readers who have to see a nodule, where several have read
    points_unit: Unit  # pixels, fraction, or the size of the images they were marked on, as 1024x1024
    accept: tuple[Accepted, ...]  # what an image may be, by its header, and take part
    max_rejected: parameters.NonNegativeInt  # rejected images beyond which the stage fails
    max_pixels: parameters.Count  # pixels of one image beyond which it is not decoded
    same_correlation: parameters.Fraction  # of two images from which they are one group, which is never split
    similar_correlation: parameters.Fraction  # from which a pair is listed; at most same_correlation

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if not 0 < self.similar_correlation <= self.same_correlation:
            raise ValueError(
                f"similar_correlation above 0 and at most same_correlation (found {self.similar_correlation:g} and "
                f"{self.same_correlation:g})"
            )

    @property
    def options(self) -> Options:
        """How the folder is read."""
        return Options(**{name: getattr(self, name) for name in Options.__dataclass_fields__})


@dataclass(frozen=True)
class Ingested:
    """Tables of a data folder: tables.MANIFEST, tables.POINTS, tables.FILES, tables.DUPLICATES."""

    manifest: pa.Table
    points: pa.Table
    files: pa.Table
    duplicates: pa.Table


def ingest(params: Params, cache: Path | None = None, *, verify: bool = False) -> Ingested:
    """The data folder as tables.

    Args:
        params: See `Params`.
        cache: Folder of what is known of files that do not change; None for none.
        verify: Whether every file is read again, whatever is known of it.

    Raises:
        DataError: With all problems, if the tables of the folder contradict themselves or more images are rejected than
            `max_rejected`.
    """
    folder = layouts.read(params.root, params.options)
    LOG.info("ingest: %s, layout %s, %d images", params.root, folder.layout, len(folder.images))
    tell_passed_over(folder.passed_over)
    if folder.problems:
        LOG.warning("ingest: %d problems in the tables; reading the images for the rest", len(folder.problems))
    openable = [image.path for image in folder.images if not rejecting(image.notices, params.accept)]
    read = examining.remembered(openable, params.root, params.max_pixels, cache, verify=verify)
    placed, odd = in_pixels(folder, read)
    same = patients.same_for_all(facts.header for facts in read.values())
    rows = [
        judge(image, read.get(image.path, reading.Facts()), placed.get(image.image_id, []), params, odd, same)
        for image in folder.images
    ]
    refuse(rows, folder.problems, params)
    rows = manifest.remark_duplicates(rows)
    thumbnails = {path: facts.thumbnail for path, facts in read.items() if facts.thumbnail is not None}
    rows, alike = near_duplicates.find(rows, thumbnails, params.same_correlation, params.similar_correlation)
    manifest.tell_problems(rows)
    points = [
        {
            "image_id": row["image_id"],
            "point": number,
            "x": point.x,
            "y": point.y,
            "diameter_mm": point.diameter(row["spacing_mm"]),
            "box_width_px": point.box_width_px,
            "box_height_px": point.box_height_px,
            "contrast": point.contrast,
        }
        for row in rows
        if row["status"] == "ok"
        for number, point in enumerate(placed.get(row["image_id"], []))
    ]
    return Ingested(
        tables.from_rows(rows, tables.MANIFEST),
        tables.from_rows(points, tables.POINTS),
        tables.from_rows([asdict(over) for over in folder.passed_over], tables.FILES),
        tables.from_rows(alike, tables.DUPLICATES),
    )


def tell_passed_over(passed_over: Sequence[PassedOver]) -> None:
    """Log how many files of each kind are no images, and what is to be said of them."""
    counts = Counter(over.role for over in passed_over)
    if counts:
        told = ", ".join(f"{count} {role}" for role, count in sorted(counts.items()))
        LOG.info("ingest: %d files are no images (%s): the table files.parquet lists them", counts.total(), told)
    of_reason: defaultdict[str, list[str]] = defaultdict(list)
    for over in passed_over:
        if over.reason:
            of_reason[over.reason].append(over.file_name)
    for reason, names in of_reason.items():
        LOG.warning("ingest: %s: %s", layouts.some(names), reason)


@dataclass(frozen=True)
class OddPoints:
    """What is odd about the points of the folder as a whole.

    Attributes:
        notice: Why none of them can be taken; None if they can.
        reach: Largest coordinate in the tables.
        unit: Unit of the tables.
        marked_on: Size of the images that they were marked on, where it is known.
    """

    notice: Notice | None = None
    reach: float = 0.0
    unit: str = units.PIXELS
    marked_on: str | None = None


def in_pixels(folder: Folder, read: Mapping[str, reading.Facts]) -> tuple[dict[str, list[Point]], OddPoints]:
    """Points of each image in its pixels, and what is odd about all of them.

    Args:
        folder: With the points in the unit of its tables.
        read: Facts of each file that was read, by path.
    """
    sizes = {
        image.image_id: (facts.width_px, facts.height_px)
        for image in folder.images
        if image.image_id in folder.points and (facts := read.get(image.path)) and facts.width_px and facts.height_px
    }
    doubt = units.doubt(folder.points, sizes, folder.points_unit)
    placed = {
        image_id: [
            units.converted(point, folder.points_unit, *sizes[image_id]) if image_id in sizes else point
            for point in points
        ]
        for image_id, points in folder.points.items()
    }
    notice = Notice("points_unit", doubt) if doubt else None
    return placed, OddPoints(notice, units.reach(folder.points), folder.points_unit, folder.marked_on)


def judge(
    image: Image,
    found: reading.Facts,
    points: Sequence[Point],
    params: Params,
    odd: OddPoints = OddPoints(),
    same: str | None = None,
) -> dict[str, Any]:
    """Manifest row of one image: ok, or rejected with the reason.

    Contradictory labels (a point outside of the image, or on an image without a nodule) reject the image.

    Args:
        image: The facts of the folder and its tables.
        found: The facts of the file.
        points: The nodules marked on it, pixels of the original.
        params: With what an image may be and take part.
        odd: What is odd about the points of the folder as a whole.
        same: PatientID that all files of the folder have, which tells none apart.
    """
    notices = contradictions(image, found, points, odd)
    return manifest.row(image, found, notices, params.accept, same)


def contradictions(image: Image, found: reading.Facts, points: Sequence[Point], odd: OddPoints) -> list[Notice]:
    """Notices about an image's label and its points."""
    notices = []
    if points and image.label == 0:
        notices.append(Notice("contradiction", f"labelled No Finding, but has {len(points)} point(s)"))
    if points and image.label is None:
        notices.append(Notice("points", f"has {len(points)} point(s)"))
    if not points and image.label == 1 and image.source == "lidc":
        notices.append(Notice("points", "labelled Nodule, but has no point"))
    if points and odd.notice:
        return [*notices, odd.notice]
    if found.width_px and found.height_px:
        size = f"{found.width_px}x{found.height_px}"
        if points and odd.unit == units.AUTO and odd.marked_on not in (None, size):
            told = f"its points are taken as pixels of its {size}; the data set has them on images of {odd.marked_on}"
            notices.append(Notice("points", f"{told}: if it was resized, set data.ingest.points_unit to that"))
        reason = units.hint(odd.reach, found.width_px, found.height_px, odd.unit)
        notices += [
            Notice(
                "contradiction",
                f"point ({point.x:g}, {point.y:g}) is outside of its {found.width_px} x {found.height_px} pixels"
                + reason,
            )
            for point in points
            if not on_image(point, found.width_px, found.height_px)
        ]
        notices += [
            Notice("points", f"point ({point.x:g}, {point.y:g}) is outside of the body")
            for point in points
            if on_image(point, found.width_px, found.height_px) and reading.outside_body(found, point.x, point.y)
        ]
    return notices


def on_image(point: Point, width_px: int, height_px: int) -> bool:
    """Whether a point is on an image of a size."""
    return -0.5 <= point.x <= width_px - 0.5 and -0.5 <= point.y <= height_px - 0.5


def refuse(rows: Sequence[Mapping[str, Any]], problems: Sequence[str], params: Params) -> None:
    """Stop if the folder as a whole cannot be used.

    Args:
        rows: Rows of the manifest.
        problems: Of the folder's tables.
        params: With `max_rejected`.

    Raises:
        DataError: If there are `problems`, or more rejected rows than `max_rejected`; it lists both.
    """
    rejected = [f"{row['file_name']!r}: {row['problem']}" for row in rows if row["status"] == "rejected"]
    if not problems and len(rejected) <= params.max_rejected:
        return
    heading = (
        f"data folder {params.root}: {len(problems)} problem(s) of the folder, and {len(rejected)} of {len(rows)} "
        f"images rejected (data.ingest.max_rejected = {params.max_rejected}, of predict predict.max_rejected):"
    )
    raise DataError(heading, [*manifest.first(problems), *manifest.first(rejected)])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(
        __doc__,
        argv,
        params={"data.ingest": Params},
        writes=["manifest", "points", "files", "duplicates", "cache"],
        optional=["files", "duplicates", "cache"],
        flags=["verify"],
    )
    found = ingest(args.params.ingest, Path(args.cache) if args.cache else None, verify=args.verify)
    tables.write(args.manifest, found.manifest, tables.MANIFEST)
    tables.write(args.points, found.points, tables.POINTS)
    if args.files:
        tables.write(args.files, found.files, tables.FILES)
    if args.duplicates:
        tables.write(args.duplicates, found.duplicates, tables.DUPLICATES)


if __name__ == "__main__":
    cli.run(main)

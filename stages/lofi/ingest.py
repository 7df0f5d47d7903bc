"""Read a folder of images with reports: images, sentences and boxes, with all problems at once.

in   a data folder in one of the layouts of `stages.lib.images.reports`
out  manifest     tables.MANIFEST, one row per image
     sentences    sentence_tables.SENTENCES, of the images that take part
     boxes        sentence_tables.BOXES, likewise, in pixels of the original
     given_split  sentence_tables.GIVEN_SPLIT, likewise; empty if the data bring no split
     duplicates   tables.DUPLICATES, pairs of images that are much alike
     cache        folder of what is known of files by size, time and inode: unchanged ones are not read again.
                  With --verify every file is read
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from stages.lib.core import cli, tables
from stages.lib.core import params as parameters
from stages.lib.core.errors import DataError
from stages.lib.core.log import LOG
from stages.lib.core.sentence_tables import BOXES, GIVEN_SPLIT, SENTENCES
from stages.lib.images import examining, manifest, near_duplicates, patients, reading, reports
from stages.lib.images.notices import Notice, rejecting
from stages.lib.images.reports import edges
from stages.lib.images.reports.reported import Options, Reported, ReportFolder

LISTED = 200  # images that an error spells out
Row = dict[str, Any]


@parameters.section
class Params:
    """The data folder, how it is read, and its limits."""

    root: parameters.Text  # the data folder
    layout: Literal["auto", "pairs", "padchest_gr", "mimic"]  # of the folder; auto: told by its files
    terms: Literal["open", "credentialed"]  # of use of the data; credentialed: you have an agreement, and keep to it
    accept: tuple[Literal["modality", "body_part", "view"], ...]  # what an image may be, by its header, and take part
    max_rejected: parameters.NonNegativeInt  # rejected images beyond which the stage fails
    max_pixels: parameters.Count  # pixels of one image beyond which it is not decoded
    same_correlation: parameters.Fraction  # of two images from which they are one group, which is never split
    similar_correlation: parameters.Fraction  # from which a pair is listed; at most same_correlation
    min_quality: parameters.Fraction  # least quality of the lungs' outlines, where the data tell it (mimic)
    grades: tuple[parameters.Text, ...]  # of boxes that are taken, where the data grade them (mimic); []: all

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
        return Options(self.layout, self.min_quality, self.grades)


@dataclass(frozen=True)
class Ingested:
    """Tables of a data folder, as the stage writes them."""

    manifest: pa.Table
    sentences: pa.Table
    boxes: pa.Table
    given_split: pa.Table
    duplicates: pa.Table


def ingest(params: Params, cache: Path | None = None, *, verify: bool = False) -> Ingested:
    """The data folder as tables.

    An image is rejected if it cannot be read, has no sentence, or one of its boxes is none. What is rejected has its
    row in the manifest alone.

    Args:
        params: See `Params`.
        cache: Folder of what is known of files that do not change; None for none.
        verify: Whether every file is read again, whatever is known of it.

    Raises:
        DataError: With all problems, if the tables of the folder contradict themselves, more images are rejected than
            `max_rejected`, or the terms of the data are not those of `terms`.
    """
    folder = reports.read(params.root, params.options)
    LOG.info("ingest: %s, layout %s, %d images", params.root, folder.layout, len(folder.images))
    for remark in folder.remarks:
        LOG.info("ingest: %s", remark)
    if reports.module(folder.layout).CREDENTIALED and params.terms != "credentialed":
        folder.problems.insert(0, _terms(folder.layout))
    openable = [one.image.path for one in folder.images if not rejecting(one.image.notices, params.accept)]
    read = examining.remembered(openable, params.root, params.max_pixels, cache, verify=verify)
    same = patients.same_for_all(facts.header for facts in read.values())
    rows: list[Row] = []
    for one in folder.images:
        facts = read.get(one.image.path, reading.Facts())
        row = manifest.row(one.image, facts, wrong_boxes(one, facts), params.accept, same)
        rows.append({**row, "study_id": one.told.study or row["study_id"]})
    refuse(rows, folder.problems, params)
    rows = manifest.remark_duplicates(rows)
    thumbnails = {path: facts.thumbnail for path, facts in read.items() if facts.thumbnail is not None}
    rows, alike = near_duplicates.find(rows, thumbnails, params.same_correlation, params.similar_correlation)
    manifest.tell_problems(rows)
    taken = {row["image_id"]: row for row in rows if row["status"] == "ok"}
    kept = [one for one in folder.images if one.image.image_id in taken]
    found = Ingested(
        tables.from_rows(rows, tables.MANIFEST),
        tables.from_rows(sentence_rows(kept), SENTENCES),
        tables.from_rows(box_rows(kept, taken), BOXES),
        tables.from_rows(
            [{"image_id": one.image.image_id, "split": one.told.split} for one in kept if one.told.split], GIVEN_SPLIT
        ),
        tables.from_rows(alike, tables.DUPLICATES),
    )
    tell(found, folder)
    return found


def _terms(layout: str) -> str:
    return (
        f"the data of the layout {layout} are given out under an agreement (see workflow/docs/lofi.md), "
        "and lofi.ingest.terms is open: set it to credentialed if you have signed it"
    )


def wrong_boxes(one: Reported, facts: reading.Facts) -> list[Notice]:
    """A notice of each box of an image that is none; nothing where the size of the image is not known."""
    if not facts.width_px or not facts.height_px:
        return []
    found = (edges.fault(box, facts.width_px, facts.height_px) for box in one.told.boxes)
    return [Notice("box", fault) for fault in found if fault]


def sentence_rows(images: Sequence[Reported]) -> list[Row]:
    """Rows of sentence_tables.SENTENCES."""
    return [
        {
            "image_id": one.image.image_id,
            "number": sentence.number,
            "text": sentence.text,
            "abnormal": sentence.abnormal,
            "labels": list(sentence.labels),
            "in_report": sentence.in_report,
        }
        for one in images
        for sentence in one.told.sentences
    ]


def box_rows(images: Sequence[Reported], rows: dict[str, Row]) -> list[Row]:
    """Rows of sentence_tables.BOXES; boxes of a sentence are numbered by their edges, whatever the order of the data.

    Args:
        images: That take part.
        rows: Of the manifest, by image_id.
    """
    found: list[Row] = []
    for one in images:
        of_sentence: defaultdict[tuple[int, str], list[edges.Edges]] = defaultdict(list)
        row = rows[one.image.image_id]
        for box in one.told.boxes:
            placed = edges.in_pixels(box.edges, box.unit, row["width_px"], row["height_px"])
            of_sentence[box.number, box.reader].append(placed)
        for (number, reader), placed_boxes in of_sentence.items():
            for place, (x0, y0, x1, y1) in enumerate(sorted(placed_boxes)):
                key = {"image_id": row["image_id"], "number": number, "reader": reader, "box": place}
                found.append({**key, "x0": x0, "y0": y0, "x1": x1, "y1": y1})
    return found


def refuse(rows: Sequence[Row], problems: Sequence[str], params: Params) -> None:
    """Stop if the folder as a whole cannot be used.

    Args:
        rows: Rows of the manifest.
        problems: Of the folder's tables.
        params: With `max_rejected`.

    Raises:
        DataError: If there are `problems`, more rejected rows than `max_rejected`, or nothing but rejected rows; it
            lists both.
    """
    rejected = [f"{row['file_name']!r}: {row['problem']}" for row in rows if row["status"] == "rejected"]
    if not problems and len(rejected) <= params.max_rejected and len(rejected) < len(rows):
        return
    heading = (
        f"data folder {params.root}: {len(problems)} problem(s) of the folder, and {len(rejected)} of {len(rows)} "
        f"images rejected (lofi.ingest.max_rejected = {params.max_rejected}):"
    )
    raise DataError(heading, [*manifest.first(problems, LISTED), *manifest.first(rejected, LISTED)])


def tell(found: Ingested, folder: ReportFolder) -> None:
    """Log how many images, sentences and boxes take part, and what split the data bring."""
    readers = Counter(found.boxes["reader"].to_pylist())
    boxed = len(set(zip(found.boxes["image_id"].to_pylist(), found.boxes["number"].to_pylist(), strict=True)))
    LOG.info(
        "ingest: %d of %d images take part, with %d sentences, %d of them with boxes (%s)",
        len(set(found.sentences["image_id"].to_pylist())),
        len(folder.images),
        found.sentences.num_rows,
        boxed,
        ", ".join(f"{readers[name]} of the {name} reader" for name in sorted(readers)) or "none",
    )
    splits = Counter(found.given_split["split"].to_pylist())
    if splits:
        LOG.info("ingest: the data bring a split: %s", ", ".join(f"{count} {name}" for name, count in splits.items()))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(
        __doc__,
        argv,
        params={"lofi.ingest": Params},
        writes=["manifest", "sentences", "boxes", "given_split", "duplicates", "cache"],
        optional=["duplicates", "cache"],
        flags=["verify"],
    )
    found = ingest(args.params.ingest, Path(args.cache) if args.cache else None, verify=args.verify)
    tables.write(args.manifest, found.manifest, tables.MANIFEST)
    tables.write(args.sentences, found.sentences, SENTENCES)
    tables.write(args.boxes, found.boxes, BOXES)
    tables.write(args.given_split, found.given_split, GIVEN_SPLIT)
    if args.duplicates:
        tables.write(args.duplicates, found.duplicates, tables.DUPLICATES)


if __name__ == "__main__":
    cli.run(main)

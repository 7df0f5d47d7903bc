"""Read a data folder of cases: one row per case and one per image, with all problems at once.

in   a data folder in the layout of MedPix 2.0, see `stages.lib.images.medpix`
out  cases        case_tables.CASES
     case_images  case_tables.CASE_IMAGES
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from stages.findings import flags
from stages.lib.core import cli, tables
from stages.lib.core import params as parameters
from stages.lib.core.case_tables import CASE_IMAGES, CASES, MODALITIES
from stages.lib.core.errors import DataError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.images import coloured, duplicates, medpix
from stages.lib.images.notices import Notice, rejecting

LISTED = 200  # problems that an error spells out
SOME = 5  # names that a log line or a remark spells out
Row = dict[str, Any]


@parameters.section
class Params:
    """The data folder, how it is read, and its limits."""

    root: parameters.Text  # the data folder
    terms: Literal["open", "credentialed"]  # of use of the data; what is credentialed is sent to no server elsewhere
    # what an image may show beside a slice, by its own description, and take part
    accept: tuple[Literal["drawing", "photograph", "montage", "reconstruction", "other"], ...]
    max_rejected: parameters.NonNegativeInt  # rejected cases and images beyond which the stage fails
    max_pixels: parameters.Count  # pixels of one image beyond which it is not decoded
    same_correlation: parameters.Fraction  # of two images from which they are one group, in one role of the sample

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if not self.same_correlation:
            raise ValueError("same_correlation above 0 (found 0)")


@dataclass(frozen=True)
class Ingested:
    """Tables of a data folder: case_tables.CASES and case_tables.CASE_IMAGES."""

    cases: pa.Table
    case_images: pa.Table


def ingest(params: Params) -> Ingested:
    """The data folder as tables.

    An image that its own description calls no slice takes no part, unless `accept` names what it is; it is not counted
    as rejected. A case without findings, without one known region, or without an image that takes part is rejected;
    its images take no part.

    Raises:
        DataError: With all problems, if a table of the folder cannot be read, or more cases and images are rejected
            than `max_rejected`.
    """
    folder = medpix.read(params.root)
    images = [image for case in folder.cases for image in case.images]
    LOG.info("ingest: %s, %d cases, %d images", params.root, len(folder.cases), len(images))
    read = facts([image.path for image in images if image.path], params.max_pixels)
    notices = {_key(image): _of_image(image, read.get(image.path or ""), params) for image in images}
    refused = {key: rejecting(found, ()) for key, found in notices.items()}
    of_case = {case.case_id: _of_case(case, refused) for case in folder.cases}
    problems = [
        *(f"{case_id}: {_sentence(wrong)}" for case_id, found in of_case.items() if (wrong := rejecting(found, ()))),
        *(
            f"{image.case_id}, image {image.image_id!r}: {_sentence(wrong)}"
            for image in images
            if (wrong := [one for one in refused[_key(image)] if one.kind != "no_slice"])
        ),
    ]
    _refuse(problems, params)
    case_refused = {case_id for case_id, found in of_case.items() if rejecting(found, ())}
    taken = [image for image in images if not refused[_key(image)] and image.case_id not in case_refused]
    groups = near_duplicates(taken, read, params.same_correlation)
    rows = []
    for image in images:
        found = list(notices[_key(image)])
        if image.case_id in case_refused and not refused[_key(image)]:
            found.insert(0, Notice("images", "its case is rejected"))
        rows.append(_image_row(image, read.get(image.path or "", coloured.Facts()), found, groups))
    _remark_duplicates(rows)
    counted: defaultdict[str, list[str]] = defaultdict(list)
    for image in taken:
        counted[image.case_id].append(image.modality)
    cases = [_case_row(case, of_case[case.case_id], counted[case.case_id]) for case in folder.cases]
    ingested = Ingested(tables.from_rows(cases, CASES), tables.from_rows(rows, CASE_IMAGES))
    tell(ingested, folder.unlisted)
    return ingested


def facts(paths: Sequence[str], max_pixels: int) -> dict[str, coloured.Facts]:
    """Facts of each file. Threads read them, as decoder and hash let others run meanwhile."""
    paths = list(dict.fromkeys(paths))
    examine = partial(coloured.examine, max_pixels=max_pixels)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = track(pool.map(examine, paths), total=len(paths), what="findings ingest")
        return dict(zip(paths, found, strict=True))


def near_duplicates(
    images: Sequence[medpix.Image], read: Mapping[str, coloured.Facts], same: float
) -> dict[tuple[str, int], str]:
    """First image of the group of each image that is nearly the same as another, by case and number.

    Args:
        images: Those that take part.
        read: Facts of their files, by path.
        same: Correlation of two thumbnails from which they are one group.
    """
    seen = sorted(images, key=lambda image: (image.image_id, image.case_id))
    packed = np.zeros((len(seen), duplicates.SIDE_PX, duplicates.SIDE_PX), np.uint8)
    for place, image in enumerate(seen):
        thumbnail = read[image.path or ""].thumbnail
        if thumbnail is not None:
            packed[place] = thumbnail
    ties = [(pair.first, pair.second) for pair in duplicates.pairs(packed, same)]
    first = duplicates.groups(ties, len(seen))
    return {_key(image): seen[place].image_id for image, place in zip(seen, first, strict=True) if place is not None}


def _key(image: medpix.Image) -> tuple[str, int]:
    return image.case_id, image.number


def _of_image(image: medpix.Image, found: coloured.Facts | None, params: Params) -> list[Notice]:
    """Notices of an image; what it shows is one unless it is accepted."""
    accepted = [one for one in image.notices if one.kind != "no_slice" or image.shows not in params.accept]
    return [*accepted, *(found.notices if found else ())]


def _of_case(case: medpix.Case, refused: Mapping[tuple[str, int], Sequence[Notice]]) -> list[Notice]:
    """Notices of a case, with what became of its images."""
    wrong = [image for image in case.images if refused[_key(image)]]
    if len(wrong) == len(case.images):
        told = f"none of its {len(wrong)} images takes part" if wrong else "no images"
        return [*case.notices, Notice("images", told)]
    if wrong:
        told = f"{len(wrong)} of its {len(case.images)} images take no part"
        return [*case.notices, Notice("table", told)]
    return list(case.notices)


def _refuse(problems: Sequence[str], params: Params) -> None:
    """Stop if more is rejected than may be."""
    for problem in problems:
        LOG.warning("ingest: rejected: %s", problem)
    if len(problems) > params.max_rejected:
        more = [f"and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        raise DataError(
            f"data folder {params.root}: {len(problems)} cases and images rejected "
            f"(findings.ingest.max_rejected = {params.max_rejected}):",
            [*problems[:LISTED], *more],
        )


def _image_row(
    image: medpix.Image, found: coloured.Facts, notices: Sequence[Notice], groups: Mapping[tuple[str, int], str]
) -> Row:
    """Row of case_tables.CASE_IMAGES."""
    wrong = rejecting(notices, ())
    return {
        "case_id": image.case_id,
        "number": image.number,
        "image_id": image.image_id,
        "path": image.path,
        "modality": image.modality,
        "described_as": image.described_as,
        "shows": image.shows,
        "plane": image.plane,
        "caption": image.caption,
        "width_px": found.width_px,
        "height_px": found.height_px,
        "mode": found.mode,
        "bytes": found.bytes,
        "sha256": found.sha256,
        "pixel_sha256": found.pixel_sha256,
        "duplicate_group": groups.get(_key(image)),
        "status": "rejected" if wrong else "ok",
        "problem": _sentence(notices) or None,
    }


def _remark_duplicates(rows: Iterable[Row]) -> None:
    """Add a remark to each image that is nearly the same as one of another case."""
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["duplicate_group"] is not None:
            members[row["duplicate_group"]].append(row)
    for group in members.values():
        for row in group:
            others = sorted({other["case_id"] for other in group} - {row["case_id"]})
            if others:
                told = f"nearly the same as an image of {_some(others)}"
                row["problem"] = "; ".join(filter(None, (row["problem"], told)))


def _case_row(case: medpix.Case, notices: Sequence[Notice], taken: Sequence[str]) -> Row:
    """Row of case_tables.CASES.

    Args:
        case: The case.
        notices: About it.
        taken: Modality of each of its images that take part.
    """
    gold, history, diagnosis = case.gold or "", case.history or "", case.diagnosis or ""
    others = flags.other_studies(gold)
    return {
        "case_id": case.case_id,
        "region": case.region,
        "location": case.location,
        "modality": "+".join(name for name in MODALITIES if name in taken) or None,
        "n_images": len(taken),
        "history": case.history,
        "gold": case.gold,
        "gold_words": len(gold.split()),
        "diagnosis": case.diagnosis,
        "sex": case.sex,
        "age_years": case.age_years,
        "gold_scope": ("other_studies" if others else "imaged_only") if gold else None,
        "other_studies": others,
        "gold_points_at_caption": flags.points_at_caption(gold),
        "diagnosis_in_history": flags.shares_long_word(history, diagnosis),
        "diagnosis_in_gold": flags.holds(gold, diagnosis),
        "status": "rejected" if rejecting(notices, ()) else "ok",
        "problem": _sentence(notices) or None,
        "notices": sorted({notice.kind for notice in notices}),
    }


def _sentence(notices: Iterable[Notice]) -> str:
    return "; ".join(notice.text for notice in notices)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SOME]) + (f" and {len(names) - SOME} more" if len(names) > SOME else "")


def tell(found: Ingested, unlisted: Sequence[str]) -> None:
    """Log how many cases there are of each region and modality, and what is odd about their texts."""
    cases = [row for row in found.cases.to_pylist() if row["status"] == "ok"]
    counts = Counter((row["region"], row["modality"]) for row in cases)
    for (region, modality), count in sorted(counts.items()):
        LOG.info("ingest: %s, %s: %d cases", region, modality, count)
    odd = {
        "gold texts speak of other studies": sum(row["gold_scope"] == "other_studies" for row in cases),
        "gold texts point at captions": sum(row["gold_points_at_caption"] for row in cases),
        "gold texts hold the diagnosis": sum(row["diagnosis_in_gold"] for row in cases),
        "histories share a long word with the diagnosis": sum(row["diagnosis_in_history"] for row in cases),
    }
    for what, count in odd.items():
        if count:
            LOG.info("ingest: %d of %d %s", count, len(cases), what)
    apart = Counter(row["shows"] for row in found.case_images.to_pylist() if row["shows"] != "slice")
    if apart:
        told = ", ".join(f"{count} {name}" for name, count in sorted(apart.items()))
        LOG.info("ingest: images that are no slices by their own description: %s", told)
    if unlisted:
        LOG.warning("ingest: %d files in images/ are named by no table: %s", len(unlisted), _some(unlisted))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(__doc__, argv, params={"findings.ingest": Params}, writes=["cases", "case_images"])
    found = ingest(args.params.ingest)
    tables.write(args.cases, found.cases, CASES)
    tables.write(args.case_images, found.case_images, CASE_IMAGES)


if __name__ == "__main__":
    cli.run(main)

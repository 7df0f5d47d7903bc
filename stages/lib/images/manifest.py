"""Rows of the manifest: what the folder, its tables and the file together say of one image."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stages.lib.core.log import LOG
from stages.lib.images import layouts, patients, reading
from stages.lib.images.columns import CONTEXT
from stages.lib.images.dataset import Image
from stages.lib.images.notices import Notice, rejecting

LISTED = 20  # problems of one kind that an error spells out


def row(
    image: Image, found: reading.Facts, contradicting: Sequence[Notice], accept: Collection[str], same: str | None
) -> dict[str, Any]:
    """Row of tables.MANIFEST of one image: ok, or rejected with the reason.

    Args:
        image: The facts of the folder and its tables.
        found: The facts of the file.
        contradicting: Notices of the tables and the file together.
        accept: Kinds of notice with which an image may take part; see `notices.ACCEPTABLE`.
        same: PatientID that all files of the folder have, which tells none apart.
    """
    header = found.header
    patient, patient_from = image.patient, image.patient_from
    of_study: tuple[Notice, ...] = ()
    if patient is None:
        patient, patient_from, of_study = patients.of_header(header, same)
    spacing_mm, not_square = image.spacing(found.width_px, found.height_px)
    notices = [*image.notices, *found.notices, *not_square, *contradicting, *of_study]
    rejected = rejecting(notices, accept)
    if patient is None and not rejected:
        notices.append(Notice("patient", "its patient is not known"))
    notices = [*rejected, *(notice for notice in notices if notice not in rejected)]
    return {
        "image_id": image.image_id,
        "file_name": image.file_name,
        "path": image.path,
        "source": image.source,
        "patient_id": patient or image.image_id,
        "patient_from": patient_from,
        "study_id": header.study,
        "label": image.label,
        "label_from": image.label_from,
        **{
            name: told if (told := getattr(image.context, name)) is not None else getattr(header, name)
            for name in CONTEXT
        },
        "width_px": found.width_px,
        "height_px": found.height_px,
        "bit_depth": found.bit_depth,
        "spacing_mm": spacing_mm or header.spacing_mm,
        "spacing_from": "table" if spacing_mm else header.spacing_from,
        "sha256": found.sha256,
        "pixel_sha256": found.pixel_sha256,
        "status": "rejected" if rejected else "ok",
        "problem": "; ".join(notice.text for notice in notices) or None,
        "notices": [notice.kind for notice in notices] or None,
    }


def remark_duplicates(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows, with a remark on each image that takes part and has the same pixels as another one."""
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["status"] == "ok":
            groups[row["pixel_sha256"]].append(row)
    remarked = []
    for row in rows:
        others = [other for other in groups.get(row["pixel_sha256"], []) if other["image_id"] != row["image_id"]]
        if row["status"] == "ok" and others:
            names = layouts.some(sorted(other["image_id"] for other in others))
            unequal = any(other["label"] != row["label"] for other in others)
            remark = f"same pixels as {names}" + (", labelled otherwise" if unequal else "")
            problem = "; ".join(filter(None, (row["problem"], remark)))
            remarked.append({**row, "problem": problem, "notices": [*(row["notices"] or ()), "same_pixels"]})
        else:
            remarked.append(dict(row))
    return remarked


def tell_problems(rows: Sequence[Mapping[str, Any]]) -> None:
    """Log what is odd about each image; what is said of many images in the same words, once with their number."""
    alike: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row["problem"]:
            alike[row["status"], row["problem"]].append(row["file_name"])
    for (status, problem), names in alike.items():
        if len(names) > LISTED:
            LOG.info("ingest: %s, %d images: %s: %s", status, len(names), problem, layouts.some(names))
        else:
            for name in names:
                LOG.info("ingest: %s, %s: %s", status, name, problem)


def first(sentences: Sequence[str], listed: int = LISTED) -> list[str]:
    """First sentences, and how many more there are.

    Args:
        sentences: All of them.
        listed: How many are spelt out.

    >>> first(["a", "b"])
    ['a', 'b']
    >>> first(["a"] * 22)[19:]
    ['a', 'and 2 more']
    """
    more = len(sentences) - listed
    return [*sentences[:listed], *([f"and {more} more"] if more > 0 else [])]

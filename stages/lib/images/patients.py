"""Patients as the headers of files tell them; and images whose patient is not known.

Each of these stands for a patient of its own, which it may not be.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.images.decoded import Header
from stages.lib.images.notices import Notice

SAME = "PatientID is the same for all images, so that the study is taken for the patient"
EMPTY = "PatientID is empty, so that the study is taken for the patient"


def same_for_all(headers: Iterable[Header]) -> str | None:
    """The PatientID that images of several studies all have, so that it tells none apart; None if there is no such.

    >>> same_for_all([Header(patient="anon", study="1"), Header(patient="anon", study="2")])
    'anon'
    >>> same_for_all([Header(patient="anon", study="1"), Header(patient="anon", study="1"), Header()]) is None
    True
    """
    told = [header for header in headers if header.patient is not None]
    patients = {header.patient for header in told}
    studies = {header.study for header in told if header.study is not None}
    return patients.pop() if len(patients) == 1 and len(studies) > 1 else None


def of_header(header: Header, same: str | None) -> tuple[str | None, str | None, tuple[Notice, ...]]:
    """Patient that the header of a file tells, who says so ("file" or "study"; None for nothing), and a remark.

    Args:
        header: Of the file.
        same: See `same_for_all`.

    >>> of_header(Header(patient="P", study="1"), None)
    ('P', 'file', ())
    >>> of_header(Header(study="1"), None)[:2], of_header(Header(patient="anon", study="1"), "anon")[:2]
    (('1', 'study'), ('1', 'study'))
    """
    if header.patient is not None and header.patient != same:
        return header.patient, "file", ()
    if header.study is None:
        return header.patient, "file" if header.patient is not None else None, ()
    return header.study, "study", (Notice("patient", EMPTY if header.patient is None else SAME),)


def unknown(manifest: pa.Table) -> pa.Table:
    """Rows of a `tables.MANIFEST` table of which nothing tells the patient, so that patient_id is the image.

    >>> unknown(pa.table({"image_id": ["a", "b"], "patient_id": ["a", "P"], "patient_from": [None, "table"]})).num_rows
    1
    """
    own = pc.equal(manifest["patient_id"], manifest["image_id"])
    return manifest.filter(pc.and_(pc.is_null(manifest["patient_from"]), own))

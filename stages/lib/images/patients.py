"""Images whose patient is not known: each stands for a patient of its own, which it may not be."""

import pyarrow as pa
import pyarrow.compute as pc


def unknown(manifest: pa.Table) -> pa.Table:
    """Rows of a `tables.MANIFEST` table of which nothing tells the patient, so that patient_id is the image.

    >>> unknown(pa.table({"image_id": ["a", "b"], "patient_id": ["a", "P"], "patient_from": [None, "table"]})).num_rows
    1
    """
    own = pc.equal(manifest["patient_id"], manifest["image_id"])
    return manifest.filter(pc.and_(pc.is_null(manifest["patient_from"]), own))

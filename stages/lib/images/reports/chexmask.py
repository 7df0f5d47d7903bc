"""Quality of the lungs' outlines of CheXmask: the Dice coefficient that reverse classification accuracy estimates.

The table also holds the outlines, so that it has gigabytes: two columns of it are read, block by block.

Source: Gaggion et al., CheXmask, Scientific Data 11, 2024.
"""

import math
from pathlib import Path

from stages.lib.images import columns, names
from stages.lib.images.listing import Entry

QUALITY = "Dice RCA (Mean)"
IDS = ("dicom_id", "image_id", "image_index", "image", "file_name", "file")  # its name differs by source
BLOCK_BYTES = 1 << 27  # of the text that is held at once; a row has to fit


def read(entry: Entry, problems: list[str]) -> dict[str, float] | None:
    """Quality of each image, [0, 1], by the name of its file without ending; what is no number is left out.

    None if the table cannot be read.

    Args:
        entry: The table, CSV or CSV.gz.
        problems: Where it is said if it cannot be read.
    """
    import pyarrow as pa
    from pyarrow import csv

    found: dict[str, float] = {}
    block = csv.ReadOptions(block_size=BLOCK_BYTES)
    try:
        titles = csv.open_csv(entry.path, read_options=block).schema.names
        by_name = {columns.folded(title): title for title in titles}
        name = next((by_name[one] for key in IDS if (one := columns.folded(key)) in by_name), None)
        quality = by_name.get(columns.folded(QUALITY))
        if name is None or quality is None:
            spelt = ", ".join(titles)
            problems.append(f"{entry.relative}: found {spelt}, wanted a column {QUALITY!r} and one of {', '.join(IDS)}")
            return None
        wanted = {name: pa.string(), quality: pa.string()}
        convert = csv.ConvertOptions(include_columns=[name, quality], column_types=wanted)
        for batch in csv.open_csv(Path(entry.path), read_options=block, convert_options=convert):
            for image, text in zip(batch[name].to_pylist(), batch[quality].to_pylist(), strict=True):
                value = columns.number(text or "")
                if image and value is not None and math.isfinite(value):
                    found[names.without_ending(image.rpartition("/")[2])] = value
    except (pa.ArrowException, OSError, ValueError) as error:
        problems.append(f"{entry.relative}: found a damaged table ({error}), wanted CSV")
        return None
    return found

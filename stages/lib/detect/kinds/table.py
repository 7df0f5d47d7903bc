"""A localizer that another chapter made: its points are read from a table, such as those of zoo.localize.

Beside `<name>.parquet` (tables.LOCALIZE) lies `<name>_responses.parquet` (tables.RESPONSES), which names every image
that was looked at: an image without points is one on which nothing was found. No model is loaded, and no image read.
Images of the train split may have taught it, so they choose nothing for it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from stages.lib.core import params, tables
from stages.lib.core.errors import MismatchError, TableError
from stages.lib.detect import driver, views
from stages.lib.detect.detection import Detection, Query, Response
from stages.lib.images.geometry import Geometry

PROMPT = "as the table has it"
WHOLE: views.Name = "whole"


@params.section
class Params:
    """Which table."""

    TAUGHT: ClassVar[bool] = True  # by images of the train split
    VIEWS: ClassVar[tuple[views.Name, ...]] = (WHOLE,)  # whatever views others are asked about

    path: params.Text  # table of points, tables.LOCALIZE; its responses lie beside it

    @property
    def prompts(self) -> tuple[str, ...]:
        """The bank: there is nothing to ask."""
        return (PROMPT,)


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """A localizer that reads its points from a table.

    Raises:
        TableError: If a table is missing or damaged, or no image was looked at.
    """
    path = Path(params.path)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in tables.read(path, tables.LOCALIZE).to_pylist():
        found[row["image_id"]].append(row)
    beside = path.with_name(f"{path.stem}_responses.parquet")
    responses = tables.read(beside, tables.RESPONSES).to_pylist()
    if not responses:
        raise TableError(
            f"{beside}: found no image, wanted those that the localizer looked at; if it failed, "
            f"{path.with_suffix('.json')} tells why; make {path} again"
        )
    said = {row["image_id"]: row["response"] for row in responses}

    def ask(queries: Sequence[Query]) -> Iterator[Response]:
        strange = sorted({query.image_id for query in queries} - set(said))
        if strange:
            raise TableError(
                f"{beside}: lacks {len(strange)} of the images that are asked about (first: {strange[0]}); make {path} "
                "again, of all images that localizers are run on"
            )
        for query in queries:
            view = query.key.split("\t")[1]
            if view != WHOLE or query.geometry is None:
                raise MismatchError(
                    f"{path}: found a query about the view {view}, wanted whole images alone; the table has no other"
                )
            rows = sorted(found[query.image_id], key=lambda row: int(row["rank"]))
            points = tuple(detection(row, query.geometry) for row in rows)
            yield Response(said[query.image_id], "ok" if points else "empty", points)

    return ask


def detection(row: dict[str, Any], geometry: Geometry) -> Detection:
    """A row of `tables.LOCALIZE` as a detection.

    Args:
        row: In pixels of the original.
        geometry: Of its image.

    >>> square = Geometry(width_px=10, height_px=10, side_px=5)
    >>> edges = dict.fromkeys(("x0", "y0", "x1", "y1"))
    >>> detection({"x": 4.5, "y": 0.5, "confidence": 0.75, "phrase": None, **edges}, square)
    Detection(u=0.5, v=0.1, box=None, confidence=0.75, phrase=None)
    """
    u, v = geometry.to_unit(row["x"], row["y"])
    box = None
    if row["x0"] is not None:
        box = (*geometry.to_unit(row["x0"], row["y0"]), *geometry.to_unit(row["x1"], row["y1"]))
    return Detection(u, v, box=box, confidence=row["confidence"], phrase=row["phrase"])

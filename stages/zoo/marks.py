"""Images as trained localizers read them: what is known of each, its tokens or its pixels."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import tables
from stages.lib.core.errors import MismatchError, ModelError, TableError
from stages.lib.detect.trainable import Known
from stages.lib.images.geometry import Geometry
from stages.lib.learn.feature_files import TokenFiles
from stages.lib.models.backbone import BackboneParams
from stages.zoo.records import Embedded


@dataclass(frozen=True, kw_only=True)
class Study:
    """Tables of the study that say what is known of its images."""

    manifest: pa.Table
    split: pa.Table
    points: pa.Table
    normalized: pa.Table

    def known(self, ids: Sequence[str]) -> list[Known]:
        """What is known of some images, in their order, without tokens or pixels.

        Raises:
            TableError: If one of them was not normalized, or has no size.
        """
        points: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
        for row in self.points.to_pylist():
            box = (np.nan if row[edge] is None else row[edge] for edge in ("box_width_px", "box_height_px"))
            points[row["image_id"]].append((row["x"], row["y"], *box))
        facts = pa.table({"image_id": pa.array(ids, pa.string())})
        facts = tables.lookup(facts, self.manifest, ["patient_id", "width_px", "height_px", "spacing_mm", "label"])
        facts = tables.lookup(facts, self.normalized, ["side_px"])
        rows = facts.to_pylist()
        lacking = [row["image_id"] for row in rows if None in (row["width_px"], row["height_px"], row["side_px"])]
        if lacking:
            raise TableError(
                f"{len(lacking)} images have no size or were not normalized (first: {lacking[0]}), wanted each "
                "image that a localizer is run on; run normalize again"
            )
        made = []
        for row in rows:
            marks = np.array(points.get(row["image_id"], []), np.float64).reshape(-1, 4)
            size = {name: row[name] for name in ("width_px", "height_px", "side_px")}
            whose = {name: row[name] for name in ("image_id", "patient_id", "spacing_mm", "label")}
            made.append(Known(**whose, geometry=Geometry(**size), points=marks[:, :2], boxes=marks[:, 2:]))
        return made

    def training(self) -> list[str]:
        """Images of the train split that are marked, or known to have no nodule, in ascending order."""
        marked = set(self.points["image_id"].to_pylist())
        rows = self.split.to_pylist()
        return sorted(
            row["image_id"]
            for row in rows
            if row["split"] == "train" and (row["image_id"] in marked or row["label"] == 0)
        )


def with_tokens(
    row: str,
    asked: BackboneParams,
    images: Sequence[Known],
    paths: Sequence[str],
    embedded: Sequence[Embedded],
    preprocessing_hash: str,
) -> tuple[list[Known], int]:
    """Images with their patch tokens, and how many rows of tokens there are.

    Args:
        row: Name of the row, for errors.
        asked: Its backbone.
        images: What is known of them.
        paths: Tables of feature_tables.TOKENS, all shards.
        embedded: Their records.
        preprocessing_hash: Of the images.

    Raises:
        TableError: If a file is missing or damaged, or lacks an image.
        MismatchError: If tokens are of other pixels, or of another side.
        ModelError: If they are of another number of places than the row says.
    """
    told = next((one for one in embedded if one.rows), None)
    if told is None or told.rows is None:
        raise TableError(
            f"{row}: found no tokens in {', '.join(paths)}, wanted those of its images; run zoo.tokens again"
        )
    if told.places != asked.shifts**2:
        raise ModelError(
            f"{row}: found tokens at {told.places} places of an image, wanted {asked.shifts**2}, shifts x shifts; run "
            "zoo.tokens again"
        )
    if told.rows * (told.patch_px or 0) != asked.side_px:
        raise MismatchError(
            f"{row}: found {told.rows} rows of patches of {told.patch_px} px, wanted them to fill side_px "
            f"{asked.side_px}; run zoo.tokens again"
        )
    ids = [image.image_id for image in images]
    files = TokenFiles(row, [Path(path) for path in paths], ids, preprocessing_hash)
    return [with_(image, tokens=partial(files.__getitem__, number)) for number, image in enumerate(images)], told.rows


def there(ids: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Those of some images that tokens were kept of, in their order."""
    import pyarrow.parquet as pq

    kept: set[str] = set()
    for path in paths:
        if not Path(path).is_file():
            raise TableError(f"{path}: no such file; wanted the table tokens; run zoo.tokens again")
        kept |= set(pq.read_table(path, columns=["image_id"], page_checksum_verification=True)["image_id"].to_pylist())
    return [name for name in ids if name in kept]


def with_(image: Known, **more: Any) -> Known:
    """An image of which more is known."""
    return Known(**{**vars(image), **more})


def bare(image: Known) -> Known:
    """An image of which nothing is known but its size, its tokens and its pixels."""
    return with_(image, label=None, points=np.zeros((0, 2)), boxes=None)

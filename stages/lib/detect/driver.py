"""Queries for a localizer, its responses verbatim, and its detections in pixels of the original image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import params, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.core.progress import track
from stages.lib.detect import views
from stages.lib.detect.choice import SelectParams
from stages.lib.detect.detection import Detection, Query, Response
from stages.lib.images.geometry import Geometry
from stages.lib.images.normalized import load
from stages.lib.metrics import evaluation_sets
from stages.lib.models import gemma3

Localizer = Callable[[Sequence[Query]], Iterator[Response]]


@params.section
class Params:
    """Which views of which images localizers are queried about."""

    views: tuple[views.Name, ...]  # of each image; several are merged to detections, and cost as many times the work
    images: Literal[
        "choosing", "measured", "scored", "all"
    ]  # "measured": those with points, test images, and choosing ones; "scored": validation images, too

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) < len(self.views):
            raise ValueError(f"each of views once, found {list(self.views)}")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a kind of localizer may want beside the parameters of its row; a path is None where it was not given.

    Attributes:
        model: How the base model is held.
        base: Record of the base model, by `fetch`.
        fetched: Record of a model of the row's own.
        environment: Record of an environment of its own.
        journals: Folder of responses as they arrive.
        preprocessing_hash: Of the images; empty if there is none.
    """

    model: gemma3.ModelParams
    base: str | None
    fetched: str | None
    environment: str | None
    journals: str | None
    preprocessing_hash: str

    def path(self, name: str) -> str:
        """A path that the kind cannot do without.

        Raises:
            ParamsError: If it was not given.
        """
        found: str | None = getattr(self, name)
        if found is None:
            raise ParamsError(f"--{name}:", ["found none, wanted a path: this kind of localizer reads it"])
        return found


def localize(
    manifest: pa.Table,
    normalized: pa.Table,
    prompts: Sequence[str],
    results: Path,
    localizer: Localizer,
    params: Params,
) -> tuple[pa.Table, pa.Table]:
    """Detections in each image of `normalized` in original pixels, and the responses.

    Args:
        manifest: Table of `tables.MANIFEST` with at least the images of `normalized`.
        normalized: Table of `tables.NORMALIZED`: the images to ask about.
        prompts: What is asked about each view of each image.
        results: The folder that the images' paths are relative to.
        localizer: Takes queries, those of one prompt in a row, and yields their responses in order.
        params: See `Params`.

    Returns:
        Tables of `tables.DETECTIONS` and of `tables.RESPONSES`.

    Raises:
        TableError: If an image is not in the manifest.
    """
    images = normalized.to_pylist()
    geometries = _geometries(manifest, images)
    asked = [(prompt, view, image) for prompt in prompts for view in params.views for image in images]
    queries = [
        Query(
            key=f"{image['image_id']}\t{view}\t{prompt}",
            pixels=partial(_shown, results / image["png"], view),
            prompt=prompt,
            geometry=geometries[image["image_id"]],
        )
        for prompt, view, image in asked
    ]
    detections: list[dict[str, Any]] = []
    responses: list[dict[str, Any]] = []
    said = track(localizer(queries), total=len(queries), what="localize", unit="questions")
    for (prompt, view, image), response in zip(asked, said, strict=True):
        name = image["image_id"]
        known = {"image_id": name, "prompt": prompt, "view": view}
        said_of = {"response": response.text, "parsed": response.parsed}
        responses.append({**known, **said_of, "completeness_error": response.completeness_error})
        detections += [
            {**known, "rank": rank, **_original(views.VIEWS[view].back(detection), geometries[name])}
            for rank, detection in enumerate(response.detections)
        ]
    return tables.from_rows(detections, tables.DETECTIONS), tables.from_rows(responses, tables.RESPONSES)


def chosen_images(
    normalized: pa.Table, split: pa.Table | None, points: pa.Table | None, params: Params, how: SelectParams
) -> pa.Table:
    """Images that the localizer is run on: those that choose prompts, those that are measured, or all.

    Without a split and points there is nothing to choose by and nothing to measure, and all are taken. Where no image
    has marked nodules, none choose prompts.

    Args:
        normalized: All images.
        split: Which split each is in.
        points: Where the nodules are.
        params: See `Params`.
        how: Which images choose.
    """
    if params.images == "all" or (split is None and points is None):
        return normalized
    split = tables.SPLIT.arrow.empty_table() if split is None else split
    points = tables.POINTS.arrow.empty_table() if points is None else points
    sets: dict[str, Callable[..., set[str]]] = {
        "choosing": evaluation_sets.choosing_images,
        "measured": evaluation_sets.localized_images,
        "scored": partial(evaluation_sets.localized_images, whole=evaluation_sets.MEASURED_SPLITS),
    }
    wanted = sets[params.images](split, points, how.splits, **how.sample)
    if params.images == "choosing" and not wanted & set(points["image_id"].to_pylist()):
        wanted = set()
    return normalized.filter(pc.is_in(normalized["image_id"], pa.array(sorted(wanted), pa.string())))


def _shown(png: Path, view: str) -> np.ndarray:
    return views.VIEWS[view].show(load(png))


def _geometries(manifest: pa.Table, images: Sequence[dict[str, Any]]) -> dict[str, Geometry]:
    sizes = {row["image_id"]: (row["width_px"], row["height_px"]) for row in manifest.to_pylist()}
    strange = [image["image_id"] for image in images if None in sizes.get(image["image_id"], (None,))]
    if strange:
        raise TableError(
            f"{len(strange)} normalized images have no size in the manifest (first: {strange[0]}); "
            "wanted the manifest that they were normalized from"
        )
    return {
        image["image_id"]: Geometry(
            width_px=sizes[image["image_id"]][0], height_px=sizes[image["image_id"]][1], side_px=image["side_px"]
        )
        for image in images
    }


def _original(detection: Detection, geometry: Geometry) -> dict[str, Any]:
    x, y = geometry.from_unit(detection.u, detection.v)
    row: dict[str, Any] = {"x": x, "y": y, "confidence": detection.confidence, "phrase": detection.phrase}
    if detection.box is not None:
        left, top, right, bottom = detection.box
        row["x0"], row["y0"] = geometry.from_unit(left, top)
        row["x1"], row["y1"] = geometry.from_unit(right, bottom)
    return row

"""The part on similar cases: images of the nodule study, each with the training images that are most like it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import tables
from stages.lib.report import gallery
from stages.lib.report.blocks import Album, Card, Gallery, Note, Part
from stages.lofi.alike import Alike

LABELS = {1: "nodule", 0: "no nodule", None: "not labelled"}
Pixels = Callable[[str], bytes]  # PNG of a normalized image, given its path relative to the results folder


@dataclass(frozen=True)
class Cases:
    """What was found for images of the nodule study.

    Attributes:
        alike: Table `sentence_tables.ALIKE`.
        told: The record of the search.
        normalized: Table `tables.NORMALIZED` of that study, as the encoder saw it.
        split: Table `tables.SPLIT` of that study, with labels.
    """

    alike: pa.Table
    told: Alike
    normalized: pa.Table
    split: pa.Table


def part(cases: Cases, pixels: Pixels, *, most: int, image_px: int, seed: int) -> Part:
    """Images drawn by seed among those that have a similar case, and their similar cases, the nearest first.

    Args:
        cases: What was found.
        pixels: See `Pixels`.
        most: Images that are shown with their similar cases.
        image_px: Width and height of an image on the page.
        seed: Of the draw: the page shows no chosen ones.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in cases.alike.sort_by([("image_id", "ascending"), ("rank", "ascending")]).to_pylist():
        found.setdefault(row["image_id"], []).append(row)
    names = sorted(found)
    drawn = sorted(np.random.default_rng(seed).permutation(len(names))[:most].tolist())
    pngs, labels = tables.mapping(cases.normalized, "png"), tables.mapping(cases.split, "label")

    def card(name: str, first: str) -> Card:
        facts = (first, LABELS[labels.get(name)])
        return Card(name=name, image=gallery.embed(pixels(pngs[name]), image_px), facts=facts)

    albums = []
    for place in drawn:
        near = found[names[place]]
        cards = [card(names[place], "the image itself")]
        cards += [card(row["neighbour"], f"distance {row['distance']:.3g}") for row in near]
        rule = "the nearest training images of other patients, the most alike first"
        albums.append(Album(title=names[place], rule=rule, total=len(cards), cards=tuple(cards)))
    return Part(
        name="alike",
        title="Similar cases",
        short="Similar cases",
        blocks=(Note(text=(_note(cases.told, len(drawn), len(names)),)), Gallery(albums=tuple(albums))),
    )


def _note(told: Alike, shown: int, having: int) -> str:
    return (
        f"{shown} of the {having:,} images of the nodule study that have a similar case, drawn by seed; by "
        f"{told.encoder}, among {told.pool:,} training images. A distance is 1 less the cosine. A case is similar "
        f"if it is nearer than {told.limit:.3g}, below which {told.percentile:g} % of {told.n_validation:,} validation "
        f"images ({told.n_patients:,} patients) have their nearest training image of another patient; "
        f"{told.without:,} of {told.images:,} images have none. Whether similar cases have the same label is not "
        "measured."
    )

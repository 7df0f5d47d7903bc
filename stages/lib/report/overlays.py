"""Example images: the image, and above it what is true and what was predicted.

Positions are per cent of the padded square, from edge to edge, as `geometry.Geometry.to_unit` gives them, so that an
SVG of viewBox "0 0 100 100" lies exactly on the image at any size. Each localizer has a mark of its own shape and, by
its style, of its own colour, so that several can be told apart on one image, in print too.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from stages.lib.core.errors import ImageError
from stages.lib.images.geometry import Geometry

JPEG_QUALITY = 82
MARKS = (
    "M{left} {top}l3 3m0-3l-3 3",
    "M{x} {y}m0-2v4m-2-2h4",
    "M{x} {top}l1.7 2.8h-3.4z",
    "M{x} {top}l1.5 1.5l-1.5 1.5l-1.5-1.5z",
    "M{left} {top}h3v3h-3z",
)  # cross, plus, triangle, diamond, square; about 3 wide


@dataclass(frozen=True)
class Ring:
    """A true point: its place, the radii within which a prediction counts, and a tooltip."""

    x: float
    y: float
    tight: float
    tolerant: float
    title: str


@dataclass(frozen=True)
class Finding:
    """A predicted point, the path of its mark and its style, its box (x, y, width, height) or None, and a tooltip."""

    x: float
    y: float
    mark: str
    style: str
    box: tuple[float, float, float, float] | None
    title: str


def rings(points: Sequence[Mapping[str, Any]], geometry: Geometry, tight: float, tolerant: float) -> list[Ring]:
    """Return the true points of one image as rings.

    Args:
        points: Rows of `tables.POINTS` of the image.
        geometry: Geometry of the image.
        tight: Radius of the inner ring, as a fraction of the original's diagonal.
        tolerant: Radius of the outer ring, as a fraction of the original's diagonal.
    """
    unit = geometry.diagonal_px / geometry.square_px
    found = []
    for row in points:
        x, y = _per_cent(row["x"], row["y"], geometry)
        title = f"true point {row['point']}: x {row['x']:.0f}, y {row['y']:.0f} px of the original"
        found.append(Ring(x, y, round(100 * tight * unit, 2), round(100 * tolerant * unit, 2), title))
    return found


def style(place: int) -> str:
    """Return the CSS class of the localizer at a place of the list, from 0."""
    return f"place-{place % len(MARKS)}"


def mark(x: float, y: float, place: int) -> str:
    """Return the path of the mark of the localizer at a place of the list, about (x, y).

    >>> mark(50, 50, 1)
    'M50 50m0-2v4m-2-2h4'
    """
    corner = {"left": f"{round(x - 1.5, 2):g}", "top": f"{round(y - 1.5, 2):g}"}
    return MARKS[place % len(MARKS)].format(x=f"{x:g}", y=f"{y:g}", **corner)


def findings(
    rows: Sequence[Mapping[str, Any]], geometry: Geometry, localizer: str, *, place: int, boxed: bool
) -> list[Finding]:
    """Return the predictions of one localizer on one image.

    Args:
        rows: Rows of `tables.LOCALIZE` of the image.
        geometry: Geometry of the image.
        localizer: Name of the localizer, for the tooltip.
        place: Its place among the localizers, from 0.
        boxed: Whether boxes are shown.
    """
    found = []
    for row in rows:
        x, y = _per_cent(row["x"], row["y"], geometry)
        title = f"{localizer}, finding {row['rank']}: x {row['x']:.0f}, y {row['y']:.0f} px of the original"
        if row["phrase"] is not None:
            title += f", “{row['phrase']}”"
        if row["confidence"] is not None:
            title += f", confidence {row['confidence']:.2f}"
        box = None
        if boxed and row["x0"] is not None:
            left, top = _per_cent(row["x0"], row["y0"], geometry)
            right, bottom = _per_cent(row["x1"], row["y1"], geometry)
            box = (left, top, round(right - left, 2), round(bottom - top, 2))
        found.append(Finding(x, y, mark(x, y, place), style(place), box, title))
    return found


def _per_cent(x: float, y: float, geometry: Geometry) -> tuple[float, float]:
    u, v = geometry.to_unit(x, y)
    return round(100 * u, 2), round(100 * v, 2)


def embed(png: bytes, side_px: int) -> str:
    """Return an image as a JPEG data URI of `side_px` by `side_px` pixels, smooth whether it grows or shrinks.

    Raises:
        ImageError: If `png` is not an image.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(png)) as opened:
            image = opened.convert("L")
    except OSError as error:
        raise ImageError(f"a normalized image cannot be read ({error}); run normalize again") from error
    kind = Image.Resampling.LANCZOS if image.width > side_px else Image.Resampling.BICUBIC
    encoded = BytesIO()
    image.resize((side_px, side_px), kind).save(encoded, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()

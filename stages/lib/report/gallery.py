"""Example images: the image, and above it what is true and what was predicted.

Positions are per cent of the padded square, from edge to edge, as `geometry.Geometry.to_unit` gives them, so that an
SVG of viewBox "0 0 100 100" lies exactly on the image at any size.
"""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from stages.lib.core.errors import ImageError
from stages.lib.images.geometry import Geometry
from stages.lib.report.blocks import Mark, Ring

JPEG_QUALITY = 82


def rings(points: Sequence[Mapping[str, Any]], geometry: Geometry, fractions: Sequence[float]) -> tuple[Ring, ...]:
    """True points of one image as rings.

    Args:
        points: Rows of `tables.POINTS` of the image.
        geometry: Geometry of the image.
        fractions: Radii of the rings, from the inside, as fractions of the original's diagonal.
    """
    unit = geometry.diagonal_px / geometry.square_px
    radii = tuple(round(100 * fraction * unit, 2) for fraction in fractions)
    found = []
    for row in points:
        x, y = _per_cent(row["x"], row["y"], geometry)
        title = f"true point {row['point']}: x {row['x']:.0f}, y {row['y']:.0f} px of the original"
        found.append(Ring(x=x, y=y, radii=radii, title=title))
    return tuple(found)


def marks(
    rows: Sequence[Mapping[str, Any]], geometry: Geometry, label: str, *, look: int, boxed: bool
) -> tuple[Mark, ...]:
    """Predictions of one localizer on one image.

    Args:
        rows: Rows of `tables.LOCALIZE` of the image.
        geometry: Geometry of the image.
        label: What the localizer is called, for the tooltip.
        look: Its index on the page.
        boxed: Whether boxes are shown.
    """
    found = []
    for row in rows:
        x, y = _per_cent(row["x"], row["y"], geometry)
        title = f"{label}, detection {row['rank']}: x {row['x']:.0f}, y {row['y']:.0f} px of the original"
        if row["phrase"] is not None:
            title += f", “{row['phrase']}”"
        if row["confidence"] is not None:
            title += f", confidence {row['confidence']:.2f}"
        box = None
        if boxed and row["x0"] is not None:
            left, top = _per_cent(row["x0"], row["y0"], geometry)
            right, bottom = _per_cent(row["x1"], row["y1"], geometry)
            box = (left, top, round(right - left, 2), round(bottom - top, 2))
        found.append(Mark(x=x, y=y, look=look, title=title, box=box))
    return tuple(found)


def _per_cent(x: float, y: float, geometry: Geometry) -> tuple[float, float]:
    u, v = geometry.to_unit(x, y)
    return round(100 * u, 2), round(100 * v, 2)


def fitted(image: bytes, most_px: int) -> tuple[str, int, int]:
    """An image as a JPEG data URI whose longer side has at most `most_px` pixels, its width and its height.

    Raises:
        ImageError: If `image` is not an image.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(image)) as opened:
            kept = opened.convert("L" if opened.mode in ("L", "1", "I", "I;16") else "RGB")
    except (OSError, ValueError) as error:
        raise ImageError(f"an image cannot be read ({error})") from error
    kept.thumbnail((most_px, most_px), Image.Resampling.LANCZOS)
    encoded = BytesIO()
    kept.save(encoded, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return _uri(encoded.getvalue()), kept.width, kept.height


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def embed(png: bytes, side_px: int) -> str:
    """An image as a JPEG data URI of `side_px` by `side_px` pixels, smooth whether it grows or shrinks.

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
    return _uri(encoded.getvalue())

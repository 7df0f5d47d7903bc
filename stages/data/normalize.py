"""Normalize every image to a square of 0..255, and keep the geometry of its original pixels.

in   manifest    tables.MANIFEST, of which the images that take part; shard k of n with --shard k-of-n
out  folder      one PNG per image, below --results
     normalized  tables.NORMALIZED

One process; memory holds one image. The shard is the unit of restart: an interrupted one is made again from the start,
since a PNG that is already there cannot prove which pixels it was made from.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, files, shards, tables
from stages.lib.core import params as parameters
from stages.lib.core.errors import DataError, ImageError, ParamsError
from stages.lib.core.progress import track
from stages.lib.images import archives, names, preprocess, reading
from stages.lib.images.geometry import Geometry


@parameters.section
class Params:
    """Preprocessing of the pixels."""

    low_percentile: parameters.Percent  # grey value of each image that becomes 0
    high_percentile: parameters.Percent  # grey value of each image that becomes 255
    side_px: parameters.Count  # side of the square that the model reads

    def __post_init__(self) -> None:
        if self.low_percentile >= self.high_percentile:
            raise ValueError(
                f"low_percentile {self.low_percentile} below high_percentile, which is {self.high_percentile}"
            )


def normalize(images: pa.Table, params: Params, *, results: Path, folder: Path) -> pa.Table:
    """Geometry of each image, its PNG written to `folder`.

    Args:
        images: Rows of the manifest that take part.
        params: See `Params`.
        results: Folder that the paths in the table are relative to.
        folder: Where the PNGs go; below `results`.

    Raises:
        DataError: With every image that is no longer what it was at ingest, or that has no contrast.
        ParamsError: If `folder` is not below `results`.
    """
    relative = Path(os.path.relpath(folder, results))
    if ".." in relative.parts:
        raise ParamsError("--folder:", [f"found {folder}, wanted a folder below --results {results}"])
    decides: dict[str, Any] = asdict(params)
    preprocessing_hash = preprocess.preprocessing_hash(**decides)
    rows, problems = [], []
    for image in track(images.to_pylist(), total=images.num_rows, what="normalize"):
        try:
            decoded = unchanged(image)
            square, low, high = preprocess.normalize_pixels(decoded.pixels, counts=decoded.histogram, **decides)
        except (ImageError, OSError) as error:
            problems.append(f"{image['file_name']!r}: {error}")
            continue
        name = names.png_name(image["image_id"])
        files.write_bytes(folder / name, encoded(square))
        geometry = Geometry(width_px=image["width_px"], height_px=image["height_px"], side_px=params.side_px)
        rows.append(
            {
                "image_id": image["image_id"],
                "png": (relative / name).as_posix(),
                "low": low,
                "high": high,
                "scale": geometry.scale,
                "pad_x_px": geometry.pad_x_px,
                "pad_y_px": geometry.pad_y_px,
                "side_px": params.side_px,
                "preprocessing_hash": preprocessing_hash,
                "histogram": preprocess.coarse_histogram(square),
            }
        )
    if problems:
        raise DataError(f"{len(problems)} image(s) that took part at ingest cannot be normalized:", problems)
    return tables.from_rows(rows, tables.NORMALIZED)


def unchanged(image: Mapping[str, Any]) -> reading.Decoded:
    """An image of the manifest, if its file is still the one that was ingested.

    Args:
        image: Row of the manifest.

    Raises:
        ImageError: If the file has changed since, or cannot be read as an image.
        OSError: If it cannot be opened.
    """
    max_pixels = image["width_px"] * image["height_px"]
    with archives.on_disk(image["path"], reading.max_bytes(max_pixels)) as file:
        return _unchanged(image, file, max_pixels)


def _unchanged(image: Mapping[str, Any], file: Path, max_pixels: int) -> reading.Decoded:
    digest = files.sha256_file(file)
    if digest != image["sha256"]:
        raise ImageError(
            f"its SHA-256 is {digest[:12]}..., at ingest it was {image['sha256'][:12]}...: the file has changed,"
            " run ingest again"
        )
    return reading.read_grey(file, max_pixels=max_pixels)


def encoded(square: Any) -> bytes:
    """A normalized image, uint8 of shape (side, side), as the bytes of a PNG file.

    Raises:
        ImageError: If the encoder fails.
    """
    import cv2

    done, data = cv2.imencode(".png", square)
    if not done:
        raise ImageError("the PNG encoder failed")
    return bytes(data)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args = cli.parse(
        __doc__,
        argv,
        params={"data.normalize": Params},
        reads=["manifest", "shard", "results"],
        writes=["folder", "normalized"],
    )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    images = shards.take(manifest.filter(pc.equal(manifest["status"], "ok")), args.shard)
    Path(args.folder).mkdir(parents=True, exist_ok=True)  # a shard of few images may have none
    normalized = normalize(images, args.params.normalize, results=Path(args.results), folder=Path(args.folder))
    tables.write(args.normalized, normalized, tables.NORMALIZED)


if __name__ == "__main__":
    cli.run(main)

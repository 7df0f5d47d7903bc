"""PNG files made chunk by chunk, good ones and hostile ones, and a data folder to put them in."""

import struct
import zlib
from pathlib import Path

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scanlines(pixels: np.ndarray) -> bytes:
    """Return the unfiltered lines of an image (height, width) or (height, width, channels), big-endian."""
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    return b"".join(b"\0" + line.tobytes() for line in big)


def raw_png(
    width: int, height: int, depth: int, colour: int, lines: bytes, *, interlace: int = 0, extra: bytes = b""
) -> bytes:
    """Return a PNG with exactly this header and these lines, whether they fit together or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    body = extra + chunk(b"IDAT", zlib.compress(lines, 1))
    return SIGNATURE + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def png(pixels: np.ndarray, *, interlaced: bool = False) -> bytes:
    """Return an image (uint8 or uint16; 1, 2, 3 or 4 channels) as PNG."""
    height, width = pixels.shape[:2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2] if pixels.ndim == 3 else 1]
    lines = scanlines(pixels)
    if interlaced:
        passes = [pixels[y::dy, x::dx] for x, y, dx, dy in ADAM7]
        lines = b"".join(scanlines(part) for part in passes if part.size)
    return raw_png(width, height, pixels.dtype.itemsize * 8, colour, lines, interlace=int(interlaced))


def image(seed: int, *, width: int = 40, height: int = 36, dtype: type = np.uint8) -> np.ndarray:
    """Return a noisy image that no other seed gives."""
    most = int(np.iinfo(dtype).max) + 1
    return np.random.default_rng(seed).integers(0, most, (height, width)).astype(dtype)


def hostile() -> dict[str, tuple[bytes, str]]:
    """Return the bytes of each bad file, and a word that the sentence about it has to contain."""
    good = png(image(0))
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    grey = image(0)
    clear = np.full_like(grey, 255)
    clear[3, 3] = 254
    bits = np.packbits(image(0) > 127, axis=1)
    palette = chunk(b"PLTE", bytes(range(256)) * 3)
    animation = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(
        b"fcTL", struct.pack(">IIIIIHHBB", 0, 40, 36, 0, 0, 1, 10, 0, 0)
    )
    return {
        "truncated": (good[: len(good) // 2], "truncated"),
        "truncated in its header": (good[:20], "header"),
        "without its end": (good[:-12], "truncated"),
        "bit flipped": (bytes(flipped), "bits have changed"),
        "empty": (b"", "empty"),
        "HTML": (b"<!DOCTYPE html><html>Not found</html>", "neither PNG nor DICOM"),
        "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200), "damaged JPEG"),
        "bomb by header": (raw_png(60000, 60000, 8, 0, b""), "max_pixels"),
        "bomb of one bit": (raw_png(20000, 20000, 1, 0, bytes(20000 * 2501)), "max_pixels"),
        "no pixels by header": (raw_png(0, 36, 8, 0, b""), "0 x 36"),
        "1 x 1": (png(np.array([[7]], np.uint8)), "at least"),
        "constant": (png(np.full((36, 40), 9, np.uint8)), "there is no image"),
        "black": (png(np.zeros((36, 40), np.uint16)), "there is no image"),
        "all but constant": (png(np.where(np.arange(1440).reshape(36, 40) < 9, 5, 0).astype(np.uint8)), "no image"),
        "colour": (png(np.dstack([grey, grey, image(1)])), "colour"),
        "16-bit colour": (png(np.dstack([image(0, dtype=np.uint16), *[image(1, dtype=np.uint16)] * 2])), "colour"),
        "see-through": (png(np.dstack([grey, grey, grey, clear])), "transparent"),
        "grey and see-through": (png(np.dstack([grey, clear])), "transparent"),
        "palette": (raw_png(40, 36, 8, 3, scanlines(grey), extra=palette), "palette"),
        "one bit": (raw_png(40, 36, 1, 0, scanlines(bits)), "1-bit"),
        "a chunk of 4 GB": (good.replace(good[33:37], b"\xff\xff\xff\xf0", 1), "truncated"),
        "lines missing": (raw_png(40, 72, 8, 0, scanlines(grey)), "damaged"),
        "animated": (raw_png(40, 36, 8, 0, scanlines(grey), extra=animation), "animated"),
    }


def challenge(
    root: Path, images: dict[str, bytes], labels: str | bytes, points: str | bytes = "file_name,x,y\n"
) -> Path:
    """Write a data folder in the challenge's layout; an image goes where its path, "nih/x.png" or "lidc/x.png",
    says.
    """
    places = {"nih": root / "nih_filtered_images", "lidc": root / "lidc_png_16_bit"}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    for name, data in images.items():
        source, _, file_name = name.partition("/")
        (places[source] / file_name).write_bytes(data)
    for name, text in (("classification_labels.csv", labels), ("localization_labels.csv", points)):
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root

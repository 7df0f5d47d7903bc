"""Mutated files: what the readers make of PNG, DICOM, JPEG, TIFF and CSV files of which some bytes are wrong.

`python tests/fakes/mutations.py png 100 --seed 0` reads that many in a process of limited memory, and prints what came
out as JSON. Every mutation has a number and is a function of it, so that one that fails can be made again.
"""

import argparse
import io
import json
import resource
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pngs import chunk, image, png

from stages.lib.core.errors import ImageError
from stages.lib.images import csvfile, reading
from stages.lib.images.decoded import Decoded

MEMORY_BYTES = 1_500_000_000
MAX_PIXELS = 100_000
INTERESTING = (0, 1, 2, 8, 16, 31, 127, 128, 255)
OF_TEXT = tuple(b',;"\n\r\t\0 =x')
COLUMNS = ["file_name", "label"]
CSV = 'file_name,label,patient_id,x,y\n"a, b.png",Nodule,P1,1.5,2\nröntgen.png,No Finding,,,\n"c ""d"".png",1,007,3,4\n'


def mutated(data: bytes, rng: np.random.Generator, *, head: int, values: Sequence[int] = INTERESTING) -> bytes:
    """The bytes with one to four things wrong: changed, cut, doubled, left out, or a length that is too great.

    Args:
        data: The whole file.
        rng: Where and what.
        head: Bytes at the beginning that half of the changes hit, where the structure is.
        values: Bytes that are likely to mean something; of text, no others are put in.
    """
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not made:
            break
        end = min(head, len(made)) if rng.random() < 0.5 else len(made)
        at, kind = int(rng.integers(end)), int(rng.choice(7 if values is INTERESTING else [1, 1, 1, 4, 5, 6]))
        if kind == 0:
            made[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            made[at] = int(rng.choice(values))
        elif kind == 2:
            made[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFF, 60000])))
        elif kind == 3:
            made[at : at + 2] = struct.pack(">H", int(rng.integers(1 << 16)))
        elif kind == 4 and rng.random() < 0.3:
            del made[at:]
        elif kind == 5:
            del made[at : at + int(rng.integers(1, 40))]
        else:
            made[at:at] = made[at : at + int(rng.integers(1, 40))]
    return bytes(made)


def one_of(files: list[bytes], rng: np.random.Generator) -> bytes:
    return files[int(rng.integers(len(files)))]


def mutated_png(whole: list[bytes], rng: np.random.Generator) -> bytes:
    """A mutated PNG; in two of three the checksums are right again, so that the decoder sees what is wrong."""
    data = one_of(whole, rng)
    if rng.random() < 1 / 3:
        return mutated(data, rng, head=60)
    parts = []
    at = 8
    while at < len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    place = int(rng.integers(len(parts)))
    kind, body = parts[place]
    if kind == b"IDAT" and rng.random() < 0.7:
        body = zlib.compress(mutated(zlib.decompress(body), rng, head=60), 1)
    else:
        body = mutated(body, rng, head=60)
    parts[place] = (kind, body)
    if rng.random() < 0.1:
        parts.insert(place, parts[int(rng.integers(len(parts)))])
    return data[:8] + b"".join(chunk(*part) for part in parts)


def read_png(path: Path, data: bytes) -> str:
    """ "read" or "refused"; what a second decoder reads must be the same."""
    found = read_both_ways(path)
    if found is None:
        return "refused"
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
                return "read"  # what Pillow turns into another depth
            seen = np.asarray(opened)
    except (OSError, SyntaxError, ValueError):
        return "read"
    if seen.dtype != found.pixels.dtype:  # 16-bit colours, of which Pillow keeps 8 bits
        return "read"
    first = seen if seen.ndim == 2 else seen[..., 0]
    if not np.array_equal(first, found.pixels):
        raise AssertionError("another image than Pillow reads")
    return "compared"


def read_image(path: Path, data: bytes) -> str:
    """ "read" or "refused"."""
    found = read_both_ways(path)
    if found is None:
        return "refused"
    if found.pixels.ndim != 2 or found.pixels.dtype not in (np.uint8, np.uint16) or found.histogram is None:
        raise AssertionError(f"read to {found.pixels.dtype} of shape {found.pixels.shape}")
    if not 0 < found.histogram.sum() <= found.pixels.size or found.histogram.min() < 0:
        raise AssertionError("a histogram that is not of its pixels")
    return "read"


def read_csv(path: Path, data: bytes) -> str:
    """ "read" or "refused"; every cell is text of the columns that were asked for."""
    rows, problems = csvfile.read(path, COLUMNS, ["patient_id", "x", "y"])
    for row in rows:
        if row.cells.keys() != {*COLUMNS, "patient_id", "x", "y"}:
            raise AssertionError(f"cells {sorted(row.cells)}")
    for problem in problems:
        in_words(problem)
    return "refused" if problems else "read"


def read_both_ways(path: Path) -> Decoded | None:
    """The image, None if it is refused in words; ingest has to say the same of the file."""
    facts = reading.examine(str(path), MAX_PIXELS)
    try:
        found = reading.read_grey(path, max_pixels=MAX_PIXELS)
    except ImageError as error:
        in_words(str(error))
        if [notice.text for notice in facts.notices] != [str(error)]:
            raise AssertionError("ingest says another thing") from error
        return None
    if facts.pixel_sha256 != reading.pixel_sha256(found.pixels):
        raise AssertionError("ingest reads another image")
    for notice in facts.notices:
        in_words(notice.text)
    return found


def in_words(message: str) -> None:
    """Raise where a message is not a sentence: a name of a class of Python, a traceback, or nothing."""
    if not message or "Traceback" in message or "Error" in message or "Exception" in message or "\n" in message:
        raise AssertionError(f"a message that is not in words: {message!r}")


def dicom_files() -> list[bytes]:
    """One image in each transfer syntax that can be written here."""
    import pydicom
    from dicoms import dicom
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEG2000Lossless,
        JPEGLSLossless,
        RLELossless,
    )

    pixels = image(3, dtype=np.uint16) >> 4
    fields = {"BitsStored": 12, "HighBit": 11, "PixelPaddingValue": 0, "RescaleSlope": "2", "Modality": "DX"}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
            found.append(dicom(path, pixels, syntax=syntax, **fields).read_bytes())
        found.append(found[1][132:])  # without preamble
        for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
            dataset = pydicom.dcmread(io.BytesIO(found[0]))
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(path)
            found.append(path.read_bytes())
        path.write_bytes(found[0])
        found += [jpeg(path, name) for name in ("JPEGLosslessProcess14", "JPEGLosslessProcess14_1")]
    return found


def jpeg(path: Path, syntax: str) -> bytes:
    """A DICOM file, uncompressed at `path`, in a transfer syntax by GDCM's name."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    if not reader.Read():
        raise ValueError(f"GDCM cannot read {path}")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise ValueError(f"GDCM cannot write {syntax}")
    writer = gdcm.ImageWriter()
    packed = path.with_suffix(".packed")
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(packed))
    if not writer.Write():
        raise ValueError(f"GDCM cannot write {packed}")
    return packed.read_bytes()


def raster_files(kind: str) -> list[bytes]:
    """Images as JPEG or TIFF, written by Pillow."""
    grey = image(0)
    ways: list[dict[str, object]] = [{}, {"progressive": True}]
    if kind == "tiff":
        ways = [{"compression": how} for how in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")]
    found = []
    for pixels in (grey, np.dstack([grey] * 3), *([image(1, dtype=np.uint16)] if kind == "tiff" else [])):
        for way in ways:
            if pixels.dtype == np.uint8 or way["compression"] != "jpeg":
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, kind, **way)
                found.append(buffer.getvalue())
    return found


Mutate = Callable[[list[bytes], np.random.Generator], bytes]


def sources(kind: str) -> tuple[list[bytes], Mutate, Callable[[Path, bytes], str], str]:
    """Whole files of a kind, how one is mutated, how it is read, and its ending."""
    if kind == "png":
        grey = image(0)
        whole = [
            png(image(n, dtype=kind), interlaced=way) for n, kind in enumerate((np.uint8, np.uint16)) for way in (0, 1)
        ]
        whole += [png(np.dstack([grey] * 3)), png(np.dstack([grey, np.full_like(grey, 255)]))]
        return whole, mutated_png, read_png, ".png"
    if kind == "dicom":
        whole = dicom_files()
        return whole, lambda files, rng: mutated(one_of(files, rng), rng, head=800), read_image, ".dcm"
    if kind in ("jpeg", "tiff"):
        return (
            raster_files(kind),
            lambda files, rng: mutated(one_of(files, rng), rng, head=200),
            read_image,
            f".{kind}",
        )
    texts = [CSV, CSV.replace(",", ";"), CSV.replace("\n", "\r\n"), "\ufeff" + CSV]
    whole = [text.encode() for text in texts] + [CSV.encode("cp1252"), CSV.encode("utf-16")]
    return whole, lambda files, rng: mutated(one_of(files, rng), rng, head=40, values=OF_TEXT), read_csv, ".csv"


def main() -> None:
    """Read mutated files of one kind, and print how many came out how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", help="of png, dicom, jpeg, tiff, csv, with commas between")
    parser.add_argument("count", type=int, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    args = parser.parse_args()
    made = {kind: sources(kind) for kind in args.kinds.split(",")}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    told: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (whole, mutate, read, ending) in made.items():
            told[kind] = Counter()
            path = Path(folder) / f"a{ending}"
            for number in range(args.first, args.first + args.count):
                data = mutate(whole, np.random.default_rng((args.seed, number)))
                path.write_bytes(data)
                sys.stderr.write(f"{kind} {number}\n")  # the last one is where a crash was
                try:
                    told[kind][read(path, data)] += 1
                except Exception as error:  # every other end than a refusal in words is what is looked for
                    told[kind][f"{kind} {number}: {type(error).__name__}: {error}"] += 1
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()

"""Reading of images: against a plain way, against bare decoders, and again when nothing has changed."""

import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from stages.data import ingest, normalize
from stages.lib.core import params
from stages.lib.images import preprocess, reading
from workflow.bench.interleave import Interleaved, Ratios
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=ingest"
SIDE_PX, ROUNDS, IMAGES = 2048, 7, 24
NORMAL: dict[str, Any] = {"low_percentile": 0.5, "high_percentile": 99.5, "side_px": 896}
MAX_PIXELS = 50_000_000
LONG_AGO = (1_000_000, 1_000_000)


def radiograph(seed: int) -> np.ndarray:
    """Smooth shades with noise, about as compressible as a radiograph; uint16 of 12 bits."""
    import cv2

    rng = np.random.default_rng(seed)
    shades = cv2.resize(rng.uniform(300, 3600, (9, 9)), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return np.clip(shades + rng.normal(0, 12, shades.shape), 0, 4095).astype(np.uint16)


def plain(path: Path) -> bytes:
    """The plain way, from file to file: Pillow as it comes, float64, numpy's percentiles; a square needs no padding."""
    from PIL import Image

    with Image.open(path) as opened:
        pixels = np.asarray(opened).astype(np.float64)
    low, high = np.percentile(pixels, [NORMAL["low_percentile"], NORMAL["high_percentile"]])
    grey = np.clip((pixels - low) / (high - low), 0, 1) * 255
    small = Image.fromarray(grey.astype(np.float32)).resize((NORMAL["side_px"],) * 2)
    written = io.BytesIO()
    Image.fromarray(np.clip(np.rint(np.asarray(small)), 0, 255).astype(np.uint8)).save(written, "PNG")
    return written.getvalue()


def ours(path: Path) -> bytes:
    """The project's way, from file to file."""
    image = reading.read_grey(path, max_pixels=MAX_PIXELS)
    return normalize.encoded(preprocess.normalize_pixels(image.pixels, counts=image.histogram, **NORMAL)[0])


def dicoms(folder: Path) -> dict[str, Path]:
    """One image in each of two compressed syntaxes."""
    import gdcm
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.1.1")
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.Rows = dataset.Columns = SIDE_PX
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = radiograph(0).tobytes()
    dataset.save_as(folder / "plain.dcm")
    found = {}
    for name, kind in (
        ("jpeg_lossless", gdcm.TransferSyntax.JPEGLosslessProcess14_1),
        ("jpeg_2000", gdcm.TransferSyntax.JPEG2000Lossless),
    ):
        source, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        source.SetFileName(str(folder / "plain.dcm"))
        source.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(source.GetImage())
        change.Change()
        found[name] = folder / f"{name}.dcm"
        writer.SetFileName(str(found[name]))
        writer.SetFile(source.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
    return found


def bare(path: Path) -> np.ndarray:
    """The decoder alone, as pydicom calls it."""
    import pydicom
    from pydicom.pixels import get_decoder

    from stages.lib.images.dicom import DECODERS

    dataset = pydicom.dcmread(path)
    syntax = dataset.file_meta.TransferSyntaxUID
    return get_decoder(syntax).as_array(dataset, raw=True, decoding_plugin=DECODERS[syntax])[0]


def again(folder: Path, document: Any) -> Ratios:
    """Reading of a folder against reading it again, unchanged."""
    import cv2

    root = folder / "images"
    root.mkdir()
    for number in range(IMAGES):
        cv2.imwrite(str(root / f"{number}.png"), radiograph(number))
        os.utime(root / f"{number}.png", LONG_AGO)
    section = params.subset(document, ["data.ingest"], {"data.ingest": {"root": str(root), "max_pixels": MAX_PIXELS}})
    given = params.parse(section, {"data.ingest": ingest.Params}).ingest
    cache = folder / "cache"
    timed = Interleaved[int](lambda _: ingest.ingest(given, cache), lambda _: ingest.ingest(given, cache, verify=True))
    ingest.ingest(given, cache)
    return timed.run(range(3), what="ingest again")


def bench(document: Any) -> dict[str, Result]:
    """Ratios of processor time, round by round.

    Args:
        document: The demo's parameters, section by section.
    """
    with tempfile.TemporaryDirectory(prefix="noduleflow-bench-") as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        import cv2

        cv2.imwrite(str(folder / "a.png"), radiograph(0))
        rounds = [folder / "a.png"] * ROUNDS
        found: dict[str, tuple[Ratios, float | None, float | None]] = {}
        found |= {"ingest.plain_way_against_ours": (Interleaved(ours, plain).run(rounds, what="png"), 3.0, None)}
        for syntax, path in dicoms(folder).items():
            ratios = Interleaved(bare, lambda path: reading.read_grey(path, max_pixels=MAX_PIXELS))
            found[f"ingest.{syntax}_against_its_decoder"] = (ratios.run([path] * ROUNDS, what=syntax), None, 1.3)
        found["ingest.first_against_again"] = (again(folder, document), 20.0, None)
    return {
        key: Result(
            value=one.value,
            unit="times the processor time",
            label=MEASURED,
            command=COMMAND,
            low=min(one.ratios),
            high=max(one.ratios),
            runs=one.ratios,
            at_least=least,
            at_most=most,
            note=f"median {one.seconds[0] * 1e3:.0f} and {one.seconds[1] * 1e3:.0f} ms",
        )
        for key, (one, least, most) in found.items()
    }

"""Small drawn data in the layouts in which public data sets are given out, each nodule a spot at a known place."""

import zlib
from pathlib import Path

import numpy as np
from pngs import image, png

SPOT_PX = 5  # side of a drawn nodule; its middle is the brightest pixel


def spotted(seed: int, *places: tuple[int, int], side: int = 64, dtype: type = np.uint8) -> np.ndarray:
    """Return a dark noisy image with a spot around each (column, row), whose middle is the brightest pixel."""
    most = int(np.iinfo(dtype).max)
    pixels = (image(seed, width=side, height=side, dtype=dtype) // 4).astype(dtype)
    reach = SPOT_PX // 2
    for x, y in places:
        pixels[y - reach : y + reach + 1, x - reach : x + reach + 1] = most - 1
        pixels[y, x] = most
    return pixels


def corner(place: tuple[int, int]) -> tuple[int, int]:
    """Return the top left pixel of the spot at `place`, the corner of its box."""
    return place[0] - SPOT_PX // 2, place[1] - SPOT_PX // 2


NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
NIH_ROWS = (
    "00000070_000.png,Cardiomegaly,0,70,058Y,M,PA,2560,2560,0.15,0.15,",
    "00000070_001.png,No Finding,1,70,058,M,AP,2560,2560,0.15,0.15,",
    "00000071_000.png,Nodule,0,71,58,F,PA,2500,2048,0.168,0.168,",
    "00000071_001.png,Infiltration|Nodule,1,71,414,F,PA,2682,2749,0.143,0.143,",
    "00000072_000.png,No Finding,0,72,6M,F,PA,2048,2500,0.1,0.1,",
)
NIH_SPOTS = {"00000071_000.png": (40, 21), "00000071_001.png": (12, 50)}


def nih(root: Path, rows: tuple[str, ...] = NIH_ROWS) -> Path:
    """Draw five images of ChestX-ray14 in two of its folders; the boxes are the spots, and one of another finding."""
    for number, row in enumerate(NIH_ROWS):
        name = row.partition(",")[0]
        folder = root / ("images_001" if number < 3 else "images_002") / "images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(spotted(number, *[NIH_SPOTS[name]] if name in NIH_SPOTS else [])))
    (root / "Data_Entry_2017_v2020.csv").write_text("\r\n".join([NIH_HEADER, *rows, ""]))
    boxes = [f"{name},Nodule,{','.join(map(str, corner(at)))},5.0,5.0,,," for name, at in NIH_SPOTS.items()]
    lines = ["Image Index,Finding Label,Bbox [x,y,w,h],,,", *boxes, "00000070_000.png,Cardiomegaly,3.5,4,20,10,,,"]
    (root / "BBox_List_2017.csv").write_text("\n".join(lines))
    (root / "test_list.txt").write_text("00000070_000.png\n00000070_001.png\n00000099_000.png\n")
    return root


METAIMAGE_TYPES = {
    "u1": "UCHAR",
    "i1": "CHAR",
    "u2": "USHORT",
    "i2": "SHORT",
    "i4": "INT",
    "f4": "FLOAT",
    "f8": "DOUBLE",
}


def metaimage(
    pixels: np.ndarray, *, packed: bool = False, big: bool = False, slices: bool = False, **changes: str
) -> bytes:
    """Return an image as MetaImage, perhaps with changed fields; with `slices`, as a volume of one slice."""
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    height, width = pixels.shape
    fields = {
        "ObjectType": "Image",
        "NDims": "3" if slices else "2",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(big),
        "DimSize": f"{width} {height}" + " 1" * slices,
        "ElementType": f"MET_{METAIMAGE_TYPES[pixels.dtype.str[1:]]}",
        "CompressedData": str(packed),
        **changes,
    }
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "LOCAL")
    header = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return header.encode("latin-1") + (zlib.compress(stored) if packed else stored)


def jsrt_raw_bytes(stored: np.ndarray) -> bytes:
    """Return the bytes of a raw image: two for each value, most significant first, no header."""
    return stored.astype(">u2").tobytes()

"""Small drawn data in the layouts in which public data sets are given out, each nodule a spot at a known place."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from dicoms import dicom
from pngs import image, png

SPOT_PX = 5  # side of a drawn nodule; its middle is the brightest pixel


def spotted(seed: int, *places: tuple[int, int], side: int = 64, dtype: type = np.uint8) -> np.ndarray:
    """Return a noisy image with a spot around each (column, row), whose middle is the brightest pixel."""
    most = int(np.iinfo(dtype).max)
    pixels = np.minimum(image(seed, width=side, height=side, dtype=dtype), most - 2).astype(dtype)
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


VINDR_SPOTS = {"aa01": [(20, 30), (50, 12)], "aa02": [(33, 33)]}
# Of each image, what each of three readers says, a box as (place, how far its right and bottom sides are moved).
VINDR_READINGS: dict[str, dict[str, list[tuple[str, tuple[int, int] | None, int]]]] = {
    "aa01": {
        "R1": [("Nodule/Mass", (20, 30), 0), ("Nodule/Mass", (50, 12), 0)],
        "R2": [("Nodule/Mass", (20, 30), 2), ("Cardiomegaly", (32, 50), 0)],
        "R3": [("Nodule/Mass", (20, 30), -2)],
    },
    "aa02": {"R1": [("Nodule/Mass", (33, 33), 0)], "R2": [("No finding", None, 0)], "R3": [("No finding", None, 0)]},
    "aa03": {reader: [("No finding", None, 0)] for reader in ("R1", "R2", "R3")},
    "aa04": {
        "R1": [("Cardiomegaly", (32, 50), 0)],
        "R2": [("No finding", None, 0)],
        "R3": [("No finding", None, 0)],
    },
}


def vindr(root: Path) -> Path:
    """Draw four images of VinDr-CXR's train as DICOM, with the table of what three readers say of each."""
    folder = root / "train"
    folder.mkdir(parents=True)
    lines = ["image_id,rad_id,class_name,x_min,y_min,x_max,y_max"]
    for number, (name, of_readers) in enumerate(VINDR_READINGS.items()):
        pixels = spotted(number, *VINDR_SPOTS.get(name, []), dtype=np.uint16)
        dicom(folder / f"{name}.dicom", pixels, BitsStored=16, HighBit=15, PatientSex="F")
        for reader, said in of_readers.items():
            for word, place, wider in said:
                box = ""
                if place is not None:
                    left, top = corner(place)
                    box = f"{left},{top},{left + SPOT_PX + wider},{top + SPOT_PX + wider}"
                lines.append(f"{name},{reader},{word},{box or ',,,'}")
    (root / "annotations_train.csv").write_text("\n".join(lines))
    return root


NODE21_ROWS = ("n0001.mha,0,0,0,0,0", "c0001.mha,1,5,18,28,5", "c0001.mha,1,5,48,10,5", "n0002.mha,0,0,0,0,0")


def node21(root: Path, rows: tuple[str, ...] = NODE21_ROWS) -> Path:
    """Draw three images of NODE21, one with two spots; a row is img_name, label, height, x, y, width."""
    folder = root / "cxr_images" / "images"
    folder.mkdir(parents=True)
    spots = {"n0001": [], "c0001": [(20, 30), (50, 12)], "n0002": []}
    for number, (name, places) in enumerate(spots.items()):
        pixels = spotted(number, *places, dtype=np.uint16)
        data = metaimage(pixels, packed=True, slices=number == 1, ElementSpacing="0.3 0.3")
        (folder / f"{name}.mha").write_bytes(data)
    lines = [",height,img_name,label,width,x,y"]
    for number, row in enumerate(rows):
        name, label, height, x, y, width = row.split(",")
        lines.append(f"{number},{height},{name},{label},{width},{x},{y}")
    (root / "cxr_images" / "metadata.csv").write_text("\n".join(lines))
    return root


CLNDAT = (
    "JPCLN001.IMG\t5\t15\t53\tmale\t1634\t692\tmalignant\tl.upper lobe\tlung cancer\t\r\n"
    "JPCLN002.IMG\t4\t30\t?\tFemale\t655.5\t1071.5\tbenign\tl.upper lobe(S5)\tpulmonary hematoma"
    "JPCLN003.IMG\t1\t?\t60\tmale\t100\t200\tmalignant\tr.lower lobe\tmetastasis\r\n"
)


def jsrt(root: Path) -> Path:
    """Draw a raw image with a nodule, dark as such images store it, a small PNG of another, and one without.

    The last two rows of the table lack a line break between them, as those of some copies do.
    """
    stored = 4095 - (image(1, width=2048, height=2048, dtype=np.uint16) % 1000)
    stored[690:695, 1632:1637] = 1
    stored[692, 1634] = 0
    for folder in ("Nodule154images", "NonNodule93images", "png"):
        (root / folder).mkdir(parents=True)
    (root / "Nodule154images" / "JPCLN001.IMG").write_bytes(jsrt_raw_bytes(stored))
    (root / "png" / "JPCLN002.png").write_bytes(png(spotted(2, (20, 33))))  # a 32nd of the size: 20 is 655.5
    (root / "NonNodule93images" / "JPCNN001.png").write_bytes(png(spotted(3)))
    (root / "CLNDAT_EN.txt").write_bytes(CLNDAT.encode())
    (root / "CNNDAT_EN.TXT").write_text("JPCNN001.IMG\t71\tfemale\tnon-nodule\n")
    return root


PADCHEST_ROWS = (
    "100_a.png,0,20140915,s1,P1,1936.0,F,PA,\"['nodule', ' cardiomegaly']\"",
    "100_b.png,0,20140915,s1,P1,1936.0,F,L,\"['nodule', ' cardiomegaly']\"",
    "101_a.png,7,20100101,s2,P2,1950.0,M,AP_horizontal,\"['normal']\"",
    "102_a.png,7,20100101,s3,P3,,O,AP,\"['pseudonodule', 'normal']\"",
    "103_a.png,7,20100101,s4,P4,2011.0,M,PA,nan",
    "104_a.png,7,20100101,s5,P5,1960.0,M,PA,\"['multiple nodules', 'pulmonary mass']\"",
    "105_a.png,54,20100101,s6,P6,1960.0,M,PA,['normal']",
)


def padchest(root: Path, rows: tuple[str, ...] = PADCHEST_ROWS, *, packed: bool = False) -> Path:
    """Draw the images of PadChest that lie in its folders 0 and 7, 16 bits each, with the table of all."""
    for number, row in enumerate(PADCHEST_ROWS):
        name, folder = row.split(",")[:2]
        if folder != "54":
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_bytes(png(spotted(number, dtype=np.uint16)))
    header = "ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels"
    text = "\n".join([f",{header}", *(f"{number},{row}" for number, row in enumerate(rows))]).encode()
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    (root / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(text) if packed else text)
    return root

"""What the header of a DICOM image says: of the patient, in pseudonyms; of the projection; of the size of a pixel.

A sentence never quotes a field that may name the patient.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.lib.images import names, pseudonym
from stages.lib.images.columns import MAX_AGE_YEARS
from stages.lib.images.decoded import Header
from stages.lib.images.notices import Notice

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RADIOGRAPHS = ("CR", "DX", "DR", "RG", "OT", "SC", "")
# What a message may repeat of a field of codes. Anything may be written there, the patient's name too, so that no other
# word is repeated. Source: PS3.3, C.7.3.1.1.1 and PS3.16, annex L.
OTHER_MODALITIES = (
    *(
        "AR",
        "BI",
        "BMD",
        "CT",
        "DG",
        "ECG",
        "ES",
        "GM",
        "HD",
        "IO",
        "IVOCT",
        "IVUS",
        "KO",
        "MG",
        "MR",
        "NM",
        "OCT",
        "OP",
    ),
    *("OPT", "PR", "PT", "PX", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "SEG", "SM", "SR"),
    *("TG", "US", "XA", "XC"),
)
OTHER_PARTS = (
    *("ABDOMEN", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "CALCANEUS", "CLAVICLE", "COCCYX", "COLON", "ELBOW"),
    *("EXTREMITY", "EYE", "FEMUR", "FIBULA", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HEART", "HIP", "HUMERUS"),
    *("JAW", "KIDNEY", "KNEE", "LEG", "LIVER", "MANDIBLE", "MAXILLA", "NECK", "PATELLA", "PELVIS", "RADIUS", "RIB"),
    *("SACRUM", "SCAPULA", "SHOULDER", "SINUS", "SKULL", "SPINE", "STERNUM", "THIGH", "THUMB", "TIBIA", "TOE", "TOOTH"),
    *("ULNA", "WRIST", "ZYGOMA"),
)
CHEST = ("CHEST", "THORAX", "TORAX", "TÓRAX", "LUNG", "PECHO", "POUMON", "BRUST")
FRONTAL = {"PA": "PA", "AP": "AP"}
LATERAL = ("LATERAL", "LAT", "LL", "RL", "LLAT", "RLAT")
OBLIQUE = ("OBLIQUE", "OBL", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO")
DECUBITUS = ("DECUBITUS", "DECUB", "LLD", "RLD")
OTHER_VIEWS = (
    "SWIMMERS",
    "TANGENTIAL",
    "CC",
    "ML",
    "MLO",
    "LM",
    "LMO",
    "XCC",
    "XCCL",
    "XCCM",
    "ISO",
)
UNKNOWN = "by a word that DICOM does not have"
SPACINGS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing")
SQUARE = 1e-3  # relative difference of the two sides of a pixel up to which it is square
MAX_MAGNIFICATION = 2.0
LUT_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
)


def read_header(header: "Dataset", syntax: str) -> tuple[Header, tuple[Notice, ...]]:
    """What a header says, and what is odd about it.

    Args:
        header: The data set.
        syntax: UID of the transfer syntax that the file came in.
    """
    spacing_mm, spacing_from, odd = spacing(header)
    view = projection(header)
    notices = [*eligibility(header, view), *odd]
    if syntax in LOSSY or text(header, "LossyImageCompression") == "01":
        notices.append(Notice("lossy", "compressed with loss, as its header says"))
    found = Header(
        patient=_pseudonym(header, "PatientID"),
        study=_pseudonym(header, "StudyInstanceUID"),
        view=view if view in ("PA", "AP", "lateral") else None,
        sex={"F": "F", "M": "M", "O": "other"}.get(text(header, "PatientSex")),
        age_years=age(header),
        spacing_mm=spacing_mm,
        spacing_from=spacing_from,
    )
    return found, tuple(notices)


def eligibility(header: "Dataset", view: str | None) -> Iterator[Notice]:
    """What its header says against an image as a frontal radiograph of the chest for reading."""
    modality, part = text(header, "Modality"), text(header, "BodyPartExamined")
    if modality not in RADIOGRAPHS:
        told = f"modality {known(modality, OTHER_MODALITIES)}"
        yield Notice("modality", f"{told}, wanted a radiograph ({', '.join(filter(None, RADIOGRAPHS))})")
    if part and (not any(word in part for word in CHEST) or "SPINE" in part):
        named = max((word for word in OTHER_PARTS if word in part), key=len, default=UNKNOWN)
        yield Notice("body_part", f"body part {named}, wanted CHEST")
    if view not in (None, "PA", "AP"):
        yield Notice("view", f"view {view}, wanted PA or AP")
    if text(header, "PresentationIntentType") == "FOR PROCESSING":
        yield Notice("for_processing", "FOR PROCESSING: raw values of the detector, wanted FOR PRESENTATION")
    side = text(header, "ImageLaterality") or text(header, "Laterality")
    if side in ("L", "R"):
        yield Notice("laterality", f"laterality {side}: one side of the body, wanted both")
    kind, shape = text(header, "PhotometricInterpretation"), text(header, "PresentationLUTShape")
    if shape in LUT_SHAPES.values() and LUT_SHAPES.get(kind, shape) != shape:
        told = f"PresentationLUTShape {shape} contradicts {kind}, wanted {LUT_SHAPES[kind]}"
        yield Notice("presentation_lut", f"{told}; the polarity is that of {kind}")
    if text(header, "BurnedInAnnotation") == "YES":
        yield Notice("burned_in", "BurnedInAnnotation YES: there may be text about the patient in the pixels")


def projection(header: "Dataset") -> str | None:
    """PA, AP, or what else it is; None if the header does not say.

    >>> projection({"ViewPosition": "LL"}), projection({"ViewPosition": "PA ERECT"}), projection({})
    ('lateral', 'PA', None)
    """
    words = set(re.split(r"[^A-Z]+", text(header, "ViewPosition")))
    for found, spelt in (
        ("oblique", OBLIQUE),
        ("decubitus", DECUBITUS),
        ("lateral", LATERAL),
        ("other than frontal", OTHER_VIEWS),
        ("PA", ("PA",)),
        ("AP", ("AP",)),
    ):
        if words & set(spelt):
            return found
    meanings = [str(item.get("CodeMeaning", "")).casefold() for item in header.get("ViewCodeSequence") or ()]
    for meaning in meanings:
        for word, found in (
            ("lateral", "lateral"),
            ("oblique", "oblique"),
            ("axial", "other than frontal"),
            ("postero", "PA"),
            ("antero", "AP"),
        ):
            if word in meaning:
                return found
    return None


def spacing(header: "Dataset | Mapping[str, Any]") -> tuple[float | None, str | None, list[Notice]]:
    """Millimetres per pixel in the plane of the patient if the magnification is known, else at the detector.

    The first usable field is taken, and named; each that cannot be used is a notice.

    >>> spacing({"ImagerPixelSpacing": [0.175, 0.175], "PixelSpacing": [0.168, 0.168]})[:2]
    (0.175, 'ImagerPixelSpacing')
    >>> spacing({"PixelSpacing": [0.2, 0.1]})[2][0].text
    'PixelSpacing 0.2 by 0.1 mm is not square, so no distance in mm is measured by it'
    """
    notices = []
    for name in SPACINGS:
        found = header.get(name)
        if not found:
            continue
        try:
            rows, columns = (float(value) for value in found)
        except (TypeError, ValueError):
            notices.append(Notice("spacing", f"{name} is not two numbers"))
            continue
        if not (0 < rows < np.inf and 0 < columns < np.inf):
            notices.append(Notice("spacing", f"{name} {rows:g} by {columns:g} is no size"))
        elif abs(rows - columns) > SQUARE * max(rows, columns):
            told = f"{name} {rows:g} by {columns:g} mm is not square, so no distance in mm is measured by it"
            notices.append(Notice("spacing", told))
        else:
            factor = number(header, "EstimatedRadiographicMagnificationFactor")
            if name == "ImagerPixelSpacing" and factor is not None and 1 < factor <= MAX_MAGNIFICATION:
                return rows / factor, f"{name} / EstimatedRadiographicMagnificationFactor", notices
            return rows, name, notices
    return None, None, notices


def age(header: "Dataset") -> float | None:
    """Age of the patient at the image, years; None if the header does not say.

    >>> age({"PatientAge": "058Y"}), age({"PatientAge": "018M"}), age({"PatientAge": "?"})
    (58.0, 1.5, None)
    """
    match = re.fullmatch(r"([0-9]{1,3})([YMWD])", text(header, "PatientAge"))
    years = int(match[1]) * YEARS[match[2]] if match else None
    if years is None:
        days = [
            re.fullmatch(r"([0-9]{4})([0-9]{2})[0-9]{2}", text(header, n)) for n in ("PatientBirthDate", "StudyDate")
        ]
        if all(days):
            born, seen = (int(day[1]) + int(day[2]) / 12 for day in days if day)
            years = float(int(seen - born))
    return years if years is not None and 0 <= years <= MAX_AGE_YEARS else None


def known(word: str, words: Collection[str]) -> str:
    """A word of a field of codes as a message may repeat it.

    >>> known("CT", OTHER_MODALITIES), known("DOE^JANE", OTHER_MODALITIES)
    ('CT', 'by a word that DICOM does not have')
    """
    return word if word in words else UNKNOWN


def text(header: "Dataset | Mapping[str, Any]", name: str) -> str:
    """A field as upper-case text without blanks around; empty if it is not there."""
    return str(header.get(name) or "").strip().upper()


def number(header: "Dataset | Mapping[str, Any]", name: str) -> float | None:
    """A field as a number; None if it is none."""
    try:
        return float(header.get(name))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _pseudonym(header: "Dataset", name: str) -> str | None:
    known = names.known_id(str(header.get(name) or ""))
    return pseudonym.of(known) if known else None

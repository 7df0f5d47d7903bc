"""DICOM objects that say of a DICOM image what was found on it: a structured report, and a presentation state.

Both belong to the study of their image and repeat its patient, as they must; nothing else of the image is copied but
what decides how it is shown. The report follows TID 1500, "Measurement Report": one group about the image, and one with
a region, a point, for each point. The presentation state draws the points on the image in a viewer.

In DICOM 0, 0 is the corner of the first pixel and its centre 0.5, 0.5 (PS3.3, C.10.5 and C.18.6): half a pixel more
than here, where 0 is the centre.

Source: DICOM PS3.16, TID 1500, 1410 and 1501; PS3.3, A.33.1 and A.35.3.
"""

import gzip
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.lib.core.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STATEMENT = "Research use only. Not a medical device: not for diagnosis, not for the care of a patient."
SHORT_STATEMENT = "noduleflow: research use only, not for diagnosis"  # a DICOM long string has 64 characters
MAKER = "noduleflow"
CENTRE = 0.5  # of the first pixel, in DICOM
SERIES_NUMBERS = {"sr": 9001, "gsps": 9002}  # behind those that a modality gives
PREAMBLE_BYTES = 128
GZIP, MAGIC = b"\x1f\x8b", b"DICM"
OTHER_FORMATS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"ObjectType")
NEEDED = ("SOPClassUID", "SOPInstanceUID")  # without these nothing can refer to an image
ABOVE = ("StudyInstanceUID", "SeriesInstanceUID")  # made of the image's own, where a file has none
PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName"),
)
DATES = {"PatientBirthDate": "DA", "StudyDate": "DA", "StudyTime": "TM"}
SEXES = ("M", "F", "O")
SHOWN_BY = ("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction")


@dataclass(frozen=True)
class Mark:
    """A point: column x and row y, pixels of the image, 0 at the centre of the first; and its confidence, [0, 1]."""

    x: float
    y: float
    confidence: float


@dataclass(frozen=True)
class Statement:
    """What is said of one image.

    Attributes:
        positive: Whether it is called positive.
        confidence: Of that it is, [0, 1].
        marks: Its points.
        finding: Code of what is looked for: value, scheme, meaning.
        site: Code of where.
        procedure: Code of the kind of image.
        body_part: Where, as Body Part Examined has it.
        algorithm: Name of what found it, at most 64 characters.
        version: Of the code, at most 64 characters.
        serial: Of the model: what tells one from another, at most 64 characters.
        number: Of the object in its series, from 1.
    """

    positive: bool
    confidence: float
    marks: Sequence[Mark]
    finding: tuple[str, str, str]
    site: tuple[str, str, str]
    procedure: tuple[str, str, str]
    body_part: str
    algorithm: str
    version: str
    serial: str
    number: int


@dataclass(frozen=True)
class Source:
    """A DICOM image that objects can be about.

    Attributes:
        header: What an object about it repeats. Texts are in Unicode; dates and codes that are none are empty, as if
            they were not known.
        made_up: Those of `ABOVE` that its file does not have, and that follow from its own SOPInstanceUID here.
    """

    header: "Dataset"
    made_up: tuple[str, ...]


def source(path: str | Path) -> Source | None:
    """The DICOM image in a file; None if the file is no DICOM image.

    Raises:
        ImageError: If it is DICOM, but damaged, or nothing can refer to it. The message quotes no value.
        OSError: If it cannot be opened.
    """
    with Path(path).open("rb") as handle:
        start = handle.read(len(GZIP))
    content = gzip.decompress(Path(path).read_bytes()) if start == GZIP else None
    with io.BytesIO(content) if content is not None else Path(path).open("rb") as handle:
        head = handle.read(PREAMBLE_BYTES + len(MAGIC))
        if not head.endswith(MAGIC) and head.startswith(OTHER_FORMATS):
            return None
        handle.seek(0)
        with _quiet():
            return _source(handle, head.endswith(MAGIC))


def _source(handle: Any, sure: bool) -> Source | None:
    import pydicom
    from pydicom.dataset import Dataset

    try:
        found = pydicom.dcmread(handle, stop_before_pixels=True, force=True)
        values = {name: str(found.get(name) or "").strip() for name in (*NEEDED, *ABOVE, *PATIENT)}
        rows, columns = int(found.get("Rows") or 0), int(found.get("Columns") or 0)
        for name in NEEDED:  # the file's own header says them too
            values[name] = values[name] or str(getattr(found, "file_meta", {}).get(f"MediaStorage{name}") or "")
    except Exception as error:  # a damaged file makes the parser raise whatever type the damage happens to hit
        if not sure:
            return None
        raise ImageError("damaged DICOM") from error
    if not sure and not values["SOPClassUID"]:
        return None
    if lacking := [name for name in NEEDED if not values[name]]:
        raise ImageError(f"DICOM without {', '.join(lacking)}")
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    for name, value in values.items():
        setattr(header, name, value)
    made_up = tuple(name for name in ABOVE if not values[name])
    for name in made_up:
        setattr(header, name, _generated(name, values["SOPInstanceUID"]))
    for name, kind in DATES.items():
        if not _is_date(values[name], kind):
            setattr(header, name, "")
    if values["PatientSex"] not in SEXES:
        header.PatientSex = ""
    header.Rows, header.Columns = rows, columns
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = str(found.get("PhotometricInterpretation") or "MONOCHROME2")
    for name in SHOWN_BY:
        if found.get(name) not in (None, ""):
            header[name] = found[name]
    return Source(header, made_up)


def _is_date(text: str, kind: str) -> bool:
    from pydicom import valuerep

    try:
        return bool(getattr(valuerep, kind)(text))
    except (ValueError, TypeError):
        return False


def structured_report(image: Source, said: Statement) -> "Dataset":
    """Comprehensive SR about an image: its call, and each point as a region of it.

    Args:
        image: The image.
        said: What is said of it.

    Raises:
        ImageError: If the image cannot be referred to, as one of a private kind.
    """
    return _made(lambda: _structured_report(image.header, said))


def _structured_report(source: "Dataset", said: Statement) -> "Dataset":
    from highdicom import sr
    from pydicom.sr.codedict import codes

    image = (str(source.SOPClassUID), str(source.SOPInstanceUID))
    finding, site = _code(said.finding), [sr.FindingSite(anatomic_location=_code(said.site))]
    algorithm = sr.AlgorithmIdentification(name=said.algorithm, version=said.version)
    common: dict[str, Any] = {"finding_type": finding, "finding_sites": site, "algorithm_id": algorithm}
    groups: list[Any] = [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=_uid(source, said, "image"), identifier="image"),
            measurements=[_certainty(said.confidence)],
            qualitative_evaluations=[
                sr.QualitativeEvaluation(
                    name=sr.CodedConcept("CALL", "99NODULEFLOW", "Call at the chosen threshold"),
                    value=codes.SCT.Present if said.positive else codes.SCT.Absent,
                )
            ],
            source_images=[sr.SourceImageForMeasurementGroup(*image)],
            **common,
        )
    ]
    for number, mark in enumerate(said.marks, 1):
        region = sr.ImageRegion(
            graphic_type=sr.GraphicTypeValues.POINT,
            graphic_data=_place(mark),
            source_image=sr.SourceImageForRegion(*image),
        )
        tracking = sr.TrackingIdentifier(uid=_uid(source, said, f"point {number}"), identifier=f"point {number}")
        groups.append(
            sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking,
                referenced_region=region,
                measurements=[_certainty(mark.confidence)],
                **common,
            )
        )
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=_uid(None, said, "device"), name=MAKER, model_name=said.algorithm, serial_number=said.serial
        ),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=_code(said.procedure),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    comment = sr.TextContentItem(
        name=codes.DCM.Comment, value=STATEMENT, relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    content[0].ContentSequence.append(comment)
    return sr.ComprehensiveSR(
        evidence=[source],
        content=content,
        is_complete=True,
        content_qualification="RESEARCH",
        manufacturer_model_name=said.algorithm,
        software_versions=said.version,
        device_serial_number=said.serial,
        **_series(source, said, "sr"),
    )


def presentation_state(image: Source, said: Statement) -> "Dataset":
    """Grayscale softcopy presentation state of an image: its points with their confidence, and the statement in words.

    The image is shown as its own header says, where that can be used.

    Args:
        image: The image.
        said: What is said of it.

    Raises:
        ImageError: If the image cannot be referred to, as one of a private kind.
    """

    def made() -> "Dataset":
        try:
            return _presentation_state(image.header, said)
        except Exception:  # a window or a rescale that is none: it is shown without
            bare = type(image.header)(image.header)
            for name in SHOWN_BY:
                bare.pop(name, None)
            return _presentation_state(bare, said)

    return _made(made)


def _presentation_state(source: "Dataset", said: Statement) -> "Dataset":
    from highdicom import pr
    from highdicom.content import PresentationLUTTransformation

    layer = pr.GraphicLayer(layer_name="NODULEFLOW", order=1, description=SHORT_STATEMENT)
    points = [
        pr.GraphicObject(graphic_type=pr.GraphicTypeValues.POINT, graphic_data=_place(mark), units="PIXEL")
        for mark in said.marks
    ]
    texts = [pr.TextObject(text_value=SHORT_STATEMENT, units="DISPLAY", bounding_box=(0.01, 0.01, 0.6, 0.05))]
    for mark in said.marks:
        x, y = _place(mark)[0]
        texts.append(pr.TextObject(text_value=f"{mark.confidence:.2f}", units="PIXEL", anchor_point=(x, y)))
    inverse = source.PhotometricInterpretation == "MONOCHROME1"  # a presentation state takes its place
    made = pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        content_label="NODULEFLOW",
        content_description=SHORT_STATEMENT,
        graphic_layers=[layer],
        graphic_annotations=[
            pr.GraphicAnnotation(
                referenced_images=[source], graphic_layer=layer, graphic_objects=points or None, text_objects=texts
            )
        ],
        presentation_lut_transformation=PresentationLUTTransformation("INVERSE" if inverse else "IDENTITY"),
        content_qualification="RESEARCH",
        manufacturer_model_name=said.algorithm,
        software_versions=said.version,
        device_serial_number=said.serial,
        **_series(source, said, "gsps"),
    )
    made.BodyPartExamined = said.body_part  # without it a side of the body would be wanted
    return made


def _series(source: "Dataset", said: Statement, kind: str) -> dict[str, Any]:
    """The series that all objects of one kind about one study are in."""
    return {
        "series_instance_uid": _generated(kind, said.version, said.serial, str(source.StudyInstanceUID)),
        "series_number": SERIES_NUMBERS[kind],
        "sop_instance_uid": _uid(source, said, kind),
        "instance_number": said.number,
        "manufacturer": MAKER,
        "series_description": SHORT_STATEMENT,
    }


def _uid(source: "Dataset | None", said: Statement, what: str) -> str:
    """A UID that follows from what is said: said again, it is the same object."""
    of = [] if source is None else [str(source.SOPInstanceUID), repr(said)]
    return _generated(what, said.version, said.serial, *of)


def _generated(*words: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[MAKER, *words]))


def _place(mark: Mark) -> np.ndarray:
    """A point as DICOM has it, shape (1, 2): column, row."""
    return np.array([[mark.x + CENTRE, mark.y + CENTRE]])


def _code(parts: tuple[str, str, str]) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*parts)


def _certainty(confidence: float) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    percent = round(100 * confidence, 4)
    return sr.Measurement(name=codes.DCM.CertaintyOfFinding, value=percent, unit=codes.UCUM.Percent)


def _made(make: Callable[[], "Dataset"]) -> "Dataset":
    with _quiet():
        try:
            return make()
        except (
            Exception
        ) as error:  # the library's words quote the values that it refuses, the patient's name among them
            raise ImageError("no object can refer to it: its kind is private, or its header is not valid") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings and log lines of the libraries away: they quote the values that they are about."""
    loggers = [logging.getLogger(name) for name in ("highdicom", "pydicom")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def content_of(made: "Dataset") -> bytes:
    """The bytes of an object's file."""
    into = io.BytesIO()
    with _quiet():
        made.save_as(into, enforce_file_format=True)
    return into.getvalue()

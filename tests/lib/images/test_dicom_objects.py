"""A structured report and a presentation state say where the points are, of whom, and that they are research."""

import gzip
import io
import logging
from pathlib import Path

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
from dicoms import dicom

from stages.lib.core.errors import ImageError
from stages.lib.images import dicom_objects as objects

HEIGHT, WIDTH = 48, 64
UIDS = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
    "SOPInstanceUID": "1.2.3.4.5",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
}
PATIENT = {
    "PatientName": "Müller^Änne",
    "PatientID": "MRN-4711",
    "PatientBirthDate": "19500203",
    "PatientSex": "F",
    "AccessionNumber": "ACC-0815",
    "StudyDate": "20260102",
    "ReferringPhysicianName": "Weiß^Ärztin",
}
BOTH = (objects.structured_report, objects.presentation_state)


def image(path: Path, **fields: object) -> Path:
    grey = np.random.default_rng(0).integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
    return dicom(path, grey, **{"SpecificCharacterSet": "ISO_IR 100", **UIDS, **PATIENT, **fields})


def said(*marks: objects.Mark, positive: bool = True, confidence: float = 0.83, number: int = 1) -> objects.Statement:
    return objects.Statement(
        positive=positive,
        confidence=confidence,
        marks=marks,
        finding=("27925004", "SCT", "Nodule"),
        site=("39607008", "SCT", "Lung"),
        procedure=("399208008", "SCT", "Plain chest X-ray"),
        body_part="CHEST",
        algorithm="tuned, combined",
        version="0123456789abcdef",
        serial="fedcba9876543210",
        number=number,
    )


MARKS = (objects.Mark(10, 20.25, 0.7), objects.Mark(0, HEIGHT - 1, 0.25))


def written(make: object, path: Path, statement: objects.Statement) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(objects.content_of(make(objects.source(path), statement))))


def report(path: Path, statement: objects.Statement) -> highdicom.sr.ComprehensiveSR:
    made = written(objects.structured_report, path, statement)
    return highdicom.sr.ComprehensiveSR.from_dataset(made)


def test_the_points_of_a_report_are_the_pixels_they_were_found_on(tmp_path: Path) -> None:
    """DICOM counts from the corner of the first pixel: 0 is its edge, and floor is the pixel's own number."""
    read = report(image(tmp_path / "a.dcm"), said(*MARKS))
    groups = read.content.get_planar_roi_measurement_groups()
    found = [group.roi.value[0] for group in groups]
    assert [tuple(place - 0.5) for place in found] == [(10, 20.25), (0, HEIGHT - 1)]
    assert [tuple(np.floor(place)) for place in found] == [(10, 20), (0, HEIGHT - 1)]
    assert [group.reference_type.meaning for group in groups] == ["Image Region"] * 2
    assert [group.get_measurements()[0].value for group in groups] == [70.0, 25.0]
    assert {group.finding_type.meaning for group in groups} == {"Nodule"}


@pytest.mark.parametrize(("positive", "word"), [(True, "Present"), (False, "Absent")])
def test_a_report_says_the_call_and_its_confidence_also_without_a_point(
    tmp_path: Path, positive: bool, word: str
) -> None:
    read = report(image(tmp_path / "a.dcm"), said(positive=positive, confidence=0.125))
    (group,) = read.content.get_image_measurement_groups()
    assert group.get_measurements()[0].value == 12.5
    assert group.get_qualitative_evaluations()[0].value.meaning == word
    assert read.content.get_planar_roi_measurement_groups() == []
    (evidence,) = read.CurrentRequestedProcedureEvidenceSequence
    (named,) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (named.ReferencedSOPInstanceUID, evidence.StudyInstanceUID) == (UIDS["SOPInstanceUID"], "1.2.3")


def test_a_presentation_state_draws_the_points_on_the_pixels_and_writes_their_confidence(tmp_path: Path) -> None:
    state = written(objects.presentation_state, image(tmp_path / "a.dcm"), said(*MARKS))
    (annotation,) = state.GraphicAnnotationSequence
    points = annotation.GraphicObjectSequence
    assert [list(point.GraphicData) for point in points] == [[10.5, 20.75], [0.5, HEIGHT - 0.5]]
    assert {(point.GraphicAnnotationUnits, point.GraphicType) for point in points} == {("PIXEL", "POINT")}
    texts = [text.UnformattedTextValue for text in annotation.TextObjectSequence]
    assert texts == [objects.SHORT_STATEMENT, "0.70", "0.25"]
    assert state.BodyPartExamined == "CHEST"
    assert state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    without = written(objects.presentation_state, image(tmp_path / "a.dcm"), said())
    assert "GraphicObjectSequence" not in without.GraphicAnnotationSequence[0]


@pytest.mark.parametrize("make", BOTH)
def test_an_object_repeats_the_patient_of_its_own_image_and_its_study(tmp_path: Path, make: object) -> None:
    made = written(make, image(tmp_path / "a.dcm"), said(*MARKS))
    assert {name: str(made[name].value) for name in PATIENT} == PATIENT
    assert made.StudyInstanceUID == "1.2.3"
    assert made.SeriesInstanceUID not in UIDS.values()
    assert made.SOPInstanceUID not in UIDS.values()


@pytest.mark.parametrize("make", BOTH)
def test_an_object_says_that_it_is_research(tmp_path: Path, make: object) -> None:
    made = written(make, image(tmp_path / "a.dcm"), said())
    assert made.ContentQualification == "RESEARCH"
    assert "research use only" in made.SeriesDescription
    assert "research use only, not for diagnosis" in str(made)
    if make is objects.structured_report:
        assert objects.STATEMENT in [item.get("TextValue") for item in made.ContentSequence]
        assert (made.VerificationFlag, made.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


@pytest.mark.parametrize("make", BOTH)
def test_what_is_said_again_is_the_same_object_and_anything_else_is_another(tmp_path: Path, make: object) -> None:
    path, other = image(tmp_path / "a.dcm"), image(tmp_path / "b.dcm", SOPInstanceUID="1.2.3.4.6")
    first, again = (written(make, path, said(*MARKS)) for _ in range(2))
    assert first.SOPInstanceUID == again.SOPInstanceUID
    others = [written(make, path, said(MARKS[0])), written(make, other, said(*MARKS))]
    assert len({first.SOPInstanceUID, *(one.SOPInstanceUID for one in others)}) == 3
    assert {one.SeriesInstanceUID for one in others} == {first.SeriesInstanceUID}


@pytest.mark.parametrize(("kind", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")])
def test_a_presentation_state_keeps_the_polarity_of_its_image(tmp_path: Path, kind: str, shape: str) -> None:
    path = image(tmp_path / "a.dcm", PhotometricInterpretation=kind)
    assert written(objects.presentation_state, path, said()).PresentationLUTShape == shape


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"WindowCenter": 2000, "WindowWidth": 800}, [2000]),
        ({"WindowCenter": 2000, "WindowWidth": -5}, None),
        ({"WindowCenter": [1, 2], "WindowWidth": [3, 4], "RescaleSlope": 2, "RescaleIntercept": -5}, [1, 2]),
        ({"WindowCenter": [1, 2], "WindowWidth": 3}, None),
    ],
)
def test_a_presentation_state_shows_the_image_in_its_own_window_where_that_is_one(
    tmp_path: Path, fields: dict[str, object], windows: list[int] | None
) -> None:
    state = written(objects.presentation_state, image(tmp_path / "a.dcm", **fields), said(*MARKS))
    found = state.get("SoftcopyVOILUTSequence")
    assert (None if found is None else np.atleast_1d(found[0].WindowCenter).tolist()) == windows
    assert len(state.GraphicAnnotationSequence[0].GraphicObjectSequence) == 2


@pytest.mark.parametrize("make", BOTH)
def test_a_header_that_is_not_valid_still_gives_an_object_and_nothing_of_it_is_told(
    tmp_path: Path, make: object, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    odd = {"PatientSex": "W", "PatientBirthDate": "1950?", "StudyTime": "noon", "PatientName": "Secret " * 20}
    with pytest.warns(UserWarning):
        path = image(tmp_path / "a.dcm", **odd, AccessionNumber="Secret number of more than 16")
    recwarn.clear()
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        content = objects.content_of(make(objects.source(path), said(*MARKS)))
    assert caplog.text == ""
    assert len(recwarn) == 0
    made = pydicom.dcmread(io.BytesIO(content))
    assert (made.PatientSex, made.PatientBirthDate, made.StudyTime) == ("", "", "")
    assert str(made.PatientName).startswith("Secret")


def test_files_of_other_formats_are_no_dicom_images(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif"):
        cv2.imwrite(str(tmp_path / name), np.zeros((HEIGHT, WIDTH), np.uint8))
        assert objects.source(tmp_path / name) is None
    for name, content in (("empty", b""), ("text", b"plain text " * 40), ("a.img", bytes(4096))):
        (tmp_path / name).write_bytes(content)
        assert objects.source(tmp_path / name) is None


def test_a_dicom_image_is_one_without_preamble_packed_and_under_any_name(tmp_path: Path) -> None:
    whole = image(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "IM0001").write_bytes(whole[132:])
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(whole))
    for name in ("IM0001", "a.dcm.gz"):
        found = objects.source(tmp_path / name).header
        assert (found.PatientID, found.SOPInstanceUID, found.Rows) == ("MRN-4711", "1.2.3.4.5", HEIGHT)


@pytest.mark.parametrize("make", BOTH)
def test_objects_of_an_image_without_a_study_are_in_one_that_follows_from_the_image(
    tmp_path: Path, make: object
) -> None:
    bare = {"StudyInstanceUID": "", "SeriesInstanceUID": ""}
    path = image(tmp_path / "a.dcm", **bare)
    assert objects.source(path).made_up == tuple(bare)
    made, again = (written(make, path, said(*MARKS, number=number)) for number in (1, 2))
    other = written(make, image(tmp_path / "b.dcm", **bare, SOPInstanceUID="1.2.3.4.6"), said(*MARKS))
    assert made.StudyInstanceUID == again.StudyInstanceUID != other.StudyInstanceUID
    assert pydicom.uid.UID(made.StudyInstanceUID).is_valid
    assert made.PatientID == "MRN-4711"
    assert objects.source(image(tmp_path / "a.dcm")).made_up == ()


def test_an_image_that_nothing_can_refer_to_is_refused_by_name(tmp_path: Path) -> None:
    path = image(tmp_path / "a.dcm", SOPInstanceUID="")
    assert objects.source(path).header.SOPInstanceUID == pydicom.dcmread(path).file_meta.MediaStorageSOPInstanceUID
    content = pydicom.dcmread(path)
    content.file_meta, content.preamble = pydicom.dataset.FileMetaDataset(), None
    content.save_as(tmp_path / "b.dcm", implicit_vr=True, little_endian=True)
    with pytest.raises(ImageError, match=r"^DICOM without SOPInstanceUID$"):
        objects.source(tmp_path / "b.dcm")


@pytest.mark.parametrize("make", BOTH)
def test_an_image_of_a_private_kind_is_refused_and_nothing_of_it_is_told(tmp_path: Path, make: object) -> None:
    path = image(tmp_path / "a.dcm", SOPClassUID="1.2.3.4.5.6.7.8.9")
    with pytest.raises(ImageError) as caught:
        written(make, path, said(*MARKS))
    assert "MRN" not in str(caught.value)
    assert "its kind is private" in str(caught.value)

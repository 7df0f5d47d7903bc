"""DICOM as archives, CDs and anonymizers leave it: read to the bit, or refused in words."""

import gzip
import io
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import dicom
from pngs import image
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from stages.lib.core.errors import DataError, ImageError
from stages.lib.images import dicom as reader
from stages.lib.images import dicom_header, names, preprocess, pseudonym, reading
from stages.lib.images.decoded import Decoded

MAX_PIXELS = 5_000_000
SHIPPED = sorted(
    path
    for path in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")
    if path.is_file() and path.suffix == ".dcm"
)


def smooth(seed: int, bits: int = 12) -> np.ndarray:
    """Some grey values of so many bits, uint16."""
    return image(seed, dtype=np.uint16) >> (16 - bits)


def read(path: Path) -> Decoded:
    return reading.read_grey(path, max_pixels=MAX_PIXELS)


def percentiles(found: Decoded) -> np.ndarray:
    """The normalized image."""
    square, _, _ = preprocess.normalize_pixels(
        found.pixels, low_percentile=0.5, high_percentile=99.5, side_px=40, counts=found.histogram
    )
    return square


@pytest.mark.parametrize(("slope", "intercept"), [("0.5", "0"), ("6.7594", "0"), ("1", "0.5"), ("1", "-1024")])
def test_a_positive_slope_and_an_intercept_change_no_pixel(tmp_path: Path, slope: str, intercept: str) -> None:
    pixels = smooth(3)
    path = dicom(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11, RescaleSlope=slope, RescaleIntercept=intercept)
    np.testing.assert_array_equal(read(path).pixels, pixels)


def test_monochrome1_and_a_negative_slope_invert_and_both_together_do_not(tmp_path: Path) -> None:
    pixels, stored = smooth(3), {"BitsStored": 12, "HighBit": 11}
    negative = dicom(tmp_path / "a.dcm", pixels, **stored, RescaleSlope="-1", RescaleIntercept="4095")
    np.testing.assert_array_equal(read(negative).pixels, 4095 - pixels)
    both = dicom(tmp_path / "b.dcm", pixels, **stored, RescaleSlope="-1", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(both).pixels, pixels)


@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_every_number_of_bits_is_read_with_and_without_a_sign(tmp_path: Path, bits: int, signed: bool) -> None:
    pixels = smooth(3, bits)
    half = 1 << (bits - 1) if signed else 0
    stored = (pixels.astype(np.int32) - half).astype(np.int16 if signed else np.uint16)
    found = read(dicom(tmp_path / "a.dcm", stored, BitsStored=bits, HighBit=bits - 1))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)


def test_values_in_the_upper_bits_are_moved_down(tmp_path: Path) -> None:
    pixels = smooth(3)
    path = dicom(tmp_path / "a.dcm", pixels << 4, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read(path).pixels, pixels)


def padded(pixels: np.ndarray, value: int) -> np.ndarray:
    return np.pad(pixels, ((9, 9), (20, 20)), constant_values=value)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("value", [0, 4095])
def test_padding_is_black_and_out_of_the_percentiles(tmp_path: Path, kind: str, value: int) -> None:
    pixels = np.clip(smooth(3), 800, 3000)
    stored = {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": kind}
    plain = read(dicom(tmp_path / "a.dcm", pixels, **stored))
    found = read(dicom(tmp_path / "b.dcm", padded(pixels, value), **stored, PixelPaddingValue=value))
    np.testing.assert_array_equal(found.pixels[9:-9, 20:-20], plain.pixels)
    assert found.histogram is not None and plain.histogram is not None
    np.testing.assert_array_equal(found.histogram, plain.histogram)
    assert percentiles(found)[0, 0] == 0
    many = padded(pixels, value)
    many[0, :9] = 1900 if value else 700
    ends = {"PixelPaddingValue": value, "PixelPaddingRangeLimit": 700 if value == 0 else 3500}
    many[1, :9] = 600 if value == 0 else 3600
    ranged = read(dicom(tmp_path / "c.dcm", many, **stored, **ends))
    assert ranged.histogram is not None and ranged.histogram.sum() == pixels.size + (9 if value else 0)


def test_a_negative_padding_value_of_a_signed_image_is_found(tmp_path: Path) -> None:
    pixels = smooth(3).astype(np.int16)
    path = dicom(tmp_path / "a.dcm", padded(pixels, -2000), PixelPaddingValue=-2000)
    assert read(path).histogram.sum() == pixels.size


@pytest.mark.parametrize("value", [-2000, 60_000])
def test_a_padding_value_that_the_bits_stored_cannot_hold_is_found(tmp_path: Path, value: int) -> None:
    pixels = smooth(3)
    kind = np.int16 if value < 0 else np.uint16
    words = padded(pixels.astype(kind) if value > 0 else pixels.astype(np.int16) // 4, value)
    path = dicom(tmp_path / "a.dcm", words, BitsStored=12 if value > 0 else 11, HighBit=11 if value > 0 else 10)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    dataset.save_as(path)
    found = read(path)
    assert found.histogram is not None and found.histogram.sum() == pixels.size
    assert np.ptp(found.pixels[:9]) == 0


def test_a_key_that_is_no_key_stops_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"")
    for place, word in (("key", "0 bytes, wanted 32"), ("key/below", "set NODULEFLOW_PSEUDONYM_KEY")):
        monkeypatch.setenv(pseudonym.VARIABLE, str(tmp_path / place))
        with pytest.raises(DataError, match=word):
            read(dicom(tmp_path / "a.dcm", image(3)))


def test_nothing_but_padding_is_no_image(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.full((40, 40), 7, np.uint16), PixelPaddingValue=7)
    with pytest.raises(ImageError, match="all of its pixels are padding"):
        read(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_compressed_image_is_that_of_its_uncompressed_twin(tmp_path: Path, syntax: UID, kind: type) -> None:
    pixels = image(3, dtype=kind)
    dataset = pydicom.dcmread(dicom(tmp_path / "a.dcm", pixels))
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "b.dcm")
    found = read(tmp_path / "b.dcm")
    np.testing.assert_array_equal(found.pixels, pixels)
    assert not found.notices


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_is_that_of_its_uncompressed_twin(tmp_path: Path, bits: int) -> None:
    import gdcm

    pixels = smooth(3, bits).astype(np.uint8 if bits == 8 else np.uint16)
    plain = dicom(tmp_path / "a.dcm", pixels, BitsStored=bits, HighBit=bits - 1)
    source = gdcm.ImageReader()
    source.SetFileName(str(plain))
    assert source.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(source.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "b.dcm"))
    writer.SetFile(source.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "b.dcm").file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    np.testing.assert_array_equal(read(tmp_path / "b.dcm").pixels, pixels)


def test_a_deflated_or_gzipped_file_is_inflated_and_a_bomb_is_not(tmp_path: Path) -> None:
    pixels = image(3)
    deflated = dicom(tmp_path / "a.dcm", pixels, syntax=DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(read(deflated).pixels, pixels)
    packed = tmp_path / "b.dcm.gz"
    packed.write_bytes(gzip.compress(dicom(tmp_path / "b.dcm", pixels).read_bytes()))
    np.testing.assert_array_equal(read(packed).pixels, pixels)
    (tmp_path / "bomb.dcm.gz").write_bytes(gzip.compress(bytes(60_000_000)))
    with pytest.raises(ImageError, match="inflates to more than"):
        read(tmp_path / "bomb.dcm.gz")


def test_a_file_without_preamble_meta_or_syntax_is_read_by_what_it_looks_like(tmp_path: Path) -> None:
    pixels = image(3, dtype=np.uint16)
    whole = pydicom.dcmread(dicom(tmp_path / "a.dcm", pixels, Modality="DX"))
    for implicit in (False, True):
        bare = Dataset(whole)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=True)
        path = tmp_path / f"{implicit}"
        path.write_bytes(buffer.getvalue())
        assert b"DICM" not in path.read_bytes()[:200]
        np.testing.assert_array_equal(read(path).pixels, pixels)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"Modality": "CT"}, "modality"),
        ({"Modality": "MR"}, "modality"),
        ({"BodyPartExamined": "HAND"}, "body_part"),
        ({"ViewPosition": "LL"}, "view"),
        ({"ViewPosition": "LATERAL"}, "view"),
        ({"ViewPosition": "RAO"}, "view"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for_processing"),
        ({"ImageLaterality": "L"}, "laterality"),
        ({"PresentationLUTShape": "INVERSE"}, "presentation_lut"),
        ({"BurnedInAnnotation": "YES"}, "burned_in"),
        ({"LossyImageCompression": "01"}, "lossy"),
        ({"PixelSpacing": [0.1, 0.2]}, "spacing"),
    ],
)
def test_what_its_header_says_against_an_image_is_a_notice(tmp_path: Path, fields: dict[str, Any], kind: str) -> None:
    chest = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    (notice,) = read(dicom(tmp_path / "a.dcm", image(3), **{**chest, **fields})).notices
    assert notice.kind == kind


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Modality": "CR", "BodyPartExamined": "Thorax", "ViewPosition": "AP"},
        {"BodyPartExamined": "PORT CHEST", "ViewPosition": "", "BurnedInAnnotation": "NO"},
        {"PresentationLUTShape": "INVERSE", "PhotometricInterpretation": "MONOCHROME1"},
        {"ImageLaterality": "U", "LossyImageCompression": "00", "PresentationIntentType": "FOR PRESENTATION"},
    ],
)
def test_a_frontal_chest_radiograph_has_no_notice(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert read(dicom(tmp_path / "a.dcm", image(3), **fields)).notices == ()


def test_the_first_usable_spacing_is_taken_and_named_with_its_magnification() -> None:
    both = {"ImagerPixelSpacing": [0.2, 0.3], "PixelSpacing": [0.15, 0.15]}
    assert dicom_header.spacing(both)[:2] == (0.15, "PixelSpacing")
    magnified = {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": "1.25"}
    found, name, odd = dicom_header.spacing(magnified)
    assert (found, odd) == (pytest.approx(0.16), [])
    assert name == "ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor"
    assert dicom_header.spacing({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.1, 0.1]})[0] == 0.2


def test_view_sex_and_age_are_read_and_identifiers_are_pseudonyms(tmp_path: Path) -> None:
    fields = {"ViewPosition": "AP", "PatientSex": "F", "PatientAge": "061Y", "StudyInstanceUID": "1.2.3"}
    header = read(dicom(tmp_path / "a.dcm", image(3), **fields)).header
    assert (header.view, header.sex, header.age_years) == ("AP", "F", 61.0)
    assert (header.patient, header.study) == (pseudonym.of("p 7"), pseudonym.of("1.2.3"))
    assert re.fullmatch("p-[0-9a-f]{16}", pseudonym.of("p 7")) and pseudonym.of("p 8") != pseudonym.of("p 7")
    nobody = read(dicom(tmp_path / "b.dcm", image(3), PatientID=" anonymous")).header
    assert nobody.patient is None and names.known_id("anonymous") is None


def test_another_key_gives_other_pseudonyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pseudonym.of("P")
    monkeypatch.setenv(pseudonym.VARIABLE, str(tmp_path / "new" / "key"))
    assert pseudonym.fingerprint() == "none"
    assert pseudonym.of("P") == pseudonym.of("P") != before
    assert (tmp_path / "new" / "key").stat().st_mode & 0o777 == 0o600
    assert pseudonym.fingerprint() != "none"


def refusal(path: Path) -> str | None:
    try:
        read(path)
    except ImageError as error:
        return str(error)
    return None


def plain(dataset: Dataset) -> bool:
    """Whether a shipped file holds one grey frame, whole, of whole numbers, in a syntax that has a decoder."""
    syntax = dataset.file_meta.get("TransferSyntaxUID", "") if hasattr(dataset, "file_meta") else ""
    frames = str(dataset.get("NumberOfFrames") or 1)
    return (
        "PixelData" in dataset
        and dataset.get("SamplesPerPixel") == 1
        and str(dataset.get("PhotometricInterpretation")) in ("MONOCHROME1", "MONOCHROME2")
        and frames == "1"
        and int(dataset.get("BitsStored") or 99) <= 16
        and bool(syntax)
        and min(dataset.Rows, dataset.Columns) >= reading.MIN_SIDE_PX
    )


def test_each_file_that_pydicom_ships_is_read_to_its_pixels_or_refused_in_words() -> None:
    assert len(SHIPPED) > 50
    taken, refused = [], {}
    for path in SHIPPED:
        reason = refusal(path)
        dataset = pydicom.dcmread(path, force=True)
        if reason is None:
            assert "PixelData" in dataset, path.name
            taken.append(path.name)
            if dataset.file_meta.get("TransferSyntaxUID") == reader.EXTENDED:
                continue  # pydicom has no decoder for 12 bits; tests/lib/images/test_codestream.py has another twin
            stored = _pixels(dataset)
            found = read(path).pixels.astype(np.int64)
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                found = -found
            inside = stored != dataset.get("PixelPaddingValue", None)
            moved = (found - stored.astype(np.int64))[inside]
            assert len(np.unique(moved)) == 1, path.name
        else:
            assert not re.search(r"[A-Z]\w+(Error|Exception)", reason), (path.name, reason)
            refused[path.name] = reason
    assert len(taken) >= 15, (taken, refused)
    missed = [
        name for name in refused if plain(pydicom.dcmread(next(p for p in SHIPPED if p.name == name), force=True))
    ]
    assert [name for name in missed if "truncated" not in refused[name] and "damaged" not in refused[name]] == []


def _pixels(dataset: Dataset) -> np.ndarray:
    """Stored values by pydicom's own way."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = UID(reader.IMPLICIT if implicit else reader.EXPLICIT)
    syntax = dataset.file_meta.TransferSyntaxUID
    return get_decoder(syntax).as_array(dataset, raw=True)[0]


PLANTED = "PLANTED^JANE"
TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
NEEDED = ("PhotometricInterpretation",)  # without it nothing is read, and nothing could be told


def planted(path: Path, **fields: Any) -> Path:
    """A DICOM file with a name in every field that holds text, and these fields."""
    dicom(path, image(3, dtype=np.uint16))
    dataset = pydicom.dcmread(path)
    for tag, (kind, _, _, _, name) in DicomDictionary.items():
        group = tag >> 16
        if kind in TEXTS and name and name not in NEEDED and group not in (0, 2, 4) and group < 0x7F00:
            setattr(dataset, name, PLANTED)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    assert path.read_bytes().count(PLANTED.encode()) > 1000
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"NumberOfFrames": "2"},
        {"PhotometricInterpretation": PLANTED},
        {"Rows": 0},
        {"PixelData": b"\0\0"},
        {"BodyPartExamined": f"HAND {PLANTED}", "ViewPosition": f"LATERAL {PLANTED}", "Modality": "CT"},
    ],
)
def test_a_name_in_any_field_of_text_is_in_no_fact_no_log_and_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, fields: dict[str, Any]
) -> None:
    path = planted(tmp_path / "a.dcm", **fields)
    caplog.clear()
    recwarn.clear()
    with caplog.at_level(logging.DEBUG):
        facts = reading.examine(str(path), MAX_PIXELS)
    told = repr(facts) + caplog.text + "".join(str(one.message) for one in recwarn)
    assert facts.notices and "PLANTED" not in told.upper()


def test_without_code_it_knows_a_message_says_so_and_repeats_a_known_one(tmp_path: Path) -> None:
    fields = {"Modality": "CT", "BodyPartExamined": "left hand of Jane"}
    told = [notice.text for notice in read(dicom(tmp_path / "a.dcm", image(3), **fields)).notices]
    assert told[0].startswith("modality CT, wanted") and told[1] == "body part HAND, wanted CHEST"
    fields = {"Modality": "JANE", "BodyPartExamined": "THORACIC SPINE"}
    told = [notice.text for notice in read(dicom(tmp_path / "b.dcm", image(3), **fields)).notices]
    assert told[0].startswith("modality by a word that DICOM does not have") and told[1].startswith("body part SPINE")


@pytest.mark.parametrize("view", ["LLD", "RLD", "LLO", "OBL", "L LAT", "SWIMMERS", "MLO"])
def test_a_view_that_is_not_frontal_is_noticed_however_it_is_spelt(tmp_path: Path, view: str) -> None:
    assert [one.kind for one in read(dicom(tmp_path / "a.dcm", image(3), ViewPosition=view)).notices] == ["view"]

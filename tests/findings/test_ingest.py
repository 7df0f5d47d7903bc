"""A folder of cases becomes two tables, or a report of all that is wrong with it."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from medpix_folder import GOLD, Case, descriptions, entry, noise, tell, write
from pngs import hostile, png, raw_png

from stages.findings import ingest
from stages.lib.core import case_tables, tables
from stages.lib.core.errors import DataError
from stages.lib.images import coloured

TWO = (Case("A1", "thorax", ct=2, mr=1), Case("B2", "urinary", ct=0, mr=1))
Rows = list[dict[str, Any]]


def params(root: Path, **changes: Any) -> ingest.Params:
    given = {"root": str(root), "terms": "open", "accept": (), "max_rejected": 0, "max_pixels": 100_000}
    return ingest.Params(**{**given, "same_correlation": 0.96, **changes})


def read(root: Path, **changes: Any) -> tuple[dict[str, dict[str, Any]], Rows]:
    """Cases by their ids, and images."""
    found = ingest.ingest(params(root, **changes))
    tables.check(found.cases, case_tables.CASES)
    tables.check(found.case_images, case_tables.CASE_IMAGES)
    return {row["case_id"]: row for row in found.cases.to_pylist()}, found.case_images.to_pylist()


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as error:
        read(root, **changes)
    return str(error.value)


def changed(root: Path, change: Callable[[Any, Any], Any], cases: tuple[Case, ...] = TWO) -> Path:
    """A folder whose two tables were changed."""
    write(root, cases)
    entries, described = [entry(case) for case in cases], [one for case in cases for one in descriptions(case)]
    change(entries, described)
    tell(root, entries, described)
    return root


def test_cases_and_images_are_rows_and_each_image_says_what_it_is(tmp_path: Path) -> None:
    cases, images = read(write(tmp_path, TWO))
    assert (cases["A1"]["region"], cases["A1"]["modality"], cases["A1"]["n_images"]) == ("thorax", "CT+MR", 3)
    assert (cases["B2"]["region"], cases["B2"]["modality"], cases["B2"]["n_images"]) == ("urinary", "MR", 1)
    assert (cases["A1"]["sex"], cases["A1"]["age_years"], cases["A1"]["location"]) == ("F", 61.0, "Somewhere")
    assert (cases["A1"]["gold"], cases["A1"]["gold_words"], cases["A1"]["gold_scope"]) == (GOLD, 14, "imaged_only")
    assert [(row["case_id"], row["number"], row["modality"]) for row in images] == [
        ("A1", 0, "CT"),
        ("A1", 1, "CT"),
        ("A1", 2, "MR"),
        ("B2", 0, "MR"),
    ]
    assert {(row["mode"], row["width_px"], row["plane"], row["shows"]) for row in images} == {
        ("RGB", 32, "axial", "slice")
    }
    assert {row["status"] for row in images} == {"ok"}


def test_title_and_topic_never_leave_ingest(tmp_path: Path) -> None:
    found = ingest.ingest(params(write(tmp_path, TWO)))
    assert "TITLE" in (tmp_path / "Case_topic.json").read_text()
    text = json.dumps([found.cases.to_pylist(), found.case_images.to_pylist()])
    assert "TITLE" not in text
    assert "TOPIC" not in text


def test_the_readmes_spelling_of_the_location_is_read_too(tmp_path: Path) -> None:
    def lower(_: Any, described: Any) -> None:
        for one in described:
            one["location"], one["location category"] = one.pop("Location"), one.pop("Location Category")

    cases, _ = read(changed(tmp_path, lower))
    assert [case["region"] for case in cases.values()] == ["thorax", "urinary"]


def test_texts_stay_as_they_are_but_for_line_ends_and_nothing_is_null(tmp_path: Path) -> None:
    gold = "  épanchement {findings} </script>\r\n“T2”\r3 x 4 µm. "

    def texts(entries: Any, _: Any) -> None:
        entries[0]["Case"] |= {"Findings": gold, "History": "N/A", "Case Diagnosis": None}

    cases, _ = read(changed(tmp_path, texts))
    assert cases["A1"]["gold"] == "épanchement {findings} </script>\n“T2”\n3 x 4 µm."
    assert cases["A1"]["history"] is None
    assert cases["A1"]["diagnosis"] is None
    assert (cases["A1"]["status"], cases["A1"]["problem"]) == ("ok", "no history")


def test_what_an_image_shows_is_said_by_its_description_and_not_by_its_type(tmp_path: Path) -> None:
    case = Case("A1", ct=8)
    words = [
        ("Drawing or Diagram", "N/A", "drawing"),
        ("CT - Virtual Colonoscopy", "Coronal", "reconstruction"),
        ("Montage", "Axial", "montage"),
        ("CT - noncontrast", "Mosaic/Montage", "montage"),
        ("CT w/contrast (IV)", "3D", "reconstruction"),
        ("Photograph", "N/A", "photograph"),
        ("Plain Film", "PA", "other"),
        ("CT - GI & IV Contrast", "Axial", "slice"),
    ]

    def modalities(_: Any, described: Any) -> None:
        for one, (modality, plane, _shows) in zip(described, words, strict=True):
            one["Description"] |= {"Modality": modality, "Plane": plane}

    root = changed(tmp_path, modalities, (case,))
    cases, images = read(root)
    assert [row["shows"] for row in images] == [shows for *_, shows in words]
    assert [row["status"] for row in images] == ["rejected"] * 7 + ["ok"]
    assert "no slice but a drawing, by its Modality 'Drawing or Diagram'" in images[0]["problem"]
    assert cases["A1"]["n_images"] == 1
    assert "7 of its 8 images take no part" in cases["A1"]["problem"]
    cases, images = read(root, accept=("montage",))
    assert [row["shows"] for row in images if row["status"] == "ok"] == ["montage", "montage", "slice"]
    assert cases["A1"]["n_images"] == 3


def test_a_three_dimensional_sequence_of_mr_is_a_slice(tmp_path: Path) -> None:
    def sequence(_: Any, described: Any) -> None:
        described[-1]["Description"]["Modality"] = "MR - T1 3D SPGR"

    _, images = read(changed(tmp_path, sequence))
    assert images[-1]["shows"] == "slice"


def test_a_patient_of_two_ages_or_sexes_has_none_and_that_is_said(tmp_path: Path) -> None:
    def differ(_: Any, described: Any) -> None:
        described[0]["Description"]["Age"] = 62
        described[3]["Description"] |= {"Age": "N/A", "Sex": "N/A"}

    cases, _ = read(changed(tmp_path, differ))
    assert (cases["A1"]["age_years"], cases["A1"]["sex"]) == (None, "F")
    assert cases["A1"]["problem"] == "its images differ in the patient's sex or age"
    assert (cases["B2"]["age_years"], cases["B2"]["sex"], cases["B2"]["problem"]) == (None, None, None)


def set_(place: tuple[Any, ...], value: Any) -> Callable[[Any, Any], None]:
    """A change of one value: place in the entries (0, ...) or the descriptions (1, ...)."""

    def change(*both: Any) -> None:
        inside: Any = both
        for step in place[:-1]:
            inside = inside[step]
        inside[place[-1]] = value

    return change


BAD = {
    "duplicate U_id": (set_((0, 1, "U_id"), "A1"), "A1: 2 entries of Case_topic.json have its U_id: 0, 1"),
    "no findings": (set_((0, 0, "Case", "Findings"), "N/A"), "A1: no findings"),
    "findings a number": (set_((0, 0, "Case", "Findings"), 7), "A1: Findings: found 7, wanted text"),
    "half a surrogate": (set_((0, 0, "Case", "History"), "\ud800"), "A1: History: half of a pair of surrogates"),
    "no case": (set_((0, 0, "Case"), None), "A1: Case: found nothing, wanted an object"),
    "entry a number": (set_((0, 0), 3), "Case_topic.json/0: found 3, wanted an object"),
    "U_id a number": (set_((0, 0, "U_id"), 12), "Case_topic.json/0: U_id: found 12"),
    "U_id a path": (set_((0, 0, "U_id"), "../A1"), 'Case_topic.json/0: U_id: found "../A1"'),
    "TAC a text": (set_((0, 0, "TAC"), "A1_synpicCT0"), 'A1: TAC: found "A1_synpicCT0", wanted a list of names'),
    "image a number": (set_((0, 0, "TAC", 0), 5), "image 'Case_topic.json/0/TAC/0': found 5, wanted the name"),
    "climbing path": (set_((0, 0, "TAC", 0), "../Descriptions"), "image '../Descriptions': "),
    "absolute path": (set_((0, 0, "TAC", 0), "/etc/passwd"), "unsafe name: wanted a plain name"),
    "backslash": (set_((0, 0, "TAC", 0), "..\\x"), "unsafe name: wanted a plain name"),
    "NUL": (set_((0, 0, "TAC", 0), "a\0b"), "unsafe name: wanted a plain name"),
    "not described": (set_((0, 0, "TAC", 0), "new"), "image 'new': Descriptions.json does not describe it"),
    "listed twice": (set_((0, 0, "TAC", 0), "B2_synpicMR0"), "lists it 2 times: A1 (CT), B2 (MR)"),
    "not listed": (set_((0, 1, "MRI"), []), "describes it, no case of Case_topic.json lists it"),
    "only described": (set_((1, 0, "U_id"), "C3"), "Descriptions.json has it in the case C3"),
    "described twice": (set_((1, 1, "image"), "A1_synpicCT0"), "Descriptions.json has 2 descriptions of it"),
    "type": (set_((1, 0, "Type"), "XR"), 'Type: found "XR", wanted CT or MR'),
    "other type": (set_((1, 0, "Type"), "MR"), "Case_topic.json lists it as CT, its Type is MR"),
    "other modality": (set_((1, 0, "Description", "Modality"), "MR - FLAIR"), "lists it as CT, its Modality is 'MR -"),
    "description a list": (set_((1, 0, "Description"), []), "Description: found [], wanted an object"),
    "no region": (set_((1, 3, "Location Category"), None), "B2: no image of it has a Location Category"),
    "unknown region": (set_((1, 3, "Location Category"), "General"), "B2: Location Category 'General', wanted one of"),
    "two regions": (set_((1, 0, "Location Category"), "Head"), "A1: Location Category 'Head', 'Thorax', wanted one of"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named(name: str, tmp_path: Path) -> None:
    change, sentence = BAD[name]
    root = changed(tmp_path, change)
    assert sentence in refusal(root)
    cases, _ = read(root, max_rejected=10)
    assert {case_id for case_id, row in cases.items() if row["status"] == "rejected"} or name in (
        "image a number", "climbing path", "absolute path", "backslash", "NUL", "not described", "described twice",
        "type", "other type", "other modality", "description a list", "only described",
    )  # fmt: skip


def test_all_problems_are_told_at_once_and_max_rejected_lets_the_rest_take_part(tmp_path: Path) -> None:
    cases = (*TWO, Case("C3", "head"), Case("D4", "abdomen", gold=None), Case("E5", "nowhere"))
    write(tmp_path, cases)
    images = tmp_path / "images"
    (images / "C3_synpicCT0.png").unlink()
    (images / "A1_synpicCT1.png").write_bytes(b"GIF89a")
    told = refusal(tmp_path, max_rejected=4)
    assert "5 cases and images rejected" in told
    for sentence in (
        "C3: none of its 1 images takes part",
        "D4: no findings",
        "E5: Location Category 'nowhere'",
        "C3, image 'C3_synpicCT0': no such file: images/C3_synpicCT0.png",
        "A1, image 'A1_synpicCT1': a GIF, wanted PNG or JPEG",
    ):
        assert sentence in told
    found, rows = read(tmp_path, max_rejected=5)
    assert {case_id for case_id, row in found.items() if row["status"] == "ok"} == {"A1", "B2"}
    assert [(row["case_id"], row["number"]) for row in rows if row["status"] == "ok"] == [
        ("A1", 0),
        ("A1", 2),
        ("B2", 0),
    ]
    assert [row["problem"] for row in rows if row["case_id"] == "D4"] == ["its case is rejected"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not JSON"),
        (b"{}", "found {}, wanted a list"),
        (b"[]", "found [], wanted a list"),
        (b'[{"U_id": "A1"', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" + b"1" * 10_000 + b"]", "not JSON"),
    ],
)
def test_a_table_that_is_none_is_named_and_so_is_all_else_that_is_missing(
    content: bytes, word: str, tmp_path: Path
) -> None:
    (tmp_path / "Case_topic.json").write_bytes(content)
    told = refusal(tmp_path)
    assert f"Case_topic.json: {word}" in told
    assert "Descriptions.json: no such file" in told
    assert "images/: cannot be listed" in told


def test_a_folder_one_too_high_is_told_where_the_data_are(tmp_path: Path) -> None:
    write(tmp_path / "MedPix-2-0", TWO)
    assert f"there is one in {tmp_path / 'MedPix-2-0'}" in refusal(tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    root = write(tmp_path / "data", TWO)
    secret = tmp_path / "secret.png"
    secret.write_bytes(noise(99))
    (root / "images/B2_synpicMR0.png").unlink()
    (root / "images/B2_synpicMR0.png").symlink_to(secret)
    assert "a link out of the data folder" in refusal(root)


def test_an_image_that_cannot_be_read_is_refused_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    taken = set()
    for name, (content, _) in hostile().items():
        file.write_bytes(content)
        found = coloured.examine(str(file), 100_000)
        assert (found.pixel_sha256 is None) == bool(found.notices), name
        taken |= set() if found.notices else {name}
    assert taken == {"colour", "16-bit colour", "palette", "one bit"}
    file.write_bytes(bytes(1 << 21))
    assert "more than an image of max_pixels = 1000 can have" in coloured.examine(str(file), 1000).notices[0].text
    file.write_bytes(raw_png(60_000, 60_000, 8, 2, b""))
    assert coloured.examine(str(file), 100_000).notices[0].text == (
        "60000 x 60000 pixels, wanted 1 to max_pixels = 100000"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_of_equal_channels_has_the_hash_of_its_grey_values(dtype: type, tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (40, 36)).astype(dtype)
    found = []
    for name, pixels in (("grey", grey), ("rgb", np.dstack([grey] * 3))):
        (tmp_path / name).write_bytes(png(pixels))
        found.append(coloured.examine(str(tmp_path / name), 100_000))
    assert found[0].pixel_sha256 == found[1].pixel_sha256
    assert found[0].sha256 != found[1].sha256
    assert [one.mode for one in found] == (["L", "RGB"] if dtype is np.uint8 else ["I;16", "RGB;16"])


def test_a_slice_with_a_coloured_arrow_and_a_jpeg_are_read(tmp_path: Path) -> None:
    pixels = np.dstack([np.random.default_rng(1).integers(0, 256, (40, 36), np.uint8)] * 3)
    pixels[5:9, 5:9] = (255, 0, 0)
    (tmp_path / "a.png").write_bytes(png(pixels))
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    for name in ("a.png", "a.jpg"):
        found = coloured.examine(str(tmp_path / name), 100_000)
        assert (found.mode, found.width_px, found.height_px, found.notices) == ("RGB", 36, 40, ())


def test_the_same_and_nearly_the_same_images_of_two_cases_are_one_group(tmp_path: Path) -> None:
    cases = [Case(f"C{number:02d}") for number in range(12)]
    write(tmp_path, cases)
    images = tmp_path / "images"
    pixels = cv2.imread(str(images / "C00_synpicCT0.png"))
    brighter = np.minimum(pixels.astype(int) // 2 + 60, 255).astype(np.uint8)
    (images / "C05_synpicCT0.png").write_bytes(png(brighter))
    (images / "C07_synpicCT0.png").write_bytes((images / "C03_synpicCT0.png").read_bytes())
    _, rows = read(tmp_path)
    groups = {row["case_id"]: row["duplicate_group"] for row in rows if row["duplicate_group"]}
    assert groups == {
        "C00": "C00_synpicCT0",
        "C05": "C00_synpicCT0",
        "C03": "C03_synpicCT0",
        "C07": "C03_synpicCT0",
    }
    by_case = {row["case_id"]: row for row in rows}
    assert by_case["C05"]["problem"] == "nearly the same as an image of C00"
    assert by_case["C03"]["pixel_sha256"] == by_case["C07"]["pixel_sha256"]
    assert by_case["C00"]["pixel_sha256"] != by_case["C05"]["pixel_sha256"]


def test_a_gold_text_is_marked_for_other_studies_captions_and_the_diagnosis(tmp_path: Path) -> None:
    gold = "See captions. The plain film and an upper GI barium study were normal. A renal  CYST is seen."
    cases, _ = read(
        write(tmp_path, [Case("A1", gold=gold, history="A man with meningioma.", diagnosis="Renal cyst"), TWO[1]])
    )
    assert (cases["A1"]["gold_scope"], cases["A1"]["other_studies"]) == (
        "other_studies",
        ["plain film", "upper gi", "barium"],
    )
    flags = ("gold_points_at_caption", "diagnosis_in_gold", "diagnosis_in_history")
    assert [cases["A1"][flag] for flag in flags] == [True, True, False]
    assert [cases["B2"][flag] for flag in flags] == [False, False, False]
    assert cases["B2"]["gold_scope"] == "imaged_only"


def test_a_file_that_no_table_names_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path, TWO)
    (root / "images/stray.png").write_bytes(noise(7))
    with caplog.at_level("WARNING"):
        read(root)
    assert "1 files in images/ are named by no table: stray.png" in caplog.text


def test_the_stage_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    root = write(tmp_path / "data", TWO)
    document = json.dumps({"findings": {"ingest": {**params(root).__dict__, "accept": []}}})
    for name in ("one", "two"):
        outputs = ["--cases", str(tmp_path / name / "cases.parquet")]
        outputs += ["--case-images", str(tmp_path / name / "case_images.parquet")]
        ingest.main(["--params", document, *outputs])
    for table in ("cases.parquet", "case_images.parquet"):
        assert (tmp_path / "one" / table).read_bytes() == (tmp_path / "two" / table).read_bytes()


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mutated"), TWO)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["A1", "B2", "N/A", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside of a JSON value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, inner in steps for place in [(*here, step), *places(inner, (*here, step))]]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_the_tables_the_result_is_two_tables_or_an_error_that_names_it(
    data: st.DataObject, fixed: Path
) -> None:
    both: list[Any] = [[entry(case) for case in TWO], [one for case in TWO for one in descriptions(case)]]
    both = copy.deepcopy(both)
    for _ in range(data.draw(st.integers(1, 3))):
        inside: Any = both
        *way, last = data.draw(st.sampled_from(places(both)))
        for step in way:
            inside = inside[step]
        if data.draw(st.booleans()):
            inside[last] = data.draw(JSON)
        elif way:
            del inside[last]
    tell(fixed, *both)
    try:
        cases, images = read(fixed, max_rejected=1000)
    except DataError as error:
        assert error.problems
        return
    assert {row["case_id"] for row in images} <= set(cases)
    for row in images:
        assert row["status"] == "rejected" or (row["pixel_sha256"] and Path(row["path"]).parent == fixed / "images")
    for row in cases.values():
        taken = [one for one in images if one["case_id"] == row["case_id"] and one["status"] == "ok"]
        assert len(taken) == row["n_images"]
        assert (row["status"] == "ok") == bool(taken)
        assert row["status"] == "rejected" or (row["gold"] and row["region"])
        assert row["status"] == "ok" or row["problem"]

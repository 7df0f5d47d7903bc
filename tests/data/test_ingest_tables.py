"""Whose image it is and where its nodules are, as the tables of a data folder say it."""

from pathlib import Path
from typing import Any

import pytest
from folders import folder_document, folder_params
from pngs import challenge, image, png

from stages.data import ingest
from stages.lib.core import params as parameters
from stages.lib.core.errors import DataError, ParamsError
from stages.lib.images import patients
from stages.lib.images import points as units
from stages.lib.images.dataset import Image, Point
from stages.lib.images.decoded import Header
from stages.lib.images.reading import Facts

NO_POINTS = "file_name,x,y\n"


def read(root: Path, **changes: Any) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    found = ingest.ingest(folder_params(root, **changes))
    return {row["image_id"]: row for row in found.manifest.to_pylist()}, found.points.to_pylist()


def labelled(root: Path, labels: str, points: str = NO_POINTS, **size: int) -> Path:
    """A folder of the challenge with an image for each name in the table of labels."""
    stems = dict.fromkeys(Path(line.split(",")[0]).stem for line in labels.splitlines()[1:])
    images = {f"nih/{stem}.png": png(image(n, **size)) for n, stem in enumerate(stems)}
    return challenge(root, images, labels, points)


@pytest.mark.parametrize(
    "title",
    [
        "patient_id",
        "PatientID",
        "Patient ID",
        "subject_id",
        "Subject",
        "pid",
        "person_id",
        "MRN",
        "patient-id",
        "PATIENT",
    ],
)
def test_a_column_of_patients_is_read_under_any_of_its_usual_names(tmp_path: Path, title: str) -> None:
    rows, _ = read(labelled(tmp_path, f"file_name,label,LIDC_ID,{title}\na1.png,Nodule,,P1\na2.png,No Finding,,P1\n"))
    assert {(row["patient_id"], row["patient_from"]) for row in rows.values()} == {("P1", "table")}


def test_another_column_of_patients_is_named_by_the_parameter_and_refused_if_it_is_not_there(tmp_path: Path) -> None:
    root = labelled(tmp_path, "file_name,label,Fall,patient_id\na1.png,Nodule,F1,x\na2.png,No Finding,F1,y\n")
    rows, _ = read(root, patient_column="fall")
    assert {row["patient_id"] for row in rows.values()} == {"F1"}
    with pytest.raises(DataError, match=r"no column 'Akte', which data.ingest.patient_column names; found file_name"):
        read(root, patient_column="Akte")


def test_a_pattern_finds_the_patient_in_a_path(tmp_path: Path) -> None:
    labels = "file_name,label\n" + "".join(f"clinic7_patient{n // 2:02}_view{n % 2}.png,Nodule\n" for n in range(4))
    rows, _ = read(labelled(tmp_path, labels + "other.png,Nodule\n"), patient_pattern="patient([0-9]+)")
    assert [(row["patient_id"], row["patient_from"]) for row in rows.values()] == [
        ("00", "pattern"),
        ("00", "pattern"),
        ("01", "pattern"),
        ("01", "pattern"),
        ("other", None),
    ]
    assert rows["other"]["notices"] == ["patient"] and rows["other"]["problem"] == "its patient is not known"


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("patient_pattern", "patient([0-9]+", "missing ), unterminated subpattern"),
        ("patient_pattern", "(a)(b)", "at most one group"),
        ("points_unit", "percent", "auto, pixels, fraction, or the width and height"),
        ("points_unit", "1024", "as 1024x1024"),
        ("points_unit", "0x1024", "as 1024x1024"),
    ],
)
def test_a_pattern_or_a_unit_that_is_none_is_a_wrong_parameter(
    tmp_path: Path, name: str, value: str, word: str
) -> None:
    with pytest.raises(ParamsError) as error:
        parameters.parse(folder_document(tmp_path, **{name: value}), {"data.ingest": ingest.Params})
    assert f"data.ingest.{name}: found {value!r}, wanted" in str(error.value) and word in str(error.value)


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "", "None", "n/a", "unknown"])
@pytest.mark.parametrize("title", ["LIDC_ID", "patient_id"])
def test_a_word_for_nothing_is_no_patient(tmp_path: Path, word: str, title: str) -> None:
    rows, _ = read(labelled(tmp_path, f"file_name,label,{title}\na.png,Nodule,{word}\nb.png,Nodule,{word}\n"))
    assert [(row["patient_id"], row["patient_from"]) for row in rows.values()] == [("a", None), ("b", None)]
    assert {row["problem"] for row in rows.values()} == {"its patient is not known"}


@pytest.mark.parametrize(
    ("labels", "points"),
    [
        ("a.png,Nodule,P1\na.png,Nodule,P2\n", NO_POINTS),
        ("a.png,Nodule,P1\n", "file_name,x,y,patient_id\na.png,3,4,P2\n"),
        ("a.png,Nodule,P1\na,Nodule,P2\n", NO_POINTS),
    ],
)
def test_two_patients_of_one_image_are_refused(tmp_path: Path, labels: str, points: str) -> None:
    with pytest.raises(DataError, match=r"listed before with another patient \('P1' in .* line 2, 'P2' here\)"):
        read(labelled(tmp_path, "file_name,label,patient_id\n" + labels, points))


def test_the_table_of_points_may_tell_the_patient_and_lists_no_image(tmp_path: Path) -> None:
    points = "file_name,x,y,patient_id\na.png,3,4,P1\n"
    rows, _ = read(labelled(tmp_path, "file_name,label\na.png,Nodule\n", points))
    assert (rows["a"]["patient_id"], rows["a"]["notices"]) == ("P1", None)
    with pytest.raises(DataError, match=r"points for 'b.png', which has neither a file nor a label"):
        read(labelled(tmp_path, "file_name,label\na.png,Nodule\n", points + "b.png,3,4,P1\n"))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([("P1", "1"), ("P2", "2")], [("P1", "file"), ("P2", "file")]),
        ([("anon", "1"), ("anon", "2"), ("anon", "2")], [("1", "study"), ("2", "study"), ("2", "study")]),
        ([("P1", "1"), ("P1", "1")], [("P1", "file"), ("P1", "file")]),
        ([(None, "1"), (None, "1"), ("P1", "2")], [("1", "study"), ("1", "study"), ("P1", "file")]),
        ([(None, None), ("P1", None)], [("a", None), ("P1", "file")]),
    ],
)
def test_the_study_is_the_patient_where_the_header_names_none_or_the_same_for_all(
    tmp_path: Path, headers: list[tuple[str | None, str | None]], told: list[tuple[str, str | None]]
) -> None:
    header = [Header(patient=patient, study=study) for patient, study in headers]
    same = patients.same_for_all(header)
    rows = [
        ingest.judge(Image(name, name, name, "other"), Facts(header=one), [], folder_params(tmp_path), same=same)
        for name, one in zip("abc", header, strict=False)
    ]
    assert [(row["patient_id"], row["patient_from"]) for row in rows] == told
    for row in rows:
        assert (row["problem"] is None) == (row["patient_from"] == "file")
        assert row["patient_from"] != "study" or "the study is taken for the patient" in row["problem"]


def test_rows_of_the_challenge_with_other_words_are_left_out_and_counted(tmp_path: Path) -> None:
    root = labelled(tmp_path, "file_name,label\na.png,Mass\nb.png,clear\nc.png,Other\nd.png,\n")
    found = ingest.ingest(folder_params(root, positive_labels=["mass"], negative_labels=["Clear"]))
    assert [row["label"] for row in found.manifest.to_pylist()] == [1, 0, None, None]
    told = {row["file_name"]: row["reason"] for row in found.files.to_pylist()}
    assert str(told["classification_labels.csv"]).startswith("1 rows are labelled neither as with nor as without")


ONE_EACH = "file_name,label\n" + "".join(f"{name}.png,Nodule\n" for name in "abcd")


def test_points_that_seem_to_be_fractions_reject_their_images_until_the_unit_is_said(tmp_path: Path) -> None:
    points = NO_POINTS + "a.png,0.40,0.50\nb.png,0.41,0.51\nb.png,1,0\nc.png,0.0,1.0\n"
    root = labelled(tmp_path, ONE_EACH, points)
    rows, found = read(root, max_rejected=4)
    assert [(row["status"], row["notices"] and row["notices"][0]) for row in rows.values()] == [
        *[("rejected", "points_unit")] * 3,
        ("ok", "patient"),
    ]
    assert "all 4 points of the tables lie within 0 and 1" in rows["a"]["problem"] and not found
    assert "set data.ingest.points_unit to fraction, or to pixels" in rows["a"]["problem"]
    rows, found = read(root, points_unit="fraction")
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert [(p["x"], p["y"]) for p in found[:2]] == [(0.4 * 40 - 0.5, 0.5 * 36 - 0.5), (0.41 * 40 - 0.5, 17.86)]
    assert (found[3]["x"], found[3]["y"]) == (-0.5, 35.5)  # from edge to edge
    assert [p["x"] for p in read(root, points_unit="pixels")[1]] == [0.4, 0.41, 1, 0]


def test_points_that_are_whole_or_reach_further_are_pixels(tmp_path: Path) -> None:
    assert len(read(labelled(tmp_path / "whole", ONE_EACH, NO_POINTS + "a.png,0,1\nb.png,1,1\n"))[1]) == 2
    assert len(read(labelled(tmp_path / "far", ONE_EACH, NO_POINTS + "a.png,0.5,0.5\nb.png,2,1\n"))[1]) == 2


def test_a_point_outside_of_its_image_tells_of_a_size_that_all_would_fit(tmp_path: Path) -> None:
    root = labelled(tmp_path, ONE_EACH, NO_POINTS + "a.png,39,30\nb.png,900,100\n")
    rows, _ = read(root, max_rejected=1)
    assert rows["b"]["problem"] == (
        "point (900, 100) is outside of its 40 x 36 pixels; all points would fit images of 1024 x 1024: if they were "
        "marked on such, set data.ingest.points_unit to 1024x1024"
    )
    _, found = read(root, points_unit="1024x1024")
    assert [(p["x"], p["y"]) for p in found] == [
        pytest.approx((39.5 * 40 / 1024 - 0.5, 30.5 * 36 / 1024 - 0.5)),
        pytest.approx((900.5 * 40 / 1024 - 0.5, 100.5 * 36 / 1024 - 0.5)),
    ]


def test_points_that_all_lie_in_one_quarter_seem_to_be_of_smaller_images(tmp_path: Path) -> None:
    many = [(n % 5 + 1, n % 7 + 1) for n in range(units.MIN_IN_CORNER)]
    points = NO_POINTS + "".join(f"a.png,{x}.5,{y + n / 100}\n" for n, (x, y) in enumerate(many))
    rows, found = read(labelled(tmp_path, ONE_EACH, points), max_rejected=1)
    assert rows["a"]["notices"] == ["points_unit"] and not found
    assert "lie in the top left quarter of their images" in rows["a"]["problem"]
    assert read(labelled(tmp_path, ONE_EACH, points), points_unit="pixels")[0]["a"]["status"] == "ok"
    assert read(labelled(tmp_path, ONE_EACH, points + "b.png,30,4\n"))[0]["a"]["status"] == "ok"


@pytest.mark.parametrize(
    "points", ["file,x,y,w,h\na.png,10,20,4,6\n", "image;xmin;ymin;xmax;ymax\na.png;10;20;14;26\n"]
)
def test_boxes_are_points_with_a_size_in_the_challenges_table_too(tmp_path: Path, points: str) -> None:
    labels = "file_name,label,spacing_mm\na.png,Nodule,0.5\n"
    _, (found,) = read(labelled(tmp_path, labels, points))
    assert (found["x"], found["y"], found["box_width_px"], found["box_height_px"]) == (11.5, 22.5, 4, 6)
    assert found["diameter_mm"] == 3


def test_a_converted_point_is_where_the_same_place_is_in_the_image() -> None:
    corner, centre = Point(1023.5, -0.5), Point(511.5, 511.5)
    assert [units.converted(point, "1024x1024", 512, 256) for point in (corner, centre)] == [
        Point(511.5, -0.5),
        Point(255.5, 127.5),
    ]
    assert [units.converted(Point(x, y), "fraction", 512, 256) for x, y in ((1, 0), (0.5, 0.5))] == [
        Point(511.5, -0.5),
        Point(255.5, 127.5),
    ]


def test_one_of_the_challenges_folders_and_its_table_of_points_may_be_missing(tmp_path: Path) -> None:
    root = labelled(tmp_path, "file_name,label\na.png,Nodule\n")
    (root / "lidc_png_16_bit").rmdir()
    (root / "localization_labels.csv").unlink()
    assert read(root)[0]["a"]["status"] == "ok"
    (root / "classification_labels.csv").rename(root / "Classification_Labels.CSV")
    assert read(root)[0]["a"]["label_from"] == "Classification_Labels.CSV"
    (root / "Classification_Labels.CSV").rename(root / "classification_labels.xlsx")
    with pytest.raises(DataError, match=r"CSV UTF-8 \(Comma delimited\)"):
        read(root)
    (root / "classification_labels.xlsx").unlink()
    with pytest.raises(DataError, match=r"no file classification_labels.csv with the columns file_name and label"):
        read(root)

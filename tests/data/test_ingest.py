"""A data folder becomes a manifest, or a report of all that is wrong with it."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from dicoms import dicom
from folders import folder_document, folder_params
from pngs import challenge, hostile, image, png

from stages.data import ingest
from stages.lib.core import files, tables
from stages.lib.core.errors import DataError, ParamsError
from stages.lib.demo.synthetic import image as images
from stages.lib.images import csvfile, examining, manifest, pseudonym, reading
from stages.lib.images.layouts import nodulocc

LABELS = (
    "file_name,label,LIDC_ID\n00000012_000.png,Nodule,\n00000012_001.png,No Finding,\n0026.png,Nodule,LIDC-IDRI-0026\n"
)
POINTS = "file_name,x,y,seen_by\n0026.png,3.5,4,a\n0026.png,39.5,-0.5,b\n"
IMAGES = {
    "nih/00000012_000.png": png(image(0)),
    "nih/00000012_001.png": png(image(1)),
    "lidc/0026.png": png(image(2, dtype=np.uint16)),
}


def read(root: Path, max_rejected: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found = ingest.ingest(folder_params(root, max_rejected=max_rejected))
    tables.check(found.manifest, tables.MANIFEST)
    tables.check(found.points, tables.POINTS)
    tables.check(found.files, tables.FILES)
    return found.manifest.to_pylist(), found.points.to_pylist()


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as error:
        read(root)
    return str(error.value)


def test_the_layout_images_reads_no_table_so_that_none_can_refuse_an_image(tmp_path: Path) -> None:
    """The labels name a patient twice, a file that is not there, and a word that is none."""
    labels = LABELS + "00000012_000.png,No Finding,\nabsent.png,Nodule,\n0026.png,perhaps,\n"
    root = challenge(tmp_path, IMAGES, labels, POINTS + "0026.png,900,900,c\n")
    refusal(root)
    found = ingest.ingest(folder_params(root, layout="images"))
    assert [(row["file_name"], row["label"], row["status"]) for row in found.manifest.to_pylist()] == [
        ("lidc_png_16_bit/0026.png", None, "ok"),
        ("nih_filtered_images/00000012_000.png", None, "ok"),
        ("nih_filtered_images/00000012_001.png", None, "ok"),
    ]
    assert found.points.num_rows == 0


def test_the_challenge_layout_becomes_a_manifest_and_points_in_original_pixels(tmp_path: Path) -> None:
    rows, points = read(challenge(tmp_path, IMAGES, LABELS, POINTS))
    told = [(r["image_id"], r["source"], r["patient_id"], r["label"], r["bit_depth"], r["status"]) for r in rows]
    assert told == [
        ("00000012_000", "nih", "nih-00000012", 1, 8, "ok"),
        ("00000012_001", "nih", "nih-00000012", 0, 8, "ok"),
        ("0026", "lidc", "LIDC-IDRI-0026", 1, 16, "ok"),
    ]
    unknown = {"diameter_mm": None, "contrast": None, "box_width_px": None, "box_height_px": None}
    assert points == [
        {"image_id": "0026", "point": 0, "x": 3.5, "y": 4.0, **unknown},
        {"image_id": "0026", "point": 1, "x": 39.5, "y": -0.5, **unknown},
    ]
    assert {row["spacing_mm"] for row in rows} == {None}
    path = tmp_path / "lidc_png_16_bit" / "0026.png"
    assert rows[2]["path"] == str(path)
    assert rows[2]["sha256"] == files.sha256_file(path)
    assert rows[2]["pixel_sha256"] == reading.pixel_sha256(image(2, dtype=np.uint16))
    assert (rows[2]["width_px"], rows[2]["height_px"], rows[2]["problem"]) == (40, 36, None)


SPACED = "file_name,label,LIDC_ID,spacing_mm\n0026.png,Nodule,LIDC-IDRI-0026,0.5\n00000012_000.png,Nodule,,\n"


def test_a_spacing_and_sizes_are_read_where_the_tables_have_them(tmp_path: Path) -> None:
    sized = (
        "file_name,x,y,contrast,Diameter_PX,diameter_mm\n0026.png,3,4,-2,30,\n0026.png,8,9,,30,12\n0026.png,1,1,,,\n"
    )
    rows, points = read(challenge(tmp_path, IMAGES, SPACED, sized))
    assert {row["image_id"]: row["spacing_mm"] for row in rows} == {
        "0026": 0.5,
        "00000012_000": None,
        "00000012_001": None,
    }
    assert [(p["diameter_mm"], p["contrast"]) for p in points] == [(15.0, -2.0), (12.0, None), (None, None)]
    _, points = read(challenge(tmp_path, IMAGES, LABELS, sized))
    assert [p["diameter_mm"] for p in points] == [None, 12.0, None]  # pixels alone are no millimetres


def test_view_sex_and_age_are_read_where_the_table_has_them_and_null_elsewhere(tmp_path: Path) -> None:
    told = (
        "file_name,label,LIDC_ID,Age_Years,sex,view\n00000012_000.png,Nodule,,61,Female,pa\n0026.png,Nodule,x,0.5,,AP\n"
    )
    rows, _ = read(challenge(tmp_path / "told", IMAGES, told, POINTS))
    assert {row["image_id"]: (row["view"], row["sex"], row["age_years"]) for row in rows} == {
        "00000012_000": ("PA", "F", 61.0),
        "00000012_001": (None, None, None),
        "0026": ("AP", None, 0.5),
    }
    rows, _ = read(challenge(tmp_path / "silent", IMAGES, LABELS, POINTS))
    assert {(row["view"], row["sex"], row["age_years"]) for row in rows} == {(None, None, None)}


def test_sizes_beside_the_challenges_tables_go_to_the_point_on_the_same_pixel(tmp_path: Path) -> None:
    root = challenge(tmp_path, IMAGES, SPACED, "file_name,x,y,contrast\n0026.png,3,4,9\n0026.png,20,20,\n")
    lesions = "file_name,x,y,diameter_px,contrast\n0026.png,2.6,4.4,8,5\n0026.png,21,20,7,7\n00000012_000.png,1,1,9,9\n"
    (root / "lesions.csv").write_text(lesions)
    _, points = read(root)
    assert [(p["x"], p["y"], p["diameter_mm"], p["contrast"]) for p in points] == [(3, 4, 4, 9), (20, 20, None, None)]
    (root / "lesions.csv").write_text("file_name,x,y,diameter_px\n0026.png,3,4,-8\n")
    assert "lesions.csv line 2: '0026.png' has diameter_px '-8'" in refusal(root)


def test_a_dicom_image_tells_its_own_spacing_unless_the_table_does(tmp_path: Path) -> None:
    root = challenge(tmp_path, IMAGES, SPACED)
    nih = root / "nih_filtered_images"
    dicom(nih / "a.dcm", image(5, dtype=np.uint16), ImagerPixelSpacing=[0.143, 0.143], PixelSpacing=[0.1, 0.1])
    dicom(nih / "b.dcm", image(6, dtype=np.uint16), PixelSpacing=[0.2, 0.1])
    dicom(nih / "c.dcm", image(7, dtype=np.uint16), PixelSpacing=[0.2, 0.2])
    (root / "classification_labels.csv").write_text(SPACED + "c.dcm,Nodule,,0.3\n")
    found = {row["image_id"]: row for row in read(root)[0]}
    assert [found[name]["spacing_mm"] for name in "abc"] == [0.143, None, 0.3]
    assert "PixelSpacing 0.2 by 0.1 mm is not square" in found["b"]["problem"] and found["b"]["status"] == "ok"


def test_a_relative_root_gives_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    challenge(tmp_path / "data", IMAGES, LABELS, POINTS)
    monkeypatch.chdir(tmp_path)
    assert read(Path("data"))[0][2]["path"] == "data/lidc_png_16_bit/0026.png"


@pytest.mark.parametrize("spelling", ["bom", "crlf", "semicolons", "tabs", "spaces", "quotes", "case", "blank lines"])
def test_a_table_may_be_spelt_as_people_spell_it(tmp_path: Path, spelling: str) -> None:
    spelt = {
        "bom": lambda text: b"\xef\xbb\xbf" + text.encode(),
        "crlf": lambda text: text.replace("\n", "\r\n").encode(),
        "semicolons": lambda text: text.replace(",", ";").encode(),
        "tabs": lambda text: text.replace(",", "\t").encode(),
        "spaces": lambda text: text.replace(",", " , ").replace("\n", "  \n").encode(),
        "quotes": lambda text: "\n".join('"' + line.replace(",", '","') + '"' for line in text.split()).encode(),
        "case": lambda text: text.replace("file_name", "File_Name").replace("Nodule", "nodule").encode(),
        "blank lines": lambda text: (text.replace("\n", "\n\n") + ",,\n").encode(),
    }[spelling]
    labels = LABELS.replace("No Finding", "No_Finding") if spelling == "quotes" else LABELS
    data = spelt(labels).replace(b"No_Finding", b"No Finding")
    plain = read(challenge(tmp_path / "plain", IMAGES, LABELS, POINTS))
    rows, points = read(challenge(tmp_path / "spelt", IMAGES, data, spelt(POINTS)))
    assert points == plain[1]
    assert [{**row, "path": ""} for row in rows] == [{**row, "path": ""} for row in plain[0]]


def test_ids_stay_text(tmp_path: Path) -> None:
    images = {f"nih/{name}.png": png(image(n)) for n, name in enumerate(["NA", "007", "1e5", "nan", "true"])}
    labels = "file_name,label,LIDC_ID\n" + "".join(f"{name[4:]},Nodule,\n" for name in images)
    rows, _ = read(challenge(tmp_path, images, labels))
    assert [(r["image_id"], r["patient_id"], r["label"]) for r in rows] == [
        (name, name, 1) for name in ["007", "1e5", "NA", "nan", "true"]
    ]


def test_every_hostile_file_is_one_rejected_row_that_says_why(tmp_path: Path) -> None:
    cases = hostile()
    images = {f"nih/{name}.png": data for name, (data, _) in cases.items()}
    labels = "file_name,label,LIDC_ID\n" + "".join(f'"{name}.png",Nodule,\n' for name in cases)
    rows, _ = read(challenge(tmp_path, {**images, "nih/good.png": png(image(0))}, labels), max_rejected=len(cases))
    found = {row["image_id"]: row for row in rows}
    assert len(found) == len(cases) + 1
    assert found["good"]["status"] == "ok"
    for name, (_, word) in cases.items():
        assert found[name]["status"] == "rejected" and word in found[name]["problem"], name
        assert found[name]["pixel_sha256"] is None and found[name]["width_px"] is None, name


def test_beyond_max_rejected_the_first_twenty_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    images = {f"nih/{number:02}.png": b"<html>" for number in range(23)}
    challenge(tmp_path, {**images, "nih/good.png": png(image(0))}, "file_name,label,LIDC_ID\n")
    assert sum(row["status"] == "rejected" for row in read(tmp_path, max_rejected=23)[0]) == 23
    with pytest.raises(DataError, match="23 of 24 images rejected") as error:
        read(tmp_path, max_rejected=22)
    assert len(error.value.problems) == 21
    assert "'00.png'" in error.value.problems[0] and error.value.problems[20] == "and 3 more"


def test_every_label_without_a_file_and_every_file_without_a_label_is_a_row(tmp_path: Path) -> None:
    labels = LABELS + "0099.png,Nodule,LIDC-IDRI-0099\n00000044_000.png,No Finding,\n007,Nodule,\n"
    images = {**IMAGES, "nih/00000055_003.png": png(image(9))}
    rows, points = read(challenge(tmp_path, images, labels, POINTS + "0099.png,1,1,c\n"), max_rejected=3)
    found = {row["image_id"]: row for row in rows}
    for image_id, source, patient in (
        ("0099", "lidc", "LIDC-IDRI-0099"),
        ("00000044_000", "nih", "nih-00000044"),
        ("007", "nih", "007"),
    ):
        row = found[image_id]
        assert (row["status"], row["problem"], row["source"]) == ("rejected", "file missing", source)
        assert (row["patient_id"], row["sha256"]) == (patient, None)
    assert (found["00000055_003"]["status"], found["00000055_003"]["label"]) == ("ok", None)
    assert found["00000055_003"]["problem"] == "no label: it is not in classification_labels.csv"
    assert {point["image_id"] for point in points} == {"0026"}


@pytest.mark.parametrize("word", ["", "NaN", "nan", "NA"])
def test_an_empty_label_is_null_and_said(tmp_path: Path, word: str) -> None:
    rows, _ = read(challenge(tmp_path, IMAGES, LABELS.replace("_001.png,No Finding", f"_001.png,{word}"), POINTS))
    assert (rows[1]["label"], rows[1]["status"], rows[1]["problem"]) == (None, "ok", "no label")


def test_harmless_repetitions_are_remarks(tmp_path: Path) -> None:
    rows, points = read(
        challenge(tmp_path, IMAGES, LABELS + "00000012_000.png,Nodule,\n", POINTS + "0026.png,3.50,4.0,c\n")
    )
    assert rows[0]["status"] == "ok" and rows[0]["problem"] == "listed twice"
    assert rows[2]["problem"] == "a point listed twice" and len(points) == 2


def test_the_same_pixels_under_two_names_are_remarked_on_both(tmp_path: Path) -> None:
    same = {"nih/00000012_001.png": png(np.dstack([image(0)] * 3))}
    rows, _ = read(challenge(tmp_path, IMAGES | same, LABELS, POINTS))
    assert rows[0]["sha256"] != rows[1]["sha256"] and rows[0]["pixel_sha256"] == rows[1]["pixel_sha256"]
    assert rows[0]["problem"] == "same pixels as 00000012_001, labelled otherwise"
    assert rows[1]["problem"] == "same pixels as 00000012_000, labelled otherwise"
    assert {row["status"] for row in rows} == {"ok"}


@pytest.mark.parametrize(
    ("labels", "points", "words"),
    [
        ("file_name,LIDC_ID\na.png,\n", POINTS, ["no column 'label'; found file_name, LIDC_ID"]),
        (b"\xff\xfef\0i\0", POINTS, ["classification_labels.csv: UTF-16 text, not UTF-8: in the spreadsheet choose"]),
        ("", POINTS, ["classification_labels.csv: found no header"]),
        ("file_name,label,label,LIDC_ID\n", POINTS, ["column 'label' occurs twice"]),
        (LABELS + "a.png,Nodule,,x\n", POINTS, ["line 5: 4 cells, the header has 3"]),
        (LABELS + 'a.png,"Nodule,\n', POINTS, ["classification_labels.csv line 5: unexpected end of data"]),
        (LABELS + ",Nodule,\n", POINTS, ["line 5: no file name"]),
        (
            LABELS + "00000012_000.png,No Finding,\n",
            POINTS,
            ["line 5: '00000012_000.png' is listed before with another"],
        ),
        (
            LABELS + "0026.png,Nodule,LIDC-IDRI-0027\n",
            POINTS,
            ["'0026.png' is listed before with another patient"],
        ),
        (
            "file_name,label,LIDC_ID,view,sex,age_years\na.png,Nodule,,oblique,X,414\nb.png,Nodule,,,,-1\n",
            POINTS,
            [
                "line 2: 'a.png' has view 'oblique', wanted one of PA, AP, lateral, or nothing",
                "line 2: 'a.png' has sex 'X', wanted one of F, M, other, or nothing",
                "line 2: 'a.png' has age_years '414', wanted a number from 0 to 120, or nothing",
                "line 3: 'b.png' has age_years '-1'",
            ],
        ),
        (LABELS + "a.png,Nodul,\n", POINTS, ["'a.png' is labelled 'Nodul', wanted one of Nodule, No Finding"]),
        (
            "file_name,label,LIDC_ID,spacing_mm\na.png,Nodule,,-1\nb.png,Nodule,,0,2\n",
            POINTS,
            ["line 2: 'a.png' has spacing_mm '-1', wanted a number above 0, or nothing", "line 3: 5 cells"],
        ),
        (LABELS, "file_name,x,y,diameter_mm\n0026.png,3,4,big\n", ["'0026.png' has diameter_mm 'big', wanted"]),
        (LABELS, "file_name,x,y,contrast\n0026.png,3,4,low\n", ["'0026.png' has contrast 'low', wanted a number, or"]),
        (LABELS, "file_name,x\n", ["localization_labels.csv: no column 'y'"]),
        (LABELS, POINTS + "0026.png,nan,4,c\n", ["line 4: '0026.png' at ('nan', '4'), wanted two numbers"]),
        (LABELS, POINTS + "0026.png,3;4,,c\n", ["wanted two numbers"]),
        (LABELS, POINTS + "0026.png,1e999,4,c\n", ["wanted two numbers"]),
        (LABELS, POINTS + "0027.png,3,4,c\n", ["points for '0027.png', which has neither a file nor a label"]),
    ],
)
def test_a_table_that_cannot_be_used_stops_the_stage(
    tmp_path: Path, labels: str | bytes, points: str, words: list[str]
) -> None:
    text = refusal(challenge(tmp_path, IMAGES, labels, points))
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("point", "word"),
    [
        ("0026.png,39.6,4,c\n", "point (39.6, 4) is outside of its 40 x 36 pixels"),
        ("0026.png,4,35.6,c\n", "point (4, 35.6) is outside"),
        ("0026.png,-0.6,4,c\n", "point (-0.6, 4) is outside"),
        ("00000012_001.png,3,4,c\n", "labelled No Finding, but has 1 point"),
    ],
)
def test_a_truth_that_contradicts_itself_rejects_the_image_and_leaves_out_its_points(
    tmp_path: Path, point: str, word: str
) -> None:
    rows, points = read(challenge(tmp_path, IMAGES, LABELS, POINTS + point), max_rejected=1)
    rejected = [row for row in rows if row["status"] == "rejected"]
    assert len(rejected) == 1 and word in rejected[0]["problem"]
    assert rejected[0]["width_px"] == 40
    assert rejected[0]["image_id"] not in {p["image_id"] for p in points}


def test_all_that_is_wrong_is_reported_together(tmp_path: Path) -> None:
    images = {**IMAGES, "nih/bad.png": b"<html>", "nih/0026.png": png(image(7))}
    labels = LABELS + "gone.png,Nodule,\n00000012_000.png,No Finding,\nx.png,maybe,\n../../etc/passwd,Nodule,\n"
    text = refusal(challenge(tmp_path, images, labels, POINTS + "0027.png,3,4,c\n0026.png,a,4,c\n"))
    for word in (
        "listed before with another label",
        "labelled 'maybe'",
        "points for '0027.png'",
        "at ('a', '4')",
        "would both be '0026'",
        "'bad.png': neither PNG nor DICOM",
        "'gone.png': file missing",
        "'../../etc/passwd': unsafe name",
    ):
        assert word in text


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/b.png", "..", "x\x1b[2J.png"])
def test_an_unsafe_name_in_a_table_is_a_rejected_row_and_never_opened(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.png").write_bytes(png(image(5)))
    opened: list[str] = []
    examine = reading.examine

    def recorded(path: str, max_pixels: int) -> reading.Facts:
        opened.append(path)
        return examine(path, max_pixels)

    monkeypatch.setattr(reading, "examine", recorded)
    rows, _ = read(challenge(tmp_path / "data", IMAGES, LABELS + f"{name},Nodule,\n", POINTS), max_rejected=1)
    row = next(row for row in rows if row["file_name"] == name)
    assert row["status"] == "rejected" and "unsafe name" in row["problem"] and row["sha256"] is None
    assert len(opened) == 3 and all("secret" not in path and "passwd" not in path for path in opened)


def test_a_link_is_followed_within_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    root = challenge(tmp_path / "data", IMAGES, LABELS, POINTS)
    (tmp_path / "secret.png").write_bytes(png(image(5)))
    nih = root / "nih_filtered_images"
    (nih / "inside.png").symlink_to("00000012_000.png")
    (nih / "outside.png").symlink_to(tmp_path / "secret.png")
    (nih / "dangling.png").symlink_to("gone.png")
    (nih / "loop.png").symlink_to("loop.png")
    os.mkfifo(nih / "pipe.png")
    (nih / "folder.png").mkdir()
    found = {row["image_id"]: row for row in read(root, max_rejected=5)[0]}
    assert found["inside"]["status"] == "ok" and "same pixels as 00000012_000" in found["inside"]["problem"]
    assert "a link out of the data folder" in found["outside"]["problem"] and found["outside"]["sha256"] is None
    for name in ("dangling", "loop", "pipe"):
        assert found[name]["status"] == "rejected" and found[name]["sha256"] is None, name
        assert "not a file" in found[name]["problem"] or "a link" in found[name]["problem"], name


def test_strange_names_are_rows_and_those_that_cannot_be_handled_are_rejected(tmp_path: Path) -> None:
    strange = ['it\'s "quoted".png', "<img src=x onerror=alert(1)>.png", "=1+1,2.png", "naïve 中.png"]
    unusable = ["new\nline.png", "\x1b[31mred.png", "é" * 60 + ".png"]
    for number, name in enumerate([*strange, *unusable]):
        (tmp_path / name).write_bytes(png(image(number)))
    (tmp_path / os.fsdecode(b"\xff\xfe.png")).write_bytes(png(image(20)))
    rows, _ = read(tmp_path, max_rejected=4)
    found = {row["file_name"]: row for row in rows}
    assert len(rows) == 8
    assert all(found[name]["status"] == "ok" for name in strange)
    assert all(found[name]["status"] == "rejected" for name in [*unusable, r"\xff\xfe.png"])


def test_a_bare_folder_is_read_at_any_depth_without_labels(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "00000012_001.PNG").write_bytes(png(image(0)))
    (tmp_path / "top.png").write_bytes(png(image(1)))
    (tmp_path / "._top.png").write_bytes(b"AppleDouble")
    (tmp_path / "notes.txt").write_text("no image")
    dicom(tmp_path / "a" / "image.dcm", image(2, dtype=np.uint16))
    rows, points = read(tmp_path)
    told = [(r["image_id"], r["file_name"], r["source"], r["patient_id"], r["label"], r["problem"]) for r in rows]
    assert told == [
        ("a__b__00000012_001", "a/b/00000012_001.PNG", "other", "nih-00000012", None, None),
        ("a__image", "a/image.dcm", "other", pseudonym.of("p 7"), None, None),
        ("top", "top.png", "other", "top", None, "its patient is not known"),
    ]
    assert not points


def test_two_files_that_would_have_one_id_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").write_bytes(png(image(0)))
    (tmp_path / "a__b.png").write_bytes(png(image(1)))
    text = refusal(tmp_path)
    assert "a/b.png'" in text and "a__b.png'" in text and "would both be 'a__b'" in text


def test_a_linked_folder_in_a_bare_folder_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "data" / "image.png").write_bytes(png(image(0)))
    (tmp_path / "data" / "more").symlink_to(tmp_path / "other")
    assert "more' is a link to a folder" in refusal(tmp_path / "data")


def test_what_is_missing_of_the_layout_is_named_together(tmp_path: Path) -> None:
    assert "found no such folder" in refusal(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "no image in it; found nothing" in refusal(tmp_path / "empty")
    (tmp_path / "half" / "nih_filtered_images").mkdir(parents=True)
    text = refusal(tmp_path / "half")
    assert "no file classification_labels.csv with the columns file_name and label" in text
    root = challenge(tmp_path / "linked", IMAGES, LABELS, POINTS)
    (root / "nih_filtered_images").rename(tmp_path / "elsewhere")
    (root / "nih_filtered_images").symlink_to(tmp_path / "elsewhere")
    assert "nih_filtered_images is a link out of the data folder" in refusal(root)


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for number in range(2 * examining.CHUNK + 1):
        paths.append(str(tmp_path / f"{number}.png"))
        Path(paths[-1]).write_bytes(png(image(number)) if number % 7 else b"<html>")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    several = list(examining.facts(paths, 10_000))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert several == list(examining.facts(paths, 10_000))
    assert [not found.notices for found in several] == [bool(number % 7) for number in range(len(paths))]


def test_the_command_writes_both_tables_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    root = challenge(tmp_path / "data", IMAGES, LABELS, POINTS)
    document = json.dumps(folder_document(root))
    written = []
    for run in ("a", "b"):
        rows, points = tmp_path / run / "manifest.parquet", tmp_path / run / "points.parquet"
        ingest.main(["--params", document, "--manifest", str(rows), "--points", str(points)])
        assert isinstance(tables.read(rows, tables.MANIFEST), pa.Table)
        written.append(rows.read_bytes() + points.read_bytes())
    assert written[0] == written[1]


def test_a_cell_of_any_text_comes_back_from_a_sheet(tmp_path: Path) -> None:
    rows = [["a,b", 'say "x"', "é;"], ["new\nline", "", "z"]]
    with (tmp_path / "t.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["one", "two", "three"], *rows])
    found, problems = csvfile.read(tmp_path / "t.csv", ["one", "two", "three"])
    assert [list(row.cells.values()) for row in found] == rows and not problems


@pytest.mark.real_images
def test_the_real_images_are_all_taken_and_their_points_are_on_them(real_images: Path) -> None:
    found = ingest.ingest(folder_params(real_images, max_pixels=10_000_000))
    manifest, points = found.manifest, found.points
    rows = {row["image_id"]: row for row in manifest.to_pylist()}
    with (real_images / "localization_labels.csv").open() as handle:
        listed = [(Path(r["file_name"]).stem, float(r["x"]), float(r["y"])) for r in csv.DictReader(handle)]
    assert len(rows) == 31 and {row["status"] for row in rows.values()} == {"ok"}
    assert {row["problem"] for row in rows.values()} == {None}
    assert sum(row["label"] for row in rows.values()) == 28 and len({row["patient_id"] for row in rows.values()}) == 27
    assert {row["bit_depth"] for row in rows.values() if row["source"] == "lidc"} == {16}
    found = sorted((p["image_id"], p["x"], p["y"]) for p in points.to_pylist())
    assert found == sorted(listed) and len(found) == 15
    assert {p["diameter_mm"] for p in points.to_pylist()} == {None}  # lesions.csv has pixels, and no spacing is known
    assert sorted(p["contrast"] for p in points.to_pylist())[::14] == [3.5, 8.0]
    for image_id, x, y in found:
        assert 0 <= x < rows[image_id]["width_px"] and 0 <= y < rows[image_id]["height_px"]


def test_the_words_of_the_labels_are_those_of_the_challenge() -> None:
    assert nodulocc.WORDS == {"Nodule": 1, "No Finding": 0}


def test_unchanged_files_are_not_read_again_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for number in range(3):
        path = root / f"image {number}.png"
        path.write_bytes(png(image(number)))
        os.utime(path, (1_000_000, 1_000_000))
    (root / "bad.png").write_bytes(b"not a PNG")
    os.utime(root / "bad.png", (1_000_000, 1_000_000))
    limits = folder_params(root, max_rejected=1)
    read_now: list[str] = []
    original = reading.examine

    def watched(path: str, max_pixels: int) -> reading.Facts:
        read_now.append(Path(path).name)
        return original(path, max_pixels)

    monkeypatch.setattr(reading, "examine", watched)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    everything = ["bad.png", "image 0.png", "image 1.png", "image 2.png"]
    first = ingest.ingest(limits, tmp_path / "cache")
    assert sorted(read_now) == everything
    read_now.clear()
    again = ingest.ingest(limits, tmp_path / "cache")
    assert read_now == [] and again.manifest.equals(first.manifest)
    assert "4 of 4 files are unchanged" in caplog.text or not caplog.text
    (root / "image 1.png").write_bytes(png(image(7)))  # another image of the same size, changed just now
    for _ in range(2):
        read_now.clear()
        changed = ingest.ingest(limits, tmp_path / "cache")
        assert read_now == ["image 1.png"]  # and not remembered, since it may change again within a tick of the clock
    assert changed.manifest["pixel_sha256"].to_pylist() != first.manifest["pixel_sha256"].to_pylist()
    read_now.clear()
    ingest.ingest(limits, tmp_path / "cache", verify=True)
    assert sorted(read_now) == everything
    read_now.clear()
    ingest.ingest(folder_params(root, max_rejected=1, max_pixels=9_999), tmp_path / "cache")
    assert sorted(read_now) == everything  # other limits may find other facts
    (known,) = (tmp_path / "cache").iterdir()
    known.write_bytes(known.read_bytes()[:-9])
    read_now.clear()
    assert ingest.ingest(limits, tmp_path / "cache").manifest.equals(changed.manifest)
    assert sorted(read_now) == everything


def test_a_copy_in_another_size_and_window_is_of_one_group_and_a_pair_that_is_alike_is_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shapes = [cv2.GaussianBlur(rng.normal(0, 1, (90, 80)), (0, 0), 2.5) for _ in range(13)]
    shapes[12] = 0.45 * shapes[1] + 0.2 * shapes[12]
    greys = [np.clip(1000 + 400 * shape / shape.std() / 2, 0, 4095).astype(np.uint16) for shape in shapes]
    (tmp_path / "a").mkdir()
    for number, grey in enumerate(greys):
        (tmp_path / "a" / f"{number:02d}.png").write_bytes(png(grey))
    copy = cv2.resize(greys[4], (62, 70), interpolation=cv2.INTER_AREA)
    (tmp_path / "a" / "copy.png").write_bytes(png(np.clip(copy / 8.0, 0, 255).astype(np.uint8)))
    (tmp_path / "a" / "same.png").write_bytes(png(greys[4]))
    params = folder_params(tmp_path, same_correlation=0.95, similar_correlation=0.6)
    found = ingest.ingest(params)
    rows = {row["image_id"]: row for row in found.manifest.to_pylist()}
    assert {name for name, row in rows.items() if row["duplicate_group"]} == {"a__04", "a__copy", "a__same"}
    assert {rows[name]["duplicate_group"] for name in ("a__04", "a__copy", "a__same")} == {"a__04"}
    assert {name for name, row in rows.items() if "near_duplicate" in (row["notices"] or ())} == {
        "a__04", "a__copy", "a__same"
    }  # fmt: skip
    assert "nearly the same as a__04, a__same" in rows["a__copy"]["problem"]
    assert rows["a__04"]["problem"].endswith("same pixels as a__same; nearly the same as a__copy")
    pairs = {(row["image_id"], row["other"]): row for row in found.duplicates.to_pylist()}
    assert {pair for pair, row in pairs.items() if row["grouped"]} == {
        ("a__04", "a__copy"), ("a__04", "a__same"), ("a__copy", "a__same")
    }  # fmt: skip
    assert [pair for pair, row in pairs.items() if not row["grouped"]] == [("a__01", "a__12")]
    assert 0.6 <= pairs["a__01", "a__12"]["correlation"] < 0.95


def test_a_pair_is_not_listed_from_a_correlation_above_that_of_a_group(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="similar_correlation above 0 and at most same_correlation"):
        folder_params(tmp_path, same_correlation=0.8, similar_correlation=0.9)


def test_an_inverted_image_and_a_point_in_the_air_are_remarked_and_take_part(tmp_path: Path) -> None:
    drawn = images.draw(
        np.random.default_rng(1), images.patient(np.random.default_rng(2)), width_px=160, height_px=160, nodules=0,
        diameter_mm=(8.0, 9.0), contrast=(0.3, 1.0),
    )  # fmt: skip
    grey = np.rint(drawn.density * 255).astype(np.uint8)
    grey = np.pad(grey, ((0, 0), (40, 40)))
    names = {"nih/00000001_000.png": png(grey), "nih/00000002_000.png": png(255 - grey)}
    labels = "file_name,label,LIDC_ID\n00000001_000.png,Nodule,\n00000002_000.png,Nodule,\n"
    points = "file_name,x,y\n00000001_000.png,8,20\n00000001_000.png,90,90\n00000002_000.png,8,20\n"
    found = ingest.ingest(folder_params(challenge(tmp_path, names, labels, points), max_pixels=100_000))
    rows = found.manifest.to_pylist()
    assert [(row["status"], row["notices"]) for row in rows] == [("ok", ["points"]), ("ok", ["inverted"])]
    assert rows[0]["problem"] == "point (8, 20) is outside of the body"
    assert found.points.num_rows == 3


def test_what_is_said_of_many_images_in_the_same_words_is_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(manifest.LISTED + 1):
        (tmp_path / f"image {number:02d}.png").write_bytes(png(image(number)))
    with caplog.at_level("INFO"):
        ingest.ingest(folder_params(tmp_path))
    told = [record.message for record in caplog.records if "patient is not known" in record.message]
    assert len(told) == 1 and told[0].startswith("ingest: ok, 21 images: its patient is not known: image 00.png")

"""Any folder of images is read with the tables that lie in it, told apart by their columns."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from stages.lib.images import layouts
from stages.lib.images.dataset import Folder, Image, Options


def folder(root: Path, files: str, **tables: str) -> Path:
    for name in files.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    for name, text in tables.items():
        (root / f"{name}.{'tsv' if chr(9) in text else 'csv'}").write_text(text)
    return root


def read(root: Path, **options: object) -> tuple[Folder, dict[str, Image]]:
    found = layouts.read(root, Options(**options))  # type: ignore[arg-type]
    assert found.layout == "folder" and not found.problems, found.problems
    return found, {image.image_id: image for image in found.images}


def problems(root: Path, **options: object) -> str:
    return "\n".join(layouts.read(root, Options(**options)).problems)  # type: ignore[arg-type]


def test_a_folder_without_a_table_has_images_without_labels(tmp_path: Path) -> None:
    found, images = read(folder(tmp_path, "a.png deep/er/b.dcm"))
    assert list(images) == ["a", "deep__er__b"] and not found.passed_over
    assert {(image.label, image.label_from, image.notices) for image in images.values()} == {(None, None, ())}


def test_one_table_may_say_all(tmp_path: Path) -> None:
    table = (
        "Image Path;Diagnosis;Subject;x;y;Pixel Spacing;ViewPosition;Gender;Patient Age\n"
        "x/a.png;Nodule;7;3;4;0.2;PA;Female;061Y\nx/a.png;Nodule;7;8;9;0.2;PA;Female;061Y\nb;no finding;8;;;;;;\n"
    )
    found, images = read(folder(tmp_path, "x/a.png y/b.png", annotations=table))
    a, b = images["x__a"], images["y__b"]
    assert (a.label, a.patient, a.patient_from, a.spacing_mm, a.label_from) == (1, "7", "table", 0.2, "annotations.csv")
    assert (a.context.view, a.context.sex, a.context.age_years, a.notices) == ("PA", "F", 61, ())
    assert (b.label, b.patient, b.spacing_mm, [one.kind for one in b.notices]) == (0, "8", None, ["name"])
    assert [(point.x, point.y) for point in found.points["x__a"]] == [(3, 4), (8, 9)] and "y__b" not in found.points


def test_labels_points_and_patients_may_be_in_tables_of_their_own(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        "img/a.png img/b.png",
        labels="image\tclass\na.png\tpositive\nb.png\tnormal\n",
        boxes="filename,x_min,y_min,x_max,y_max\na.png,10,20,14,26\n",
    )
    parquet.write_table(pa.table({"image_id": ["a", "b"], "patient": [3.0, None]}), root / "people.parquet")
    (root / "split.csv").write_text("file_name,split\na.png,train\n")
    (root / "notes.csv").write_text("who,what\nme,that\n")
    found, images = read(root)
    assert [(image.label, image.patient) for image in images.values()] == [(1, "3"), (0, None)]
    (point,) = found.points["img__a"]
    assert (point.x, point.y, point.box_width_px) == (11.5, 22.5, 4)
    reasons = {over.file_name: over.reason for over in found.passed_over}
    assert [reasons[f"{name}"] for name in ("labels.tsv", "boxes.csv", "people.parquet")] == [None] * 3
    assert "it says no label, point, patient" in str(reasons["split.csv"])
    assert "no column of images" in str(reasons["notes.csv"])


@pytest.mark.parametrize(
    ("word", "label"),
    [
        *dict.fromkeys(["Nodule", "yes", "1", "1.0", "TRUE", "Positive", "Nodule|Effusion"], 1).items(),
        *dict.fromkeys(["No Finding", "no_finding", "0", "n", "negative", "Normal", "false"], 0).items(),
        *dict.fromkeys(["Mass", "-1", "2", "", "nan", "maybe"]).items(),
    ],
)
def test_words_mean_what_they_usually_mean(tmp_path: Path, word: str, label: int | None) -> None:
    _, images = read(folder(tmp_path, "a.png b.png", labels=f"file,label\na.png,{word}\nb.png,nodule\n"))
    assert images["a"].label == label
    assert [one.kind for one in images["a"].notices] == ([] if label is not None else ["label"])


def test_the_parameters_say_which_words_mean_what_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = "a.png,Mass\nb.png,Clear\nc.png,Effusion\nd.png,Effusion\ne.png,nodule\n"
    root = folder(tmp_path, "a.png b.png c.png d.png e.png", labels="file,label\n" + rows)
    found, images = read(root, positive_labels=("mass", "Nodule"), negative_labels=("clear",))
    assert [image.label for image in images.values()] == [1, 0, None, None, 1]
    assert images["c"].notices[0].text == "no label: found 'Effusion', which is no word for a nodule or for none"
    (over,) = found.passed_over
    assert str(over.reason).startswith("2 of 5 images are labelled neither as with nor as without a nodule, and are ")
    assert "'Effusion' (2)" in str(over.reason)


READERS = (
    "file,reader,label,x,y,w,h\n"
    "a.png,R1,nodule,10,10,8,8\na.png,R2,nodule,12,10,8,8\na.png,R3,no finding,,,,\n"
    "b.png,R1,nodule,30,30,4,4\nb.png,R2,no finding,,,,\nb.png,R3,no finding,,,,\n"
    "c.png,R1,nodule,5,5,4,4\nc.png,R2,nodule,5,5,4,4\nc.png,R3,nodule,5,5,4,4\nc.png,R3,nodule,40,40,4,4\n"
)


@pytest.mark.parametrize(
    ("rule", "labels", "places"),
    [
        ("any", [1, 1, 1], {"a": [(14.5, 13.5)], "b": [(31.5, 31.5)], "c": [(6.5, 6.5), (41.5, 41.5)]}),
        ("majority", [1, 0, 1], {"a": [(14.5, 13.5)], "c": [(6.5, 6.5)]}),
        ("all", [0, 0, 1], {"c": [(6.5, 6.5)]}),
    ],
)
def test_several_readers_are_one_label_and_one_point_of_a_nodule(
    tmp_path: Path, rule: str, labels: list[int], places: dict[str, list[tuple[float, float]]]
) -> None:
    found, images = read(folder(tmp_path, "a.png b.png c.png", labels=READERS), reader_rule=rule)
    assert [image.label for image in images.values()] == labels
    assert {name: [(p.x, p.y) for p in of_image] for name, of_image in found.points.items()} == places
    left = {name: image.notices[0].text for name, image in images.items() if image.notices}
    assert set(left) == {"any": set(), "majority": {"b", "c"}, "all": {"a", "b", "c"}}[rule]
    assert all("fewer readers than data.ingest.reader_rule wants" in text for text in left.values())


def test_rows_that_contradict_each_other_are_refused_where_no_column_says_who_read(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png", labels="file,label\na.png,nodule\na.png,normal\n")
    assert "labels.csv line 3: 'a.png' is listed before with another label (1 in labels.csv line 2, 0" in problems(root)


def test_several_tables_of_labels_agree_or_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png b.png", one="file,label\na.png,nodule\n", two="image,class\na.png,1\nb.png,0\n")
    _, images = read(root)
    assert [(image.label, image.label_from, image.notices) for image in images.values()] == [
        (1, "one.csv, two.csv", ()),
        (0, "one.csv, two.csv", ()),
    ]
    folder(root, "", two="image,class\na.png,0\n")
    assert "two.csv line 2: 'a.png' is listed before with another label (1 in one.csv line 2, 0 here)" in problems(root)


def test_points_of_other_findings_are_no_nodules(tmp_path: Path) -> None:
    table = (
        "file,class_name,x_min,y_min,x_max,y_max\na.png,Nodule,1,1,3,3\na.png,Effusion,9,9,12,12\nb.png,normal,,,,\n"
    )
    found, images = read(folder(tmp_path, "a.png b.png", boxes=table))
    assert [image.label for image in images.values()] == [1, 0] and len(found.points["a"]) == 1
    assert found.passed_over[0].reason == "1 points of other findings are left out"


def test_images_that_differ_in_letter_case_alone_keep_their_own_rows(tmp_path: Path) -> None:
    _, images = read(folder(tmp_path, "a.png A.png", labels="file,label\na.png,nodule\nA.png,normal\n"))
    assert (images["a"].label, images["A"].label) == (1, 0)


def test_of_two_columns_the_one_is_taken_that_names_files_and_says_labels(tmp_path: Path) -> None:
    table = "image_id,path,finding,label\n1,x/a.png,solid,yes\n2,x/b.png,none seen,no\n"
    _, images = read(folder(tmp_path, "x/a.png x/b.png", t=table))
    assert [image.label for image in images.values()] == [1, 0]


def test_an_image_of_a_table_of_labels_without_a_file_is_a_row_and_one_of_another_table_is_not(tmp_path: Path) -> None:
    tables = {"labels": "file,label\na.png,1\ngone.png,0\n", "people": "file,patient\nother.png,P1\n"}
    _, images = read(folder(tmp_path, "a.png", **tables))
    assert {name: [one.text for one in image.notices] for name, image in images.items()} == {
        "a": [],
        "gone": ["file missing"],
    }


def test_a_column_of_patients_that_no_table_has_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png", labels="file,label\na.png,1\n")
    assert "labels.csv: no column 'Fall', which data.ingest.patient_column names" in problems(
        root, patient_column="Fall"
    )


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_of_images_in_another_encoding_is_refused_and_another_one_passed_over(
    tmp_path: Path, encoding: str
) -> None:
    root = folder(tmp_path, "a.png")
    (root / "labels.csv").write_bytes("file_name,label\nrö.png,1\n".encode(encoding))
    assert "CSV UTF-8 (Comma delimited)" in problems(root) and "or move it out of the folder" in problems(root)
    (root / "labels.csv").write_bytes("wer,größe\n1,2\n".encode(encoding))
    found, _ = read(root)
    assert "CSV UTF-8 (Comma delimited)" in str(found.passed_over[0].reason)


PIECES = [
    b"\0",
    b'"',
    b",",
    b";",
    b"\n",
    b"\r",
    b"\xff\xfe",
    b"\xe9",
    b"nan",
    b"1e999",
    b"-1",
    b"../",
    b"\\",
    b"9" * 400,
]
PIECES += [b"a" * 140_000, b"sep=;\n", b"PK\3\4", b"\xd0\xcf\x11\xe0", b"PAR1", b"\x1f\x8b", b"\xcc\x88", b"[1,1]"]
TABLE = (
    b"file_name,label,patient_id,x,y,w,h,reader,age,view\na.png,Nodule,P1,1,2,3,4,r1,50,PA\n"
    b"b.png,No Finding,P2,,,,,r1,061Y,AP\na.png,nodule|Mass,P1,5,6,7,8,r2,50,PA\n"
)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_mutated_table_is_read_or_refused_in_words(tmp_path: Path, kind: str) -> None:
    root = folder(tmp_path, "a.png B.PNG")
    parquet.write_table(pa.table({"file_name": ["a", "b"], "label": ["1", None], "x": [1.5, 2.0]}), root / "t.parquet")
    whole = TABLE if kind == "csv" else (root / "t.parquet").read_bytes()
    (root / "t.parquet").unlink()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(data)))
            if rng.random() < 0.4:
                data[at] = rng.integers(256)
            elif rng.random() < 0.5:
                data[at:at] = PIECES[rng.integers(len(PIECES))]
            else:
                del data[at : at + int(rng.integers(1, 9))]
        (root / f"t.{kind}").write_bytes(data)
        found = layouts.read(root, Options(layout="folder"))
        told = [*found.problems, *(str(over.reason) for over in found.passed_over)]
        assert not any(word in text for text in told for word in ("Error", "codec", "<class", "Traceback"))
        refused += bool(found.problems)
    assert (50 if kind == "csv" else 0) <= refused < 200


def test_a_workbook_of_images_is_refused_and_another_one_passed_over(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png")
    for text in ("file_name", "shift"):
        with zipfile.ZipFile(root / "list.xlsx", "w") as book:
            book.writestr("xl/sharedStrings.xml", f"<sst><si><t>{text}</t></si></sst>")
        if text == "file_name":
            assert "list.xlsx: a workbook (.xlsx or .ods), not text: in the spreadsheet choose" in problems(root)
    found, _ = read(root)
    assert "a workbook" in str(found.passed_over[0].reason)

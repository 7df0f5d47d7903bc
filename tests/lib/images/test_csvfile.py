"""Tables as people write them are read as text, or refused with what to do."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from stages.lib.images import columns, csvfile

TEXT = "Image Index,Finding Labels,Patient ID\n007.png,Nodule,NA\nb.png,Röntgen,1\n"
CHOOSE = "CSV UTF-8 (Comma delimited)"


def cells(path: Path) -> list[list[str]]:
    found = csvfile.table(path)
    assert not found.problems
    titles = {"file": columns.FILE, "label": columns.LABEL, "patient": columns.PATIENT}
    rows, problems = found.select({key: found.find(names) for key, names in titles.items()})
    assert not problems
    return [list(row.cells.values()) for row in rows]


WANTED = [["007.png", "Nodule", "NA"], ["b.png", "Röntgen", "1"]]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", TEXT.encode()),
        ("bom.csv", b"\xef\xbb\xbf" + TEXT.encode()),
        ("mac.csv", TEXT.replace("\n", "\r").encode()),
        ("a.tsv", TEXT.replace(",", "\t").encode()),
        ("a.csv.gz", gzip.compress(TEXT.encode(), mtime=0)),
        ("sep.csv", ("sep=;\n\n" + TEXT.replace(",", ";")).encode()),
        ("case.CSV", TEXT.replace("Image Index", "IMAGE-INDEX").replace("Patient ID", "patientid").encode()),
        # a comma inside the titles does not make it a table delimited by commas
        ("comma.csv", TEXT.replace(",", ";").replace("Patient ID", "Patient ID;Bbox [x,y,w,h]").encode()),
    ],
)
def test_a_table_is_read_as_text_whatever_its_form(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert cells(tmp_path / name) == WANTED


def test_a_table_of_parquet_is_read_as_the_csv_of_it(tmp_path: Path) -> None:
    # pandas makes floats of whole numbers with gaps
    table = pa.table({"file name": ["a", "b"], "LABEL": [True, None], "pid": [2.0, None], "x": [1.5, 2.0]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert cells(tmp_path / "t.parquet") == [["a", "true", "2"], ["b", "", ""]]
    found = csvfile.table(tmp_path / "t.parquet")
    rows, _ = found.select({"x": "x"})
    assert [found.where(row) for row in rows] == ["t.parquet row 1", "t.parquet row 2"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TEXT.encode("cp1252"), ["line 3, byte 63", "0xf6 ('ö' in cp1252)", CHOOSE]),
        (TEXT.encode("utf-16"), ["UTF-16", CHOOSE]),
        (TEXT.encode("utf-16-le"), ["UTF-16", CHOOSE]),
        (TEXT.encode("utf-16-be"), ["UTF-16", CHOOSE]),
        (b"PK\x03\x04workbook", ["a workbook (.xlsx or .ods), not text", CHOOSE]),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ["a workbook (.xls), not text", CHOOSE]),
        (b"", ["found no header"]),
        (b"\n\n", ["found no header"]),
    ],
)
def test_what_a_spreadsheet_wrote_otherwise_is_refused_with_what_to_choose(
    tmp_path: Path, data: bytes, words: list[str]
) -> None:
    (tmp_path / "labels.csv").write_bytes(data)
    (problem,) = csvfile.table(tmp_path / "labels.csv").problems
    assert problem.startswith("labels.csv: ") and all(word in problem for word in words), problem


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("file_name,label\na.png,No\0dule\n", "line 2: a NUL byte"),
        ("file_name,label\n" + "a" * 200_000 + ",1\n", "line 2: a cell of more than 131072 characters"),
        ('file_name,label\na.png,"1\n', "a quote is never closed"),
        ('file_name,label\n"a"b,1\n', "line 2: text after a closing quote"),
        ("File Name,file_name,label\na,b,1\n", "column 'File Name' occurs twice, as 'File Name' and 'file_name'"),
        ("file_name,label,label\na,1,0\n", "column 'label' occurs twice"),
    ],
)
def test_a_damaged_row_is_a_sentence(text: str, word: str) -> None:
    found = csvfile.parse_table(text, "t.csv")
    _, problems = found.select({"file": found.find(columns.FILE), "label": found.find(columns.LABEL)})
    assert any(word in problem for problem in problems), problems


def test_a_column_that_no_one_asks_for_may_occur_twice() -> None:
    found = csvfile.parse_table("file,label,,,\na,1,,,\n", "t.csv")
    rows, problems = found.select({"label": "label"})
    assert [row.cells for row in rows] == [{"label": "1"}] and not problems


@pytest.mark.parametrize(
    ("header", "row", "unit", "wanted"),
    [
        ("x,y", "3,4", "pixels", (3, 4, None, None)),
        ("x,y,w,h", "10,20,4,6", "pixels", (11.5, 22.5, 4, 6)),
        ("x_min,y_min,x_max,y_max", "10,20,14,26", "pixels", (11.5, 22.5, 4, 6)),
        ("xmin;ymin;xmax;ymax;width;height", "10;20;14;26;512;512", "pixels", (11.5, 22.5, 4, 6)),
        ("left,top,width,height", "10,20,4,6", "1024x1024", (11.5, 22.5, 4, 6)),
        ("center_x,center_y,width,height", "12,23,4,6", "pixels", (12, 23, 4, 6)),
        ("x,y,w,h", "0.25,0.5,0.5,0.25", "fraction", (0.5, 0.625, 0.5, 0.25)),
    ],
)
def test_a_box_becomes_its_centre_and_keeps_its_size(
    header: str, row: str, unit: str, wanted: tuple[float, ...]
) -> None:
    found = csvfile.parse_table(f"{header}\n{row}\n", "t.csv")
    how = columns.point_columns(found)
    assert how is not None
    rows, _ = found.select(how.titles)
    point = how.point(rows[0].cells, unit)
    assert not isinstance(point, str)
    assert (point.x, point.y, point.box_width_px, point.box_height_px) == wanted


@pytest.mark.parametrize(
    ("header", "row", "word"),
    [
        ("x,y", "3,", "at ('3', ''), wanted two numbers"),
        ("x,y,w,h", "3,4,0,1", "wanted a width and a height above 0"),
        ("x_min,y_min,x_max,y_max", "3,4,2,9", "wanted a right corner beyond the left one"),
        ("x,y,w,h", "3,4,nan,1", "wanted four numbers"),
    ],
)
def test_a_wrong_point_or_box_is_a_sentence(header: str, row: str, word: str) -> None:
    found = csvfile.parse_table(f"{header}\n{row}\n", "t.csv")
    how = columns.point_columns(found)
    assert how is not None
    point = how.point(found.select(how.titles)[0][0].cells, "pixels")
    assert isinstance(point, str) and word in point

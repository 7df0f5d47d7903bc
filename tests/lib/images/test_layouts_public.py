"""Data in the layouts of public data sets become the same tables as our own: labels, patients, points, context.

The data are drawn in those layouts; a point has to lie on the middle of the spot that was drawn.
"""

from pathlib import Path
from typing import Any

import pytest
from folders import folder_params
from public_data import NIH_ROWS, NIH_SPOTS, nih

from stages.data import ingest, split, split_file
from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lib.images import reading


class Data:
    """Tables of a drawn data folder, by image."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.params = folder_params(root, **changes)
        found = ingest.ingest(self.params)
        self.manifest = tables.check(found.manifest, tables.MANIFEST)
        self.files = {row["file_name"]: row for row in found.files.to_pylist()}
        self.rows = {row["image_id"]: row for row in found.manifest.to_pylist()}
        self.points = found.points.to_pylist()

    def of(self, *columns: str) -> list[tuple[Any, ...]]:
        """Cells of some columns, in the order of the images."""
        return [tuple(row[column] for column in columns) for row in self.rows.values()]

    def on_spots(self) -> int:
        """Number of points, after checking that each lies on the brightest pixel of its image."""
        for point in self.points:
            row = self.rows[point["image_id"]]
            pixels = reading.read_grey(row["path"], max_pixels=self.params.max_pixels).pixels
            assert pixels[int(point["y"]), int(point["x"])] == pixels.max()
            assert (point["x"] % 1, point["y"] % 1) == (0, 0)
        return len(self.points)


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as error:
        ingest.ingest(folder_params(root, **changes))
    return str(error.value)


def test_chestxray14_as_downloaded_has_labels_patients_and_context_of_its_own_tables(tmp_path: Path) -> None:
    data = Data(nih(tmp_path))
    assert data.of("image_id", "label", "patient_id", "patient_from", "view", "sex", "age_years") == [
        ("00000070_000", None, "nih-00000070", "table", "PA", "M", 58.0),
        ("00000070_001", 0, "nih-00000070", "table", "AP", "M", 58.0),
        ("00000071_000", 1, "nih-00000071", "table", "PA", "F", 58.0),
        ("00000071_001", 1, "nih-00000071", "table", "PA", "F", None),
        ("00000072_000", 0, "nih-00000072", "table", "PA", "F", 0.5),
    ]
    assert set(data.of("status", "source", "label_from")) == {("ok", "nih", "Data_Entry_2017_v2020.csv")}
    assert data.rows["00000070_000"]["problem"] == "no label: 'Cardiomegaly' in the table"
    assert data.rows["00000071_001"]["problem"].startswith("age_years '414', wanted")


def test_a_spacing_of_chestxray14_is_that_of_the_original_carried_over_to_the_image_as_stored(tmp_path: Path) -> None:
    data = Data(nih(tmp_path))
    spacings = {name: row["spacing_mm"] for name, row in data.rows.items()}
    assert spacings["00000070_000"] == pytest.approx(0.15 * 2560 / 64)
    assert spacings["00000071_001"] == pytest.approx(0.143 * 2682 / 64)  # 2682 x 2749: square to within 5 %
    assert spacings["00000071_000"] is None
    assert data.rows["00000071_000"]["notices"] == ["spacing"]
    assert "6.56 by 5.38 mm, not square" in data.rows["00000071_000"]["problem"]


def test_a_box_of_chestxray14_becomes_a_point_on_the_nodule_and_other_findings_none(tmp_path: Path) -> None:
    data = Data(nih(tmp_path))
    assert data.on_spots() == len(NIH_SPOTS)
    of_first = data.points[1]
    assert (of_first["x"], of_first["y"], of_first["box_width_px"], of_first["box_height_px"]) == (12, 50, 5, 5)
    assert of_first["diameter_mm"] == pytest.approx(5 * 0.143 * 2682 / 64)


def test_other_words_of_a_label_can_be_chosen(tmp_path: Path) -> None:
    data = Data(nih(tmp_path), positive_labels=["Cardiomegaly"], negative_labels=["no finding", "NODULE"])
    assert [label for (label,) in data.of("label")] == [1, 0, 0, None, 0]
    assert [(point["x"], point["y"]) for point in data.points] == [(13.0, 8.5)]


def test_a_part_of_the_folders_is_enough_and_what_is_not_there_is_counted(tmp_path: Path) -> None:
    root = nih(tmp_path)
    for path in (root / "images_002" / "images").iterdir():
        path.unlink()
    data = Data(root)
    assert list(data.rows) == ["00000070_000", "00000070_001", "00000071_000"]
    reason = data.files["Data_Entry_2017_v2020.csv"]["reason"]
    assert reason == "2 of 5 images are not in the folder: 00000071_001.png, 00000072_000.png"
    assert data.on_spots() == 1


def test_the_corrected_table_goes_before_the_first_one(tmp_path: Path) -> None:
    root = nih(tmp_path)
    old = (root / "Data_Entry_2017_v2020.csv").read_text().replace("No Finding", "Nodule")
    (root / "Data_Entry_2017.csv").write_text(old)
    data = Data(root)
    assert data.rows["00000070_001"]["label"] == 0
    assert data.files["Data_Entry_2017.csv"]["reason"] == "not read: Data_Entry_2017_v2020.csv is, in its place"
    (root / "Data_Entry_2017_v2020.csv").unlink()
    assert Data(root).rows["00000070_001"]["label"] == 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((NIH_ROWS[1], NIH_ROWS[1].replace("No Finding", "Nodule")), "listed before with another label"),
        ((*NIH_ROWS[:1], NIH_ROWS[0].replace(",70,", ",71,")), "listed before with another patient"),
        ((",No Finding,0,70,058Y,M,PA,2560,2560,0.15,0.15,",), "line 2: no file name"),
        ((NIH_ROWS[0] + "one,more",), "13 cells, the header has 12"),
    ],
)
def test_a_table_of_chestxray14_that_contradicts_itself_is_refused(
    tmp_path: Path, rows: tuple[str, ...], told: str
) -> None:
    assert told in refusal(nih(tmp_path, rows))


def test_a_wrong_box_or_a_missing_column_of_chestxray14_is_named(tmp_path: Path) -> None:
    root = nih(tmp_path)
    boxes = root / "BBox_List_2017.csv"
    boxes.write_text(boxes.read_text().replace("5.0,5.0", "0,x"))
    assert "BBox_List_2017.csv line 2: '00000071_000.png' in the box" in refusal(root)
    boxes.write_text("Image Index,Finding Label\n")
    assert "BBox_List_2017.csv: no column 'Bbox [x'; found Image Index, Finding Label" in refusal(root)
    (root / "Data_Entry_2017_v2020.csv").write_text("Image Index,Labels\n00000070_000.png,Nodule\n")
    assert "no column 'Finding Labels'; found Image Index, Labels" in refusal(root)


def test_a_layout_that_is_named_but_not_there_is_refused_with_the_table_that_is_wanted(tmp_path: Path) -> None:
    root = nih(tmp_path)
    (root / "Data_Entry_2017_v2020.csv").unlink()
    assert "no file Data_Entry_2017_v2020.csv" in refusal(root, layout="nih")


def test_the_official_test_list_of_chestxray14_is_a_split_file(tmp_path: Path) -> None:
    data = Data(nih(tmp_path))
    params = split.Params(fractions=(1, 0, 0), unit="patient", folds=0, fold=0, file="test_list.txt", seed=0)
    found = split.split(data.manifest, params, split_file.read(tmp_path / "test_list.txt")).to_pylist()
    assert {row["image_id"]: row["split"] for row in found} == {
        "00000070_001": "test",
        "00000071_000": "train",
        "00000071_001": "train",
        "00000072_000": "train",
    }

"""Data in the layouts of public data sets become the same tables as our own: labels, patients, points, context.

The data are drawn in those layouts; a point has to lie on the middle of the spot that was drawn.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from folders import folder_params
from pngs import png
from public_data import CLNDAT, NIH_ROWS, NIH_SPOTS, NODE21_ROWS, PADCHEST_ROWS, jsrt, nih, node21, padchest, vindr

from stages.data import ingest, split, split_file
from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lib.images import labels, layouts, readers, reading
from stages.lib.images.dataset import Point


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
    assert data.rows["00000070_000"]["problem"] == labels.notice("Cardiomegaly").text
    assert data.rows["00000071_001"]["problem"].startswith("age_years '414', wanted")


def test_a_spacing_of_chestxray14_is_that_of_the_original_carried_over_to_the_image_as_stored(tmp_path: Path) -> None:
    data = Data(nih(tmp_path))
    spacings = {name: row["spacing_mm"] for name, row in data.rows.items()}
    assert spacings["00000070_000"] == pytest.approx(0.15 * 2560 / 64)
    assert spacings["00000071_001"] == pytest.approx(0.143 * 2682 / 64)  # 2682 x 2749: square to within 5 %
    assert spacings["00000071_000"] is None
    assert "spacing" in data.rows["00000071_000"]["notices"]
    assert "6.56 by 5.38 mm, not square" in data.rows["00000071_000"]["problem"]


def test_a_box_of_chestxray14_becomes_a_point_on_the_nodule_and_other_findings_none(tmp_path: Path) -> None:
    data = Data(nih(tmp_path))
    assert data.on_spots() == len(NIH_SPOTS)
    of_first = data.points[1]
    assert (of_first["x"], of_first["y"], of_first["box_width_px"], of_first["box_height_px"]) == (12, 50, 5, 5)
    assert of_first["diameter_mm"] == pytest.approx(5 * 0.143 * 2682 / 64)


def test_boxes_of_chestxray14_on_resized_images_are_remarked_and_converted_if_the_size_is_named(tmp_path: Path) -> None:
    root = nih(tmp_path)
    told = "its points are taken as pixels of its 64x64; the data set has them on images of 1024x1024"
    assert told in Data(root).rows["00000071_000"]["problem"]
    boxes = root / "BBox_List_2017.csv"
    boxes.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000071_000.png,Nodule,608,304,80,80,,,\n")
    data = Data(root, points_unit="1024x1024")
    assert data.on_spots() == 1
    assert data.points[0]["box_width_px"] == 5
    assert data.rows["00000071_000"]["notices"] == ["spacing"]


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


def test_the_excerpt_of_chestxray14_on_kaggle_is_read_by_its_own_table(tmp_path: Path) -> None:
    root = nih(tmp_path)
    (root / "Data_Entry_2017_v2020.csv").unlink()
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImageWidth,"
        "OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
    )
    (root / "sample_labels.csv").write_text("\n".join([header, *(row.removesuffix(",") for row in NIH_ROWS)]))
    data = Data(root)
    assert [label for (label,) in data.of("label")] == [None, 0, 1, 1, 0]
    assert data.rows["00000070_000"]["spacing_mm"] == pytest.approx(0.15 * 2560 / 64)


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


def test_a_patient_of_chestxray14_whom_name_and_table_call_otherwise_is_remarked(tmp_path: Path) -> None:
    rows = (NIH_ROWS[0], NIH_ROWS[1].replace(",70,", ",71,"))
    data = Data(nih(tmp_path, rows), max_rejected=5)
    assert data.rows["00000070_001"]["patient_id"] == "nih-00000071"
    told = "its patient is nih-00000071 in the table, and nih-00000070 by its name"
    assert data.rows["00000070_001"]["problem"] == told


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


@pytest.mark.parametrize(
    ("rule", "of_images", "places"),
    [
        ("any", [1, 1, 0, None], [(20, 30), (50, 12), (33, 33)]),
        ("majority", [1, 0, 0, None], [(20, 30)]),
        ("all", [1, 0, 0, None], [(20, 30)]),
    ],
)
def test_three_readers_of_vindr_become_one_label_and_one_point_of_each_nodule(
    tmp_path: Path, rule: str, of_images: list[int | None], places: list[tuple[int, int]]
) -> None:
    data = Data(vindr(tmp_path), reader_rule=rule)
    assert data.of("image_id", "label") == list(zip(["aa01", "aa02", "aa03", "aa04"], of_images, strict=True))
    assert [(point["x"], point["y"]) for point in data.points] == places
    assert data.on_spots() == len(places)
    first = data.points[0]  # of boxes with sides of 5, 7 and 3 pixels
    assert (first["box_width_px"], first["box_height_px"]) == (5, 5)
    assert set(data.of("status", "source", "label_from")) == {("ok", "other", "annotations_train.csv")}
    assert data.rows["aa04"]["problem"] == labels.notice("Cardiomegaly").text
    assert not {"name", "table"} & {kind for (kinds,) in data.of("notices") for kind in kinds or ()}


def test_the_labels_of_vindr_are_read_from_the_table_of_a_column_per_class_too(tmp_path: Path) -> None:
    root = vindr(tmp_path)
    (root / "annotations_train.csv").unlink()
    (root / "test").mkdir()
    (root / "train" / "aa03.dicom").rename(root / "test" / "aa03.dicom")
    (root / "image_labels_train.csv").write_text(
        "image_id,rad_id,Cardiomegaly,Nodule/Mass,No finding\n"
        "aa01,R1,0,1,0\naa01,R2,1,1,0\naa01,R3,0,0,1\naa02,R1,0,1,0\naa02,R2,0,0,1\naa02,R3,0,0,1\naa09,R1,0,0,1\n"
    )
    (root / "image_labels_test.csv").write_text("image_id,Nodule/Mass,No finding\naa03,0,1\n")
    data = Data(root, reader_rule="majority")
    assert data.of("image_id", "label") == [("aa01", 1), ("aa02", 0), ("aa03", 0), ("aa04", None)]
    assert data.rows["aa04"]["problem"].startswith("no label: it is not in image_labels_train.csv")
    assert data.files["image_labels_train.csv"]["reason"] == "1 of 5 images are not in the folder: aa09"


def test_a_wrong_table_of_vindr_is_refused_with_all_its_problems(tmp_path: Path) -> None:
    root = vindr(tmp_path)
    table = root / "annotations_train.csv"
    whole = table.read_text()
    table.write_text(
        whole.replace("aa02,R1,Nodule/Mass,31,31,36,36", "aa02,R1,Nodule/Mass,31,31,30,x") + "\n,R1,Other,,,,"
    )
    told = refusal(root)
    assert "annotations_train.csv line 7: 'aa02' in the box ('31', '31', '30', 'x'), wanted four numbers" in told
    assert "no image_id" in told
    table.write_text(whole.replace("x_max", "xmaxi"))
    assert "annotations_train.csv: no column 'x_max'; found image_id" in refusal(root)
    table.unlink()
    assert "no file annotations_train.csv" in refusal(root, layout="vindr")
    (root / "image_labels_train.csv").write_text("image_id,Nodule/Mass,No finding\naa01,maybe,0\n")
    assert "image_labels_train.csv line 2: Nodule/Mass 'maybe', wanted 0 or 1" in refusal(root)


def test_boxes_mark_one_nodule_if_they_overlap_enough_or_one_has_the_centre_of_the_other() -> None:
    def box(x: float, width: float = 10) -> Point:
        return Point(x, 0, box_width_px=width, box_height_px=width)

    assert readers.same_nodule(box(0), box(5))  # its centre is on the side
    assert readers.same_nodule(box(0), box(5.3))  # 4.7 of 15.3: 0.307
    assert not readers.same_nodule(box(0), box(5.5))  # 4.5 of 15.5: 0.290
    assert readers.same_nodule(box(0, 40), box(19, 2))
    assert not readers.same_nodule(box(0), box(40))
    chain = {"a": [box(0), box(100)], "b": [box(4)], "c": [box(8)]}
    assert [(one.x, one.box_width_px) for one in readers.agreed(chain, 3, "all")[0]] == [(4, 10)]
    assert [one.x for one in readers.agreed(chain, 3, "any")[0]] == [4, 100]
    assert readers.agreed({"a": [box(0), box(1)], "b": [Point(3, 4)]}, 3, "majority") == ([Point(3, 4)], 2)


@pytest.mark.parametrize(
    ("rule", "fewest"),
    [("any", {1: 1, 2: 1, 3: 1}), ("majority", {1: 1, 2: 2, 3: 2, 4: 3}), ("all", {1: 1, 2: 2, 3: 3})],
)
def test_a_rule_wants_so_many_of_the_readers_and_no_fewer(rule: str, fewest: dict[int, int]) -> None:
    for number, wanted in fewest.items():
        assert [readers.enough(seen, number, rule) for seen in range(number + 1)].index(True) == wanted
        assert not readers.enough(0, number, rule)


def test_node21_has_a_point_for_each_row_with_a_nodule_and_none_for_the_others(tmp_path: Path) -> None:
    data = Data(node21(tmp_path))
    assert data.of("image_id", "label", "spacing_mm", "spacing_from", "status") == [
        ("c0001", 1, 0.3, "ElementSpacing", "ok"),
        ("n0001", 0, 0.3, "ElementSpacing", "ok"),
        ("n0002", 0, 0.3, "ElementSpacing", "ok"),
    ]
    assert [(point["x"], point["y"]) for point in data.points] == [(20, 30), (50, 12)]
    assert data.on_spots() == 2
    assert data.points[0]["diameter_mm"] == pytest.approx(1.5)
    assert data.of("notices") == [(["patient"],)] * 3  # a table of several rows for an image is as it should be


def test_a_box_of_node21_without_the_label_of_a_nodule_is_remarked(tmp_path: Path) -> None:
    data = Data(node21(tmp_path, (NODE21_ROWS[0].replace("0,0,0,0", "5,18,28,5"), *NODE21_ROWS[1:])))
    told = "cxr_images/metadata.csv line 2 has a box, but not the label of a nodule: the box is not taken"
    assert told in data.rows["n0001"]["problem"]
    assert data.on_spots() == 2


def test_node21_of_png_files_is_found_by_the_names_of_its_table(tmp_path: Path) -> None:
    root = node21(tmp_path)
    for path in (root / "cxr_images" / "images").iterdir():
        pixels = reading.read_grey(path, max_pixels=10_000).pixels
        path.with_suffix(".png").write_bytes(png(pixels))
        path.unlink()
    data = Data(root)
    assert data.of("file_name", "label") == [("c0001.png", 1), ("n0001.png", 0), ("n0002.png", 0)]
    assert data.on_spots() == 2


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((*NODE21_ROWS, "c0001.mha,0,0,0,0,0"), "listed before with another label"),
        (
            ("c0001.mha,1,5,18,28,0",),
            "line 2: 'c0001.mha' in the box ('18', '28', '0', '5'), wanted a width",
        ),
        ((",1,5,18,28,5",), "line 2: no file name"),
    ],
)
def test_a_wrong_table_of_node21_is_refused(tmp_path: Path, rows: tuple[str, ...], told: str) -> None:
    assert told in refusal(node21(tmp_path, rows))
    (tmp_path / "cxr_images" / "metadata.csv").write_text("img_name,label\nc0001.mha,1\n")
    assert "no file metadata.csv with the columns img_name, label, x" in refusal(tmp_path, layout="node21")


def test_jsrt_has_its_labels_and_patients_from_names_and_the_rest_from_its_tables(tmp_path: Path) -> None:
    data = Data(jsrt(tmp_path), max_pixels=5_000_000)
    assert data.of("image_id", "label", "patient_id", "patient_from", "view", "sex", "age_years", "status") == [
        ("JPCLN001", 1, "JPCLN001", "name", "PA", "M", 53.0, "ok"),
        ("JPCLN002", 1, "JPCLN002", "name", "PA", "F", None, "ok"),
        ("JPCNN001", 0, "JPCNN001", "name", "PA", "F", 71.0, "ok"),
    ]
    assert data.on_spots() == 2
    assert [(p["x"], p["y"], p["diameter_mm"]) for p in data.points] == [(1634, 692, 15.0), (20, 33, 30.0)]
    assert data.of("spacing_mm") == [(0.175,), (pytest.approx(0.175 * 32),), (pytest.approx(0.175 * 32),)]
    assert data.rows["JPCLN001"]["bit_depth"] == 12


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            CLNDAT.replace("1634", "left"),
            "line 1: 'JPCLN001.IMG' has the size and the place '15', 'left'",
        ),
        (CLNDAT.replace("\tFemale", "\t1614"), "'JPCLN002.IMG' has sex '1614', wanted one of F, M, other"),
        (CLNDAT.replace("JPC", "X"), "found no name of an image, wanted such as JPCLN001.IMG"),
        (CLNDAT.encode("utf-16").decode("latin-1"), "not plain text"),
    ],
)
def test_a_wrong_table_of_jsrt_is_refused(tmp_path: Path, table: str, told: str) -> None:
    root = jsrt(tmp_path)
    (root / "Nodule154images" / "JPCLN001.IMG").unlink()
    (root / "CLNDAT_EN.txt").write_bytes(table.encode("latin-1"))
    assert told in refusal(root)


@pytest.mark.parametrize("packed", [False, True])
def test_padchest_has_labels_of_lists_and_ages_of_two_years_and_leaves_lateral_views_out(
    tmp_path: Path, packed: bool
) -> None:
    data = Data(padchest(tmp_path, packed=packed), max_rejected=1)
    assert data.of("image_id", "label", "patient_id", "patient_from", "view", "sex", "age_years", "status") == [
        ("100_a", 1, "P1", "table", "PA", "F", 78.0, "ok"),
        ("100_b", 1, "P1", "table", "lateral", "F", 78.0, "rejected"),
        ("101_a", 0, "P2", "table", "AP", "M", 60.0, "ok"),
        ("102_a", None, "P3", "table", "AP", "other", None, "ok"),
        ("103_a", None, "P4", "table", "PA", "M", None, "ok"),
        ("104_a", 1, "P5", "table", "PA", "M", 50.0, "ok"),
    ]
    assert [row["problem"] for row in data.rows.values() if row["problem"]] == [
        "its Projection is L: a lateral view",
        labels.notice("pseudonodule").text,
        f"{labels.notice().text}; born in '2011.0', study of '20100101': no age from 0 to 120",
    ]
    assert {row["bit_depth"] for row in data.rows.values() if row["status"] == "ok"} == {16}
    assert Data(tmp_path, accept=["view"]).rows["100_b"]["status"] == "ok"
    (table,) = data.files.values()
    assert table["reason"] == "1 of 7 images are not in the folder: 105_a.png"


def test_a_list_of_labels_that_is_none_is_remarked_and_never_evaluated(tmp_path: Path) -> None:
    rows = (PADCHEST_ROWS[2].replace("['normal']", "[__import__('os')]"), PADCHEST_ROWS[5].replace("PA", "XX"))
    data = Data(padchest(tmp_path, rows))
    assert data.rows["101_a"]["problem"].startswith("no label: \"[__import__('os')]\" is no list of words")
    assert data.rows["104_a"]["problem"].startswith("Projection 'XX', wanted one of PA, AP, AP_horizontal, L")
    table = next(tmp_path.glob("*.csv"))
    table.write_text("ImageID,Findings\n101_a.png,normal\n")
    assert f"{table.name}: no column 'Labels'; found ImageID, Findings" in refusal(tmp_path)


SUBJECTS = ["label", "patient", "points", "spacing", "view", "sex", "age"]
DATA_MD = (Path(__file__).parents[3] / "workflow" / "docs" / "data.md").read_text()


def test_the_table_of_layouts_in_the_docs_says_what_each_layout_takes() -> None:
    lines = [line.strip("|").split("|") for line in DATA_MD.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert ["layout", *SUBJECTS] in cells
    for name in (*layouts.ORDER, "images"):
        takes = layouts.module(name).TAKES
        assert [f"`{name}`", *(takes.get(subject, "none") for subject in SUBJECTS)] in cells
        assert set(takes) <= set(SUBJECTS)


def test_the_parameters_in_the_docs_of_each_public_data_set_are_valid() -> None:
    blocks = [block.partition("```")[0] for block in DATA_MD.split("```yaml\n")[1:] if "ingest: {root" in block]
    found = [yaml.safe_load(block) for block in blocks]
    assert [one["data"]["ingest"]["layout"] for one in found] == ["nih", "vindr", "node21", "jsrt", "padchest"]
    for one in found:
        folder_params(**one["data"]["ingest"])
        source = layouts.module(one["data"]["ingest"]["layout"]).source("a.png")
        assert one["nodules"]["cohort"]["sources"] == [source]

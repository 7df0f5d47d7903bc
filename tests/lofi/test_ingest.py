"""A folder of images with reports becomes tables, or a report of all that is wrong with it."""

import json
import random
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lofi_folders import ingest_params, own, write_csv, write_images
from pngs import image, png

from stages.data import normalize
from stages.lib.core import shards, tables
from stages.lib.core.errors import DataError
from stages.lib.core.sentence_tables import BOXES, GIVEN_SPLIT, SENTENCES
from stages.lib.images.reports import pairs
from stages.lofi import ingest

SPLIT = [
    {"image": "a.png", "patient_id": "P1", "study_id": "S1", "split": "train", "view": "PA"},
    {"image": "b.png", "patient_id": "P2", "study_id": "S2", "split": "validation", "view": "AP"},
    {"image": "c.png", "patient_id": "P3", "study_id": "S3", "split": "test", "view": ""},
]


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as error:
        ingest.ingest(ingest_params(root, **changes))
    return str(error.value)


def test_the_own_layout_becomes_sentences_and_boxes_in_pixels_of_the_original(tmp_path: Path) -> None:
    boxes = [
        {"image": "a", "number": 0, "x0": 8, "y0": 4, "x1": 32, "y1": 24, "unit": "pixels", "reader": "first"},
        {"image": "a", "number": 0, "x0": 0.25, "y0": 0, "x1": 1, "y1": 0.5, "unit": "fraction", "reader": "second"},
    ]
    found = ingest.ingest(ingest_params(own(tmp_path, boxes=boxes, images=SPLIT)))
    rows = found.manifest.to_pylist()
    assert [(r["image_id"], r["patient_id"], r["study_id"], r["view"], r["status"]) for r in rows] == [
        ("a", "P1", "S1", "PA", "ok"),
        ("b", "P2", "S2", "AP", "ok"),
        ("c", "P3", "S3", None, "ok"),
    ]
    assert {(row["label"], row["source"], row["patient_from"]) for row in rows} == {(None, "other", "table")}
    first, second = found.sentences.to_pylist()[:2]
    assert first == {
        "image_id": "a",
        "number": 0,
        "text": "A nodule on the left.",
        "abnormal": True,
        "labels": ["nodule"],
        "in_report": True,
    }
    assert (second["abnormal"], second["labels"]) == (False, ["heart", "size"])
    assert [tuple(row.values()) for row in found.boxes.to_pylist()] == [
        ("a", 0, "first", 0, 8.0, 4.0, 32.0, 24.0),
        ("a", 0, "second", 0, 16.0, 0.0, 64.0, 24.0),
    ]
    assert tables.mapping(found.given_split, "split") == {"a": "train", "b": "val", "c": "test"}


def test_the_stage_of_the_data_normalizes_what_was_read(tmp_path: Path) -> None:
    own(tmp_path / "data")
    params = json.dumps({"lofi": {"ingest": asdict(ingest_params(tmp_path / "data"))}})
    named = {name: tmp_path / f"{name}.parquet" for name in ("manifest", "sentences", "boxes", "given_split")}
    options = [text for name, path in named.items() for text in (f"--{name.replace('_', '-')}", str(path))]
    ingest.main(["--params", params, *options])
    assert tables.read(named["sentences"], SENTENCES).num_rows == 6
    assert tables.read(named["boxes"], BOXES).num_rows == 3
    assert tables.read(named["given_split"], GIVEN_SPLIT).num_rows == 0
    section = {"low_percentile": 0.5, "high_percentile": 99.5, "side_px": 32}
    normalize.main(
        [
            *("--params", json.dumps({"data": {"normalize": section}}), "--manifest", str(named["manifest"])),
            *("--shard", "1-of-1", "--results", str(tmp_path), "--folder", str(tmp_path / "images")),
            *("--normalized", str(tmp_path / "normalized.parquet")),
        ]
    )
    assert tables.read(tmp_path / "normalized.parquet", tables.NORMALIZED)["image_id"].to_pylist() == ["a", "b", "c"]


def test_the_order_of_rows_changes_nothing_where_sentences_are_numbered(tmp_path: Path) -> None:
    sentences = [
        {"image": name, "number": number, "sentence": f"Sentence {number} of {name}."}
        for name in ("a.png", "b.png", "c.png")
        for number in range(4)
    ]
    boxes = [
        {"image": row["image"], "number": row["number"], "x0": 1 + k, "y0": 2, "x1": 30 - k, "y1": 20}
        for row in sentences
        for k in range(2)
    ]
    found = []
    for seed in range(3):
        for rows in (sentences, boxes, images := list(SPLIT)):
            random.Random(seed).shuffle(rows)
        own(tmp_path, sentences=sentences, boxes=boxes, images=images)
        found.append(ingest.ingest(ingest_params(tmp_path)))
    assert found[0] == found[1] == found[2]
    assert found[0].boxes.num_rows == 24


def test_without_a_number_the_order_of_the_rows_counts_and_a_report_is_split(tmp_path: Path) -> None:
    reports = ("Seen by Dr. Smith. 1.5 cm nodule.", "Old.")
    sentences = [{"image": "a.png", "report": report} for report in reports]
    own(tmp_path, names=["a.png"], sentences=sentences, boxes=[])
    found = ingest.ingest(ingest_params(tmp_path)).sentences.to_pylist()
    assert [(row["number"], row["text"]) for row in found] == [
        (0, "Seen by Dr. Smith."),
        (1, "1.5 cm nodule."),
        (2, "Old."),
    ]


def test_parquet_and_lists_of_labels_are_read_as_csv_is(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    write_images(tmp_path / "images", ["a.png"])
    text = {"image": ["a"], "number": [0.0], "sentence": ["A nodule."], "abnormal": [True], "labels": [["x", "y"]]}
    parquet.write_table(pa.table(text), tmp_path / "sentences.parquet")
    box = {"image": ["a.png"], "number": [0], "x0": [1.0], "y0": [2.5], "x1": [3.0], "y1": [9.0]}
    parquet.write_table(pa.table(box), tmp_path / "boxes.parquet")
    found = ingest.ingest(ingest_params(tmp_path))
    assert [(row["abnormal"], row["labels"]) for row in found.sentences.to_pylist()] == [(True, ["x", "y"])]
    assert found.boxes["y0"].to_pylist() == [2.5]


BAD_BOXES = {
    "outside": ((8, 4, 80, 24, "pixels"), "outside of the image by 16 pixels, wanted edges within its 64 x 48 pixels"),
    "pixels as fractions": ((8, 4, 32, 24, "fraction"), "in pixels, wanted fractions from 0 to 1, as its unit says"),
    "fractions as pixels": ((0.1, 0.2, 0.5, 1, "pixels"), "in fractions, wanted pixels of the original, as its unit"),
    "without area": ((8, 4, 8, 24, "pixels"), "without an area, wanted a right edge beyond the left one"),
    "NaN": ((8, "nan", 32, 24, "pixels"), "(8, nan, 32, 24) with an edge that is no number, wanted four numbers"),
    "nothing": ((8, "", 32, 24, "pixels"), "(8, nothing, 32, 24) with an edge that is no number, wanted four numbers"),
    "corners swapped": ((32, 4, 8, 24, "pixels"), "with its corners swapped, wanted left, top, right, bottom"),
    "outside in fractions": ((0.5, 0.5, 1.5, 0.75, "fraction"), "outside of the image by 32 pixels"),
    "beyond a border": ((64.5, 4, 64.9, 24, "pixels"), "outside of the image"),
}


def test_every_box_that_is_none_is_told_with_its_row_at_once(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(len(BAD_BOXES))]
    sentences = [{"image": name, "number": 0, "sentence": "A nodule."} for name in names]
    boxes = [
        dict(zip(("image", "number", "x0", "y0", "x1", "y1", "unit"), (name, 0, *edges), strict=True))
        for name, (edges, _) in zip(names, BAD_BOXES.values(), strict=True)
    ]
    text = refusal(own(tmp_path, names=names, sentences=sentences, boxes=boxes))
    assert f"{len(names)} of {len(names)} images rejected" in text
    for line, (name, (_, wanted)) in enumerate(zip(names, BAD_BOXES.values(), strict=True), 2):
        told = next(row for row in text.splitlines() if row.startswith(f"  - {name!r}: "))
        assert f"boxes.csv line {line}: found the box (" in told and wanted in told


def test_an_edge_that_rounding_put_outside_is_put_on_the_border(tmp_path: Path) -> None:
    boxes = [{"image": "a.png", "number": 0, "x0": -0.5, "y0": 0, "x1": 65, "y1": 48}]
    found = ingest.ingest(ingest_params(own(tmp_path, boxes=boxes))).boxes.to_pylist()
    assert [(row["x0"], row["y0"], row["x1"], row["y1"]) for row in found] == [(0.0, 0.0, 64.0, 48.0)]


def test_all_that_is_wrong_with_the_tables_is_told_at_once(tmp_path: Path) -> None:
    """A sentence without a report, a report without a sentence, an image without pixels, studies and patients twice."""
    sentences = [
        {"image": "a.png", "number": 0, "sentence": "A nodule.", "abnormal": "perhaps"},
        {"image": "a.png", "number": 0, "sentence": "Twice."},
        {"image": "a.png", "number": 1.5, "sentence": "Half."},
        {"image": "b.png", "number": 0, "sentence": ""},
        {"image": "gone.png", "number": 0, "sentence": "Without pixels."},
        {"image": "../up.png", "number": 0, "sentence": "Climbs."},
        {"image": "", "number": 0, "sentence": "Of nothing."},
    ]
    boxes = [
        {"image": "a.png", "number": 7, "x0": 1, "y0": 1, "x1": 9, "y1": 9, "unit": "mm", "reader": "third"},
        {"image": "a.png", "number": "x", "x0": 1, "y0": 1, "x1": 9, "y1": 9},
    ]
    images = [
        {"image": "a.png", "patient_id": "P1", "study_id": "S1", "split": "train"},
        {"image": "b.png", "patient_id": "P1", "study_id": "S1", "split": "test"},
        {"image": "c.png", "patient_id": "P2", "study_id": "S1", "split": "train"},
        {"image": "c.png", "patient_id": "P3", "study_id": "S4", "split": "train"},
        {"image": "gone.png", "patient_id": "P4", "study_id": "S5", "split": "later"},
    ]
    text = refusal(own(tmp_path, sentences=sentences, boxes=boxes, images=images))
    for wanted in (
        "sentences.csv line 2: abnormal 'perhaps', wanted true, false or nothing",
        "sentences.csv line 3: 'a.png': found sentence 0 twice, wanted each number once",
        "sentences.csv line 4: 'a.png': number '1.5', wanted a whole number from 0",
        "sentences.csv line 5: 'b.png': found no text, wanted a sentence",
        "sentences.csv line 8: found no image, wanted the name of a file",
        "boxes.csv line 2: 'a.png': unit 'mm', wanted pixels or fraction",
        "boxes.csv line 2: 'a.png': reader 'third', wanted first or second",
        "boxes.csv line 2: 'a.png': found a box of sentence 7, wanted a sentence of its report (0)",
        "boxes.csv line 3: found image 'a.png', number 'x', wanted the image and the number of its sentence",
        "images.csv line 5: 'c.png' is listed before (images.csv line 4), wanted one row of each image",
        "images.csv line 6: 'gone.png': split 'later', wanted train, val or test",
        "study 'S1' is in two splits or more: test (images.csv line 3), train (images.csv line 2), wanted one",
        "patient 'P1' is in two splits or more: test (images.csv line 3), train (images.csv line 2), wanted one",
        "study 'S1' is of two patients or more: 'P1' (images.csv line 2), 'P2' (images.csv line 4), wanted one",
        "'b.png': found no sentence of its report, wanted one or more",
        "'gone.png': found no such file, wanted a file below the folder for 1 sentence(s) of images.csv line 6",
        "'../up.png': unsafe name: found '../up.png', wanted a file below the folder",
    ):
        assert wanted in text, wanted


def test_an_image_of_which_nothing_is_said_is_rejected_and_the_others_are_taken(tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / "images" / "d.png").write_bytes(png(image(7)))
    (tmp_path / "images" / "e.png").write_bytes(b"<html>")
    sentences = [{"image": name, "sentence": "Fine."} for name in ("a.png", "b.png", "c.png", "e.png")]
    write_csv(tmp_path / "sentences.csv", sentences)
    assert "2 of 5 images rejected (lofi.ingest.max_rejected = 1)" in refusal(tmp_path, max_rejected=1)
    found = ingest.ingest(ingest_params(tmp_path, max_rejected=2))
    assert tables.mapping(found.manifest, "status")["d"] == "rejected"
    assert set(found.sentences["image_id"].to_pylist()) == {"a", "b", "c"}
    kinds = tables.mapping(found.manifest, "notices")
    assert kinds["d"] == ["report"] and kinds["e"] == ["unreadable"]


def test_a_split_of_some_images_alone_is_refused_but_for_those_that_are_rejected_anyway(tmp_path: Path) -> None:
    own(tmp_path, images=SPLIT[:2])
    wanted = "found no split of 1 of 3 images (images/c.png), wanted one of each image, or of none"
    assert wanted in refusal(tmp_path, max_rejected=3)
    (tmp_path / "images" / "c.png").unlink()
    assert ingest.ingest(ingest_params(tmp_path, max_rejected=1)).given_split.num_rows == 2


def test_a_lateral_view_takes_part_only_where_it_is_accepted(tmp_path: Path) -> None:
    images = [{"image": "a.png", "patient_id": "P", "view": "lateral"}]
    own(tmp_path, images=images)
    assert "'a.png': a lateral view, wanted PA or AP" in refusal(tmp_path)
    assert ingest.ingest(ingest_params(tmp_path, accept=("view",))).manifest["view"].to_pylist()[0] == "lateral"


def test_images_at_any_depth_are_found_by_any_spelling_and_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("images/x", "images/y"):
        write_images(tmp_path / folder, ["a.png"])
    (tmp_path / "images" / "y" / "a.png").write_bytes(png(image(9, dtype=np.uint16)))
    rows = [{"image": "x/a.png", "sentence": "One."}, {"image": "images/y/A", "sentence": "Other."}]
    write_csv(tmp_path / "sentences.csv", rows)
    assert ingest.ingest(ingest_params(tmp_path)).sentences["image_id"].to_pylist() == ["x__a", "y__a"]
    write_csv(tmp_path / "sentences.csv", [*rows, {"image": "a.png", "sentence": "Which?"}])
    assert "sentences.csv line 4: 'a.png' may be 'images/x/a.png' and 'images/y/a.png'" in refusal(tmp_path)


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / "images" / "x").mkdir()
    for name in ("x__a.png", "x/a.png"):
        (tmp_path / "images" / name).write_bytes(png(image(9)))
    wanted = "found 'images/x__a.png' and 'images/x/a.png' for the id 'x__a', wanted one: rename them"
    assert wanted in refusal(tmp_path)


def test_near_duplicates_are_one_group_and_studies_stand_for_unknown_patients(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    own(tmp_path, names=names, images=[{"image": name, "study_id": f"S{name}"} for name in names])
    (tmp_path / "images" / "11.png").write_bytes((tmp_path / "images" / "0.png").read_bytes())
    found = ingest.ingest(ingest_params(tmp_path))
    groups = tables.mapping(found.manifest, "duplicate_group")
    assert groups["0"] == groups["11"] == "0" and groups["1"] is None
    assert set(found.manifest["patient_from"].to_pylist()) == {"study"}
    assert found.duplicates.num_rows == 1


def test_a_folder_that_is_none_says_what_is_wanted(tmp_path: Path) -> None:
    assert "found no such folder, wanted a folder of images with reports" in refusal(tmp_path / "absent")
    write_images(tmp_path, ["a.png"])
    assert "found no table of sentences or reports; wanted sentences.csv (or .parquet)" in refusal(tmp_path)
    assert "found no sentences.csv in" in refusal(tmp_path, layout="pairs")
    write_csv(tmp_path / "sentences.csv", [{"picture": "a.png", "said": "x"}])
    text = refusal(tmp_path)
    assert "sentences.csv: no column 'image'; found picture, said" in text and "no column 'sentence'" in text


def test_the_tables_of_the_documentation_are_read_as_it_says(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "workflow" / "docs" / "lofi.md").read_text()
    blocks = dict(re.findall(r"`(\w+\.csv)`:\n\n```csv\n(.*?)```", text, flags=re.DOTALL))
    assert set(blocks) == {"sentences.csv", "boxes.csv", "images.csv"}
    for name, table in blocks.items():
        (tmp_path / name).write_text(table)
    for number, name in enumerate(("p1/a.png", "p2/b.png")):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(png(image(number, width=1400, height=1500)))
    found = ingest.ingest(ingest_params(tmp_path, max_pixels=10_000_000))
    assert [(row["image_id"], row["number"]) for row in found.sentences.to_pylist()] == [
        ("p1__a", 0),
        ("p1__a", 1),
        ("p2__b", 0),
    ]
    edges = [[row[edge] for edge in ("x0", "y0", "x1", "y1")] for row in found.boxes.to_pylist()]
    assert edges[0] == [1210, 1400, 1302, 1496] and edges[1] == pytest.approx([84, 915, 490, 1395])
    assert tables.mapping(found.given_split, "split") == {"p1__a": "train", "p2__b": "test"}


def test_every_column_that_is_read_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "workflow" / "docs" / "lofi.md").read_text()
    for names in (pairs.SENTENCE, pairs.REPORT, pairs.NUMBER, pairs.ABNORMAL, pairs.LABELS, pairs.SPLIT, pairs.UNIT):
        assert f"`{names[0]}`" in text
    for name in (*pairs.EDGES, "image", "patient_id", "study_id", "view", "reader"):
        assert f"`{name}`" in text


def test_a_shard_of_the_manifest_is_as_that_of_the_data(tmp_path: Path) -> None:
    found = ingest.ingest(ingest_params(own(tmp_path)))
    assert sum(shards.take(found.manifest, f"{k}-of-2").num_rows for k in (1, 2)) == 3

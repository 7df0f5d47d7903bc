"""PadChest-GR is read as it is given out: unpacked, or an archive in 37 parts."""

import json
from pathlib import Path
from typing import Any

import pytest
from lofi_folders import ingest_params, padchest_gr, padchest_master, padchest_report

from stages.data import normalize
from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lofi import ingest


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as error:
        ingest.ingest(ingest_params(root, terms="credentialed", **changes))
    return str(error.value)


@pytest.mark.parametrize(("parts", "zipped"), [(0, False), (1, True), (37, False)])
def test_the_archive_in_parts_and_the_unpacked_folder_are_the_same_data(
    tmp_path: Path, parts: int, zipped: bool
) -> None:
    root = padchest_gr(tmp_path, parts=parts, zipped_table=zipped)
    found = ingest.ingest(ingest_params(root, terms="credentialed"))
    rows = found.manifest.to_pylist()
    assert [(r["image_id"], r["patient_id"], r["study_id"], r["sex"], r["bit_depth"]) for r in rows] == [
        (str(number), f"P{number}", f"S{number}", "F", 16) for number in range(3)
    ]
    assert tables.mapping(found.given_split, "split") == {"0": "train", "1": "val", "2": "test"}
    sentences = found.sentences.to_pylist()
    assert [(row["text"], row["abnormal"], row["labels"], row["in_report"]) for row in sentences[:2]] == [
        ("Nodule 0 in the left lung.", True, ["nodule"], True),
        ("Normal heart.", False, [], True),
    ]
    assert [tuple(row.values()) for row in found.boxes.to_pylist()[:3]] == [
        ("0", 0, "first", 0, 16.0, 12.0, 32.0, 24.0),
        ("0", 0, "first", 1, 32.0, 24.0, 48.0, 36.0),
        ("0", 0, "second", 0, 16.0, 12.0, 32.0, 36.0),
    ]


def test_an_image_of_the_archive_is_normalized_as_its_file_is(tmp_path: Path) -> None:
    made = {}
    for name, parts in (("packed", 4), ("unpacked", 0)):
        root = padchest_gr(tmp_path / name, parts=parts)
        images = ingest.ingest(ingest_params(root, terms="credentialed")).manifest
        params = normalize.Params(low_percentile=0.5, high_percentile=99.5, side_px=32)
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        made[name] = normalize.normalize(images, params, results=tmp_path, folder=folder)
        assert len(list(folder.iterdir())) == 3
    assert made["packed"].drop_columns("png") == made["unpacked"].drop_columns("png")
    for row in images.to_pylist():
        packed, plain = (tmp_path / "results" / name / f"{row['image_id']}.png" for name in made)
        assert packed.read_bytes() == plain.read_bytes()


def test_the_layout_is_told_by_its_files_and_its_terms_are_not_open(tmp_path: Path) -> None:
    padchest_gr(tmp_path)
    with pytest.raises(DataError, match=r"layout padchest_gr are given out .* lofi\.ingest\.terms is open"):
        ingest.ingest(ingest_params(tmp_path))


def test_a_missing_part_of_the_archive_is_named_with_all_else(tmp_path: Path) -> None:
    padchest_gr(tmp_path, parts=5)
    (tmp_path / "PadChest_GR.zip.002").unlink()
    text = refusal(tmp_path)
    assert "PadChest_GR.zip: the part(s) 002 are missing, found 4 parts up to 005" in text
    assert "'0.png': found no such file" in text
    padchest_gr(tmp_path, parts=5)
    (tmp_path / "PadChest_GR.zip.005").unlink()
    assert "PadChest_GR.zip.001: no ZIP archive, or its end is missing" in refusal(tmp_path)


def test_all_that_is_wrong_is_told_at_once_with_file_entry_found_and_wanted(tmp_path: Path) -> None:
    reports = [padchest_report(number) for number in range(7)]
    reports[0]["findings"][0]["boxes"] = [[10, 20, 30, 40], [0.1, 0.2, None, 0.4], 7, [0.5, 0.1, 0.2, 0.4]]
    reports[1]["findings"] = []
    reports[2]["findings"][0] = {"sentence_es": "Nada."}
    reports[3]["findings"][0].update(abnormal="yes", labels="nodule")
    reports[4]["findings"] = None
    reports[5]["ImageID"] = "unlisted.png"
    reports += [{"StudyID": "S"}, padchest_report(6)]
    master = padchest_master(7)
    master[4]["split"], master[9]["PatientID"], master[12]["StudyID"] = "later", "P0", "other"
    master[13]["StudyID"] = "other"
    text = refusal(padchest_gr(tmp_path, reports=reports, master=master, count=7))
    name = "grounded_reports_20240819.json"
    for wanted in (
        f"{name}/0: '0.png', findings/0/boxes/0: found the box (10, 20, 30, 40) in pixels, wanted fractions",
        f"{name}/0: '0.png', findings/0/boxes/1: found the box (0.1, 0.2, null, 0.4) with an edge that is no number",
        f"{name}/0: '0.png', findings/0/boxes/2: found the box (7) with an edge that is no number, wanted four numbers",
        f"{name}/0: '0.png', findings/0/boxes/3: found the box (0.5, 0.1, 0.2, 0.4) with its corners swapped",
        "'1.png': found no sentence of its report",
        f'{name}/2: \'2.png\', findings/0: found {{"sentence_es": "Nada."}}, wanted an object with a text sentence_en',
        f"{name}/3: '3.png', findings/0: abnormal \"yes\", wanted true or false",
        f"{name}/3: '3.png', findings/0: labels \"nodule\", wanted a list of words",
        f"{name}/4: findings: found nothing, wanted a list",
        "'unlisted.png': found no such file",
        "master_table.csv has no row of it, wanted its patient and its split",
        f'{name}/7: found {{"StudyID": "S"}}, wanted an object with ImageID, StudyID and findings',
        f"{name}/8: '6.png' has a report before ({name}/6), wanted one report",
        "master_table.csv line 6: '2.png': split 'later', wanted train, validation or test",
        "master_table.csv line 7: '2.png' has split 'test', in master_table.csv line 6 'later': wanted one",
        "master_table.csv line 11: '4.png' has PatientID 'P0', in master_table.csv line 10 'P4': wanted one",
        "master_table.csv line 14: '6.png': found the study 'other', wanted 'S6', as in",
    ):
        assert wanted in text, f"{wanted}\n{text}"


def test_half_of_a_character_is_told_and_not_written(tmp_path: Path) -> None:
    reports = [padchest_report(number) for number in range(3)]
    reports[1]["findings"][0]["labels"] = ["nod\ud800ule"]
    root = padchest_gr(tmp_path)
    (root / "grounded_reports_20240819.json").write_text(json.dumps(reports))
    assert "master_table.csv line 4: found half of a character in a text or id, wanted UTF-8 text" in refusal(root)


def test_a_patient_in_two_splits_of_the_master_table_is_refused(tmp_path: Path) -> None:
    master = padchest_master(3)
    for row in master:
        row["PatientID"] = "P"
    text = refusal(padchest_gr(tmp_path, master=master))
    assert (
        "patient 'P' is in two splits or more: test (master_table.csv line 6), train (master_table.csv line 2)" in text
    )


def test_what_is_missing_altogether_is_named(tmp_path: Path) -> None:
    padchest_gr(tmp_path)
    (tmp_path / "master_table.csv").unlink()
    assert "found no master_table.csv in" in refusal(tmp_path)
    (tmp_path / "grounded_reports_20240819.json").write_text("{}")
    assert "grounded_reports_20240819.json: found {}, wanted a list of one object or more" in refusal(tmp_path)
    (tmp_path / "grounded_reports_20240819.json").unlink()
    assert "found no grounded_reports_*.json" in refusal(tmp_path, layout="padchest_gr")
    (tmp_path / "master_table.csv.zip").write_bytes(b"PK")
    assert "master_table.csv.zip: found master_table.csv.zip: no ZIP archive" in refusal(tmp_path, layout="padchest_gr")

"""MIMIC-CXR is read with the reports, boxes and qualities that other data sets add to it."""

from pathlib import Path
from typing import Any

import pytest
from lofi_folders import (
    ingest_params,
    mimic,
    mimic_annotation,
    mimic_answers,
    mimic_ids,
    pair_params,
)
from pngs import image, png

from stages.lib.core import tables
from stages.lib.core.errors import DataError
from stages.lofi import ingest, pair

IDS = [mimic_ids(number) for number in range(5)]


def read(root: Path, **changes: Any) -> ingest.Ingested:
    return ingest.ingest(ingest_params(root, terms="credentialed", **changes))


def refusal(root: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as error:
        read(root, **changes)
    return str(error.value)


@pytest.mark.parametrize(("zipped", "listed"), [(False, False), (True, True)])
def test_reports_splits_and_boxes_come_together(tmp_path: Path, zipped: bool, listed: bool) -> None:
    found = read(mimic(tmp_path, zipped=zipped, listed=listed))
    rows = found.manifest.to_pylist()
    assert [(r["image_id"], r["patient_id"], r["study_id"], r["view"]) for r in rows] == [
        (one["image"], one["patient"], one["study"], "PA") for one in IDS[:3]
    ]
    assert list(tables.mapping(found.given_split, "split").values()) == ["train", "val", "test"]
    sentences = [row for row in found.sentences.to_pylist() if row["image_id"] == IDS[0]["image"]]
    assert [(row["text"], row["in_report"]) for row in sentences] == [
        ("The heart is normal.", True),
        ("A nodule in the left lung, seen by Dr. Smith.", True),
        ("There is a nodule in the left lung.", False),
    ]
    boxes = [tuple(row.values()) for row in found.boxes.to_pylist()]
    assert boxes[:2] == [(IDS[0]["image"], 2, "first", box, 8.0, 4.0, 32.0, 24.0) for box in range(2)]


def test_equal_boxes_of_repeated_answers_are_fused_and_their_sentence_is_in_no_part(tmp_path: Path) -> None:
    found = read(mimic(tmp_path))
    args = found.manifest, found.sentences, found.boxes, found.given_split
    pairs = pair.pair(*args, pair_params(fusion_iou=0.1)).to_pylist()
    assert [(row["part"], row["boxes"]) for row in pairs[:3]] == [(0, []), (0, []), (None, [[8.0, 4.0, 32.0, 24.0]])]


def test_of_several_images_of_a_study_the_best_outlined_is_taken(tmp_path: Path) -> None:
    """Three images of one study, one of another below the least quality, one of a third without any."""
    split = [
        {"dicom_id": one["image"], "study_id": study, "subject_id": study, "split": "train"}
        for one, study in zip(IDS, ("S", "S", "S", "T", "U"), strict=True)
    ]
    quality = dict(zip((one["image"] for one in IDS), (0.8, 0.95, "nan", 0.69), strict=False))
    root = mimic(tmp_path, count=5, split=split, quality=quality, answers=[])
    assert read(root).manifest["image_id"].to_pylist() == [IDS[1]["image"]]
    least = read(root, min_quality=0.69).manifest["image_id"].to_pylist()
    assert least == [IDS[1]["image"], IDS[3]["image"]]
    assert len(read(root, min_quality=0.0).manifest) == 3


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    annotations = [
        mimic_annotation(0),
        mimic_annotation(1, generate_method="rule-based"),
        mimic_annotation(2, view="LATERAL"),
        mimic_annotation(3, conversations=[{"value": "?"}, {"value": " "}]),
        mimic_annotation(4),
        mimic_annotation(9),
    ]
    root = mimic(tmp_path, count=5, annotations=annotations)
    next(root.rglob(f"{IDS[4]['image']}.png")).unlink()
    with caplog.at_level("INFO"):
        found = read(root)
    assert found.manifest["image_id"].to_pylist() == [IDS[0]["image"]]
    for wanted in (
        "1 reports that were not extracted by gpt4",
        "1 reports of another view than PA or AP",
        "1 reports without findings",
        "1 studies whose image is not in the folder",
        "1 images that mimic-cxr-2.0.0-split.csv does not name",
        "1 questions that the report does not answer",
        "1 questions of another grade",
        "2 answers that are not positive or not from the report",
        "1 answers without a box on the image",
    ):
        assert f"ingest: left out: {wanted}" in caplog.text, wanted


def test_a_report_without_a_positive_label_is_normal_and_may_be_thinned(tmp_path: Path) -> None:
    labels = [{"No Finding": 1.0, "Support Devices": 1.0}, {"Edema": 1.0}, None]
    annotations = [mimic_annotation(n, chexpert_labels=one) for n, one in enumerate(labels)]
    found = read(mimic(tmp_path, annotations=annotations, answers=[]))
    said = {row["image_id"]: row["abnormal"] for row in found.sentences.to_pylist()}
    assert list(said.values()) == [False, None, None]


def test_grades_are_wanted_by_a_list_or_by_their_codes(tmp_path: Path) -> None:
    root = mimic(tmp_path, listed=True)
    assert read(root).boxes.num_rows == 6
    assert "found no metadata/A and no quality_mappings.csv" in refusal(root, grades=("A",))
    (root / "exports" / "A_frontal" / "metadata" / "App").write_text("other\n1\n")
    assert "exports/A_frontal/metadata/App: no column 'question_id'; found other" in refusal(root)
    (root / "exports" / "A_frontal" / "metadata" / "App").unlink()
    (root / "quality_mappings.csv").write_text("a,b\n1,2\n")
    assert "quality_mappings.csv: no column 'code'; found a, b" in refusal(root)
    (root / "quality_mappings.csv").write_text("value,rating\n1,A++\n4,B\n")
    found = read(root, grades=())  # the same text once more
    assert found.boxes.num_rows == 9 and set(found.boxes["number"].to_pylist()) == {2}
    found = read(root)  # the poor question is the good one now
    assert found.boxes.num_rows == 3 and set(found.boxes["number"].to_pylist()) == {2}


def test_all_that_is_wrong_is_told_at_once_with_file_entry_found_and_wanted(tmp_path: Path) -> None:
    annotations: list[Any] = [mimic_annotation(number) for number in range(4)]
    annotations[1]["conversations"] = [{"value": "only a question"}]
    annotations[2] = {"id": 7}
    answers = [mimic_answers(0, [(0.1, 0.2, 0.5, 0.6), (8, 4, 99, 24)]), mimic_answers(3, [(1, 2, 3)])]
    split = [
        {"dicom_id": one["image"], "study_id": one["study"], "subject_id": "1", "split": name}
        for one, name in zip(IDS[:4], ("train", "test", "test", "later"), strict=True)
    ]
    text = refusal(mimic(tmp_path, count=4, annotations=annotations, answers=answers, split=split))
    train = "chat_train_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
    where = f"qa/p10/p{IDS[0]['patient']}/s{IDS[0]['study']}.qa.json: question 'q0', answer 0/bboxes"
    for wanted in (
        f"{train}/1: 'mimic/p10/p10000001/s50000001/{IDS[1]['image']}.jpg': conversations: found",
        "wanted a second one with a text",
        f'{train}/2: found {{"id": 7}}, wanted an object with image, view and conversations',
        f"mimic-cxr-2.0.0-split.csv.gz line 5: '{IDS[3]['image']}': split 'later', wanted train, validate or test",
        f"{where}/0: found the box (0.1, 0.2, 0.5, 0.6) in fractions, wanted pixels of the original",
        f"{where}/1: found the box (8, 4, 99, 24) outside of the image by 35 pixels",
        "found the box (1, 2, 3) with an edge that is no number, wanted four numbers",
    ):
        assert wanted in text, f"{wanted}\n{text}"


def test_a_patient_in_two_official_splits_is_refused(tmp_path: Path) -> None:
    split = [
        {"dicom_id": one["image"], "study_id": one["study"], "subject_id": "1", "split": name}
        for one, name in zip(IDS[:2], ("train", "test"), strict=True)
    ]
    text = refusal(mimic(tmp_path, count=2, split=split))
    assert "patient '1' is in two splits or more: test (mimic-cxr-2.0.0-split.csv.gz line 3), train" in text


def test_what_is_missing_altogether_is_named(tmp_path: Path) -> None:
    root = mimic(tmp_path)
    (root / "OriginalResolution" / "MIMIC-CXR-JPG.csv").unlink()
    wanted = "wanted CheXmask's OriginalResolution/MIMIC-CXR-JPG.csv, or lofi.ingest.min_quality 0"
    assert wanted in refusal(root)
    assert len(read(root, min_quality=0.0).manifest) == 3
    (root / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    assert "wanted the official patients, studies and splits" in refusal(root)
    (root / "mimic-cxr-2.0.0-split.csv").write_text("dicom_id,study_id\n")
    assert "mimic-cxr-2.0.0-split.csv: no column 'subject_id'" in refusal(root)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    root = mimic(tmp_path)
    study = next(root.rglob(f"s{IDS[0]['study']}.qa.json"))
    study.write_text("{")
    next(root.rglob(f"s{IDS[1]['study']}.qa.json")).write_text('{"questions": [7, {"answers": [{"text": 1}]}]}')
    next(root.rglob(f"s{IDS[2]['study']}.qa.json")).write_text("[]")
    (root / "OriginalResolution" / "MIMIC-CXR-JPG.csv").write_text("dicom_id,Dice\nx,1\n")
    (root / "exports" / "other.zip").write_bytes(b"PK")
    text = refusal(root)
    for wanted in (
        f"s{IDS[0]['study']}.qa.json: found no JSON",
        f"s{IDS[2]['study']}.qa.json: found [], wanted an object with questions",
        "qa.json: found 7, wanted a question with answers",
        "OriginalResolution/MIMIC-CXR-JPG.csv: found dicom_id, Dice, wanted a column 'Dice RCA (Mean)' and one of",
        "exports/other.zip: found other.zip: no ZIP archive, or damaged, wanted a whole ZIP archive",
    ):
        assert wanted in text, f"{wanted}\n{text}"


def test_the_order_of_entries_and_rows_changes_nothing(tmp_path: Path) -> None:
    annotations = [mimic_annotation(number) for number in range(4)]
    plain = read(mimic(tmp_path / "a", count=4, annotations=annotations))
    turned = read(mimic(tmp_path / "b", count=4, annotations=annotations[::-1]))
    assert plain.sentences == turned.sentences and plain.boxes == turned.boxes
    assert plain.given_split == turned.given_split


def test_images_in_a_folder_of_their_own_are_found_whatever_their_ending(tmp_path: Path) -> None:
    root = mimic(tmp_path)
    path = next(root.rglob(f"{IDS[0]['image']}.png"))
    path.unlink()
    (root / f"{IDS[0]['image']}.jpg").write_bytes(png(image(0)))
    assert read(root).manifest["image_id"].to_pylist() == [one["image"] for one in IDS[:3]]

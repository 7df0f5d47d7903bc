"""Whether a study can be made of the images is known before any of them is normalized."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stages.data import check
from stages.lib.core import documents, tables
from stages.lib.core.errors import DataError
from stages.lib.metrics.cohort import CohortParams

NIH = CohortParams(sources=("nih",))


def manifest(*images: tuple[str, int | None], **changes: Any) -> pa.Table:
    """Usable images of a source and a label each."""
    rows = [
        {"image_id": f"i{n}", "file_name": f"i{n}.png", "path": f"i{n}.png", "source": source, "patient_id": f"i{n}"}
        | {"label": label, "status": "ok"}
        | changes
        for n, (source, label) in enumerate(images)
    ]
    return tables.from_rows(rows, tables.MANIFEST)


def test_labelled_images_of_both_classes_are_counted_by_source(tmp_path: Path) -> None:
    table = manifest(("nih", 1), ("nih", 0), ("nih", 0), ("lidc", 1), ("nih", None))
    tables.write(tmp_path / "manifest.parquet", table, tables.MANIFEST)
    options = ["--manifest", str(tmp_path / "manifest.parquet"), "--check", str(tmp_path / "check.json")]
    check.main(["--params", '{"nodules": {"cohort": {"sources": ["nih"]}}}', *options])
    found = documents.read(tmp_path / "check.json", check.Check)
    assert found == check.check(table, NIH)
    assert (found.positive, found.negative, found.unlabelled) == ({"lidc": 1, "nih": 1}, {"nih": 2}, {"nih": 1})
    assert (found.rejected, found.patients_unknown) == ({}, 4)


@pytest.mark.parametrize(
    ("images", "changes", "words"),
    [
        ([("other", None)] * 5, {}, ["none of 5 images is labelled", "classification_labels.csv", "snakemake predict"]),
        ([("nih", None)] * 5, {"label_from": "l.csv"}, ["none of 5 images has a label in l.csv", "positive_labels"]),
        ([("nih", 1), ("nih", 0)], {"status": "rejected"}, ["all 2 labelled images are rejected"]),
        ([("nih", 1), ("nih", 1)], {}, ["labelled without a nodule", "nih (2 with a nodule, 0 without)"]),
        ([("nih", 0)], {}, ["labelled with a nodule"]),
        ([("other", 1), ("other", 0)], {}, ["sources is [nih]", "found other (1 with a nodule, 1 without)"]),
        ([("nih", 1), ("lidc", 0)], {}, ["no image of them is labelled without"]),
    ],
)
def test_where_no_study_can_be_made_the_sentence_helps(images: Any, changes: Any, words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        check.check(manifest(*images, **changes), NIH)
    for word in words:
        assert word in str(error.value)

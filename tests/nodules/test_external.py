"""External data: measured with what the study chose, and refused if the study was made from them."""

import json
from pathlib import Path

import fake_study
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stages.lib.core import documents, tables
from stages.lib.core.errors import TableError
from stages.lib.metrics import binary, curves, measures
from stages.lib.metrics.measures import Key, Subject
from stages.lib.report.blocks import Heading, Section, Table
from stages.nodules import measure, section
from stages.nodules.external import External, problems, warnings

SUBSET = "external/hospital_b"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_study.write(tmp_path_factory.mktemp("study"))


def put(table: pa.Table, name: str, values: pa.Array | list | None) -> pa.Table:
    place = table.column_names.index(name)
    given = pa.nulls(len(table), table.schema.field(name).type) if values is None else values
    return table.set_column(place, table.schema.field(name), pa.array(given, table.schema.field(name).type))


def elsewhere(study: Path, folder: Path, patients: str = "there-", pixels: str = "there-") -> list[str]:
    """Options for the study's own images as if they were of other patients, without a split or labels in the scores."""
    there = folder / "hospital_b"
    manifest = tables.read(study / "manifest.parquet", tables.MANIFEST)
    manifest = put(manifest, "patient_id", [patients + name for name in manifest["patient_id"].to_pylist()])
    hashes = [None if name is None else pixels + name for name in manifest["pixel_sha256"].to_pylist()]
    tables.write(there / "manifest.parquet", put(manifest, "pixel_sha256", hashes), tables.MANIFEST)
    for model in fake_study.MODELS:
        infer = put(put(tables.read(study / f"infer/{model}.parquet", tables.INFER), "split", None), "label", None)
        tables.write(there / f"infer/{model}.parquet", infer, tables.INFER)
    scores = [str(there / f"infer/{model}.parquet") for model in fake_study.MODELS]
    return ["--external-manifest", str(there / "manifest.parquet"), "--external-infer", *scores]


def test_external_data_are_measured_with_the_calibration_and_thresholds_of_the_study(
    study: Path, tmp_path: Path
) -> None:
    measure.main([*fake_study.measure_options(study, fake_study.LOCALIZED), *elsewhere(study, tmp_path)])
    found = measures.from_table(tables.read(study / "measures.parquet", tables.MEASURES))["nodules"]
    there = found[Subject("classification", "tuned", SUBSET)]
    infer = tables.read(study / "infer/tuned.parquet", tables.INFER)  # every image, whatever its split
    infer = infer.filter(pc.is_valid(infer["label"]))
    labels, scores = (infer[name].to_numpy() for name in ("label", "score_calibrated"))
    assert there[Key("roc_auc")].n == len(labels)
    assert there[Key("roc_auc")].value == pytest.approx(binary.Ranking(labels, scores).roc_auc(np.ones(len(labels))))
    sensitivity = there[Key("sensitivity", "youden")]
    assert (
        sensitivity.threshold
        == found[Subject("classification", "tuned", "test")][Key("sensitivity", "youden")].threshold
    )
    assert sensitivity.value == pytest.approx((scores[labels == 1] >= sensitivity.threshold).mean())
    assert sensitivity.known_low is not None  # the interval beside redraws validation patients, too
    assert Key("roc_auc") in found[Subject("comparison", "tuned", SUBSET, "zero_shot")]
    assert {one.subset for one in curves.from_table(tables.read(study / "curves.parquet", tables.CURVES))} >= {SUBSET}
    split = tables.read(study / "outcomes.parquet", tables.OUTCOMES)["split"]
    assert split.null_count == 0  # outcomes are of the study's own images
    section.main(fake_study.section_options(study, fake_study.LOCALIZED))
    (part,) = [p for p in documents.read(study / "section.json", Section).parts if p.name == "classification"]
    assert "External data: Hospital b" in [block.title for block in part.blocks if isinstance(block, Heading)]
    assert f"classification.{SUBSET}" in [block.name for block in part.blocks if isinstance(block, Table)]


@pytest.mark.parametrize(
    ("patients", "pixels", "message"),
    [
        ("", "there-", r"external/hospital_b: \d+ patients are in training or validation \(lidc-"),
        ("there-", "", r"external/hospital_b: \d+ images, by their pixels, are in training or validation \("),
    ],
)
def test_a_patient_or_an_image_that_made_the_study_is_refused(
    study: Path, tmp_path: Path, patients: str, pixels: str, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        measure.main(
            [*fake_study.measure_options(study, fake_study.LOCALIZED), *elsewhere(study, tmp_path, patients, pixels)]
        )


def test_the_name_of_a_file_is_no_patient_of_two_hospitals_but_that_none_is_known_is_said(study: Path) -> None:
    manifest = tables.read(study / "manifest.parquet", tables.MANIFEST)
    split, none = tables.read(study / "split.parquet", tables.SPLIT), dict.fromkeys(["patient_from", "pixel_sha256"])
    for name, values in {**none, "patient_id": manifest["image_id"].to_pylist()}.items():
        manifest = put(manifest, name, values)
    split = tables.lookup(split.drop_columns("patient_id"), manifest, ["patient_id"])
    there = {"hospital_b": External(manifest, {})}
    assert not problems(there, [], manifest, split, ["nih", "lidc"])
    (sentence,) = warnings(there, manifest)
    assert f"external/hospital_b: the patient of {len(manifest)} of its {len(manifest)} images" in sentence
    known = put(manifest, "patient_from", ["table"] * len(manifest))
    (problem,) = problems({"hospital_b": External(known, {})}, [], known, split, ["nih", "lidc"])
    assert "patients are in training or validation" in problem and not warnings({}, known)


def test_external_data_without_a_label_or_a_score_are_refused(study: Path, tmp_path: Path) -> None:
    options = elsewhere(study, tmp_path)
    with pytest.raises(TableError, match="external/hospital_b: there is no score of tuned"):
        measure.main([*fake_study.measure_options(study, fake_study.LOCALIZED), *options[:-1]])
    infer = tables.read(options[-1], tables.INFER)
    tables.write(options[-1], infer.slice(3), tables.INFER)
    with pytest.raises(TableError, match="external/hospital_b: 3 images have no score of tuned"):
        measure.main([*fake_study.measure_options(study, fake_study.LOCALIZED), *options])
    manifest = tables.read(options[1], tables.MANIFEST)
    tables.write(options[1], put(manifest, "label", None), tables.MANIFEST)
    with pytest.raises(TableError, match=r"none of \d+ images is labelled and of the sources nih, lidc"):
        measure.main([*fake_study.measure_options(study, fake_study.LOCALIZED), *options])


def test_the_sources_of_the_cohort_hold_for_external_data_too(study: Path, tmp_path: Path) -> None:
    changed = json.loads(json.dumps(fake_study.PARAMETERS))
    changed["nodules"]["cohort"]["sources"] = ["lidc"]
    options = [*fake_study.measure_options(study, fake_study.LOCALIZED), *elsewhere(study, tmp_path)]
    options[1] = json.dumps(changed)
    measure.main(options)
    found = measures.from_table(tables.read(study / "measures.parquet", tables.MEASURES))["nodules"]
    there = found[Subject("classification", "tuned", SUBSET)]
    assert there[Key("roc_auc")].reason  # every LIDC image has a nodule
    assert there[Key("prevalence")].n == 16

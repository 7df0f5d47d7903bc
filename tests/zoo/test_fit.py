"""Claims about stages.zoo.fit, with a kind and a backbone by hand."""

import numpy as np
import pytest
import zoo_backbone as fake
import zoo_kind as kind

from stages.lib.core import documents, tables
from stages.lib.core.feature_tables import STATISTICS
from stages.lib.learn.candidate import Fitted, Tried
from stages.zoo import embed, tokens
from stages.zoo.records import Embedded, Failure, Fit


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of 24 images, with features and tokens of the backbone by hand."""
    folder = fake.study(tmp_path / "study", images=24)
    fake.plant(monkeypatch.setattr, fake.ByHand())
    for shard in ("1-of-2", "2-of-2"):
        embed.main(fake.embed_options(folder, folder / f"features/dino/{shard}.parquet", shifts=2, shard=shard))
    out = folder / "tokens/dino/cohort/1.parquet"
    tokens.main(fake.embed_options(folder, out, stage="tokens", purpose="cohort"))
    return folder


def plant(monkeypatch, reads, **more):
    return kind.plant(monkeypatch.setattr, kind.ByHand(reads, **more))


def files(study, reads):
    """What the rule gives to a kind."""
    if reads == "features":
        shards = sorted((study / "features/dino").glob("*.parquet"))
        return {"features": shards, "embedded": [study / "features/dino/1-of-2.json"]}
    if reads == "tokens":
        found = study / "tokens/dino/cohort/1.parquet"
        return {"tokens": [found], "embedded": [found.with_suffix(".json")]}
    return {"normalized": study / "normalized.parquet"} if reads == "pixels" else {}


@pytest.mark.parametrize("reads", ["features", "tokens", "pixels", "labels"])
def test_a_kind_gets_training_and_validation_images_of_the_cohort_with_their_labels_and_patients(
    study, tmp_path, monkeypatch, reads
):
    made = plant(monkeypatch, reads)
    record = kind.run_fit(study, tmp_path / "fit", **files(study, reads))
    assert record.failure is None
    [setting] = made.fits
    split = {row["image_id"]: row for row in tables.read(study / "split.parquet", tables.SPLIT).to_pylist()}
    for images, name in ((setting.train, "train"), (setting.images, "val")):
        assert list(images.ids) == sorted(image for image, row in split.items() if row["split"] == name)
        assert images.labels.tolist() == [split[image]["label"] for image in images.ids]
        assert images.patients.tolist() == [split[image]["patient_id"] for image in images.ids]
    train = setting.train
    given = {"features": train.features, "tokens": train.tokens, "pixels": train.pixels}
    assert [name for name, found in given.items() if found is not None] == [reads] * (reads in given)
    if reads == "features":
        shape = (len(train), 4, fake.FEATURES)
        assert {name: found.shape for name, found in train.features.items()} == dict.fromkeys(
            [*STATISTICS, "prefix"], shape
        )
    if reads == "pixels":
        assert [path.name for path in train.pixels] == [f"{image}.png" for image in train.ids]
    told = (setting.row, setting.seed, setting.batch_size, setting.preprocessing_hash)
    assert told == ("hand", 1, 4, "" if reads == "labels" else fake.HASH)


def test_the_record_has_what_was_tried_and_what_the_backbone_costs(study, tmp_path, monkeypatch):
    tried = (Tried(option="a", average_precision=0.5), Tried(option="b", average_precision=None, note="no"))
    plant(monkeypatch, "features", fitted=Fitted(tried=tried, chosen="a", trained_parameters=6))
    record = kind.run_fit(study, tmp_path / "fit", **files(study, "features"))
    assert (record.tried, record.chosen, record.trained_parameters) == (tried, "a", 6)
    assert (record.parameters, record.operations, record.passes, record.random_weights) == (13, 14.0, 4, True)
    assert (record.features, record.preprocessing_hash) == ("features/dino/1-of-2", fake.HASH)
    assert (record.images, record.positive_images) == (8, 4)
    assert (record.validation_images, record.positive_validation_images) == (8, 4)


def test_what_a_kind_knows_of_its_cost_itself_stands(study, tmp_path, monkeypatch):
    plant(monkeypatch, "pixels", fitted=Fitted(parameters=100, operations=2.0, passes=9, random_weights=True))
    record = kind.run_fit(study, tmp_path / "fit", **files(study, "pixels"))
    assert (record.parameters, record.operations, record.passes, record.random_weights) == (100, 2.0, 9, True)
    assert (record.side_px, record.features) == (fake.SIDE, None)


def test_a_wrong_test_label_changes_nothing(study, tmp_path, monkeypatch):
    plant(monkeypatch, "features")
    kind.run_fit(study, tmp_path / "fit", **files(study, "features"))
    before = (tmp_path / "fit/hand/means.json").read_bytes()
    split = tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
    test = {row["image_id"] for row in split if row["split"] == "test"}
    for name, schema in (("split", tables.SPLIT), ("manifest", tables.MANIFEST)):
        rows = tables.read(study / f"{name}.parquet", schema).to_pylist()
        test = {
            row["image_id"]
            for row in tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
            if row["split"] == "test"
        }
        wrong = [
            row | ({"label": 1 - row["label"]} if row["image_id"] in test and row["label"] is not None else {})
            for row in rows
        ]
        tables.write(study / f"{name}.parquet", tables.from_rows(wrong, schema), schema)
    kind.run_fit(study, tmp_path / "fit", **files(study, "features"))
    assert (tmp_path / "fit/hand/means.json").read_bytes() == before


def test_fewer_than_two_patients_of_a_class_are_a_failure_with_all_that_is_missing(tmp_path, monkeypatch):
    study = fake.study(tmp_path / "study", images=12)
    rows = tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
    fewer = [row | {"label": 0 if row["image_id"] in ("i003", "i009", "i006") else row["label"]} for row in rows]
    tables.write(study / "split.parquet", tables.from_rows(fewer, tables.SPLIT), tables.SPLIT)
    made = plant(monkeypatch, "labels")
    record = kind.run_fit(study, tmp_path / "fit")
    assert made.fits == []
    assert record.failure.stage == "fit"
    assert "hand: cannot be fitted" in record.failure.reason
    assert "training: found 1 patients with images with a nodule, wanted at least 2" in record.failure.reason
    assert "validation: found 0 patients with images with a nodule, wanted at least 2" in record.failure.reason
    assert list((tmp_path / "fit/hand").iterdir()) == []


def test_a_failure_of_the_features_is_that_of_the_row(study, tmp_path, monkeypatch):
    made = plant(monkeypatch, "features")
    failure = Failure(stage="embed", error="ModelError", reason="dino: gone")
    documents.write(study / "features/dino/1-of-2.json", embed.failed(failure))
    record = kind.run_fit(study, tmp_path / "fit", **files(study, "features"))
    assert (record.failure, made.fits) == (failure, [])
    assert list((tmp_path / "fit/hand").iterdir()) == []


def test_a_member_that_failed_is_a_failure_of_the_ensemble_that_names_it(tmp_path, monkeypatch):
    study = fake.study(tmp_path / "study", images=12)
    plant(monkeypatch, "labels", fitted=None)
    rows = tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
    alone = [row | {"label": 0} for row in rows]
    tables.write(study / "split.parquet", tables.from_rows(alone, tables.SPLIT), tables.SPLIT)
    kind.run_fit(study, tmp_path / "fit", "a")
    record = kind.run_fit(study, tmp_path / "fit", "both", member_fits=[tmp_path / "fit/a.json"])
    assert record.failure.reason.startswith("its member a failed: a: cannot be fitted")


def test_a_row_that_reads_scores_gets_those_of_validation_by_the_names_of_the_tables(study, tmp_path, monkeypatch):
    plant(monkeypatch, "features")
    kind.run_fit(study, tmp_path / "fit", **files(study, "features"))
    rows, _ = kind.run_infer(study, tmp_path / "fit", **files(study, "features"))
    made = plant(monkeypatch, "scores")
    record = kind.run_fit(
        study, tmp_path / "fit", "both", scores=[tmp_path / "fit/raw/hand.parquet"], members=[tmp_path / "fit/hand"]
    )
    assert record.failure is None
    [setting] = made.fits
    known = {row["image_id"]: row["score"] for row in rows}
    assert list(setting.images.scores) == ["hand"]
    np.testing.assert_array_equal(setting.images.scores["hand"], [known[image] for image in setting.images.ids])
    assert (setting.train.scores, setting.members) == (None, {"hand": tmp_path / "fit/hand"})


def test_a_fault_of_a_kind_ends_the_run_and_leaves_what_was_there(study, tmp_path, monkeypatch):
    made = plant(monkeypatch, "labels")
    kind.run_fit(study, tmp_path / "fit")
    before = (tmp_path / "fit/hand/means.json").read_bytes()

    def broken(row, setting, folder):
        (folder / "means.json").write_text("half")
        raise ZeroDivisionError

    made.fit = broken
    with pytest.raises(ZeroDivisionError):
        kind.run_fit(study, tmp_path / "fit")
    assert (tmp_path / "fit/hand/means.json").read_bytes() == before


def test_features_of_another_preprocessing_than_their_record_are_a_failure(study, tmp_path, monkeypatch):
    plant(monkeypatch, "features")
    path = study / "features/dino/1-of-2.json"
    told = documents.as_mapping(documents.read(path, Embedded))
    documents.write(path, Embedded(**told | {"preprocessing_hash": "other"}))
    record = kind.run_fit(study, tmp_path / "fit", **files(study, "features"))
    assert record.failure.error == "MismatchError"
    assert fake.HASH in record.failure.reason and "wanted other" in record.failure.reason
    assert isinstance(record, Fit)

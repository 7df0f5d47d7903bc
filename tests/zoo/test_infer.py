"""Claims about stages.zoo.infer, with a kind and a backbone by hand, and with a real kind."""

import numpy as np
import pytest
import zoo_backbone as fake
import zoo_kind as kind

from stages.lib.core import documents, tables
from stages.lib.learn.candidate import Scores
from stages.zoo import embed
from stages.zoo.records import Fit


@pytest.fixture
def study(tmp_path, monkeypatch):
    folder = fake.study(tmp_path / "study", images=24)
    fake.plant(monkeypatch.setattr, fake.ByHand())
    embed.main(fake.embed_options(folder, folder / "features/dino/1.parquet"))
    return folder


@pytest.fixture
def given(study):
    return {"features": [study / "features/dino/1.parquet"], "embedded": [study / "features/dino/1.json"]}


@pytest.fixture
def made(study, given, tmp_path, monkeypatch):
    """The kind by hand, fitted."""
    found = kind.plant(monkeypatch.setattr, kind.ByHand("features"))
    assert kind.run_fit(study, tmp_path, **given).failure is None
    return found


def flipped(study):
    """The labels of test images, turned round in every table."""
    split = tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
    test = {row["image_id"] for row in split if row["split"] == "test"}
    for name, schema in (("split", tables.SPLIT), ("manifest", tables.MANIFEST)):
        rows = tables.read(study / f"{name}.parquet", schema).to_pylist()
        for row in rows:
            if row["image_id"] in test and row["label"] is not None:
                row["label"] = 1 - row["label"]
        tables.write(study / f"{name}.parquet", tables.from_rows(rows, schema), schema)


def test_validation_and_test_images_of_the_cohort_are_scored_without_their_labels(study, given, made, tmp_path):
    rows, record = kind.run_infer(study, tmp_path, **given)
    split = {row["image_id"]: row for row in tables.read(study / "split.parquet", tables.SPLIT).to_pylist()}
    strangers = {"i010", "i011"}
    wanted = sorted(name for name, row in split.items() if row["split"] in ("val", "test") and name not in strangers)
    assert [row["image_id"] for row in rows] == wanted
    for row in rows:
        assert (row["split"], row["label"]) == (split[row["image_id"]]["split"], split[row["image_id"]]["label"])
        assert row["score"] == pytest.approx(1 / (1 + np.exp(row["logit_negative"] - row["logit_positive"])))
        assert (row["score_calibrated"], row["answer_mass"]) == (None, 0.5)
    [setting] = made.scored
    assert (setting.images.labels, setting.train) == (None, None)
    assert (record.images, record.answer_mass, record.failure) == (len(wanted), 0.5, None)


def test_a_wrong_test_label_changes_no_score(study, given, made, tmp_path):
    before, _ = kind.run_infer(study, tmp_path, **given)
    flipped(study)
    after, _ = kind.run_infer(study, tmp_path, **given)
    assert [row["label"] for row in before] != [row["label"] for row in after]
    for a, b in zip(before, after, strict=True):
        assert {**a, "label": None} == {**b, "label": None}


def test_scores_depend_on_no_shard(study, given, made, tmp_path):
    whole, _ = kind.run_infer(study, tmp_path, **given)
    parts = []
    for shard in ("1-of-3", "2-of-3", "3-of-3"):
        rows, _ = kind.run_infer(study, tmp_path, infer=tmp_path / "raw/part.parquet", shard=shard, **given)
        parts += rows
    assert sorted(parts, key=lambda row: row["image_id"]) == whole


def test_without_a_split_every_image_is_scored_and_has_no_label(study, given, made, tmp_path):
    embed.main(fake.embed_options(study, study / "features/all/1.parquet", without=("split", "manifest")))
    bare = {"features": [study / "features/all/1.parquet"], "embedded": [study / "features/all/1.json"]}
    bare |= {"normalized": study / "normalized.parquet", "without": ("split", "manifest")}
    rows, record = kind.run_infer(study, tmp_path, **bare)
    assert record.images == 24
    assert {(row["split"], row["label"]) for row in rows} == {(None, None)}
    inside, _ = kind.run_infer(study, tmp_path, **given)
    scores = {row["image_id"]: row["score"] for row in rows}
    assert [scores[row["image_id"]] for row in inside] == [row["score"] for row in inside]


def test_copies_of_one_image_are_scored_alike_and_their_model_is_not_taken_for_blind(study, made, tmp_path):
    names = ("i000", "i001")
    (study / "i001.png").write_bytes((study / "i000.png").read_bytes())
    whole = tables.read(study / "normalized.parquet", tables.NORMALIZED).to_pylist()
    path = tmp_path / "copies/normalized.parquet"
    path.parent.mkdir()
    rows = [row for row in whole if row["image_id"] in names]
    tables.write(path, tables.from_rows(rows, tables.NORMALIZED), tables.NORMALIZED)
    features = tmp_path / "copies/dino/1.parquet"
    embed.main(fake.embed_options(study, features, without=("split", "manifest"), normalized=path))
    given = {"features": [features], "embedded": [features.with_suffix(".json")], "normalized": path}
    found, record = kind.run_infer(study, tmp_path, without=("split", "manifest"), **given)
    assert (record.failure, [row["image_id"] for row in found]) == (None, [*names])
    assert found[0]["score"] == found[1]["score"]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            lambda n: Scores(score=np.where(np.arange(n) == 1, np.nan, 0.5)),
            "1 of 14 images have a score that is no number",
        ),
        (lambda n: Scores(score=np.full(n, 1.5)), "14 of 14 images have a score that is no number between 0 and 1"),
        (lambda n: Scores(score=np.full(n, 0.5), logits=np.full((n, 2), np.inf)), "14 of 14 images"),
        (lambda n: Scores(score=np.full(n - 1, 0.5)), "found {'score': (13,)} for 14 images"),
    ],
)
def test_scores_that_are_no_numbers_are_a_failure_with_row_and_images(study, given, made, tmp_path, scores, said):
    made.scores = lambda setting: scores(len(setting.images))
    rows, record = kind.run_infer(study, tmp_path, **given)
    assert rows == []
    assert record.failure.reason.startswith(f"hand: {said}")


def test_a_kind_without_two_answers_has_no_logits(study, given, made, tmp_path):
    made.scores = lambda setting: Scores(score=np.full(len(setting.images), 0.25))
    rows, record = kind.run_infer(study, tmp_path, **given)
    assert {(row["score"], row["logit_negative"], row["answer_mass"]) for row in rows} == {(0.25, None, None)}
    assert record.answer_mass is None


def test_images_of_another_preprocessing_than_the_fit_are_a_failure_with_both(study, given, made, tmp_path):
    path = tmp_path / "hand.json"
    told = documents.as_mapping(documents.read(path, Fit))
    documents.write(path, Fit(**told | {"preprocessing_hash": "another", "tried": ()}))
    rows, record = kind.run_infer(study, tmp_path, **given)
    assert (rows, record.failure.error) == ([], "MismatchError")
    assert fake.HASH in record.failure.reason and "wanted another" in record.failure.reason


def test_a_fit_of_another_kind_is_a_failure(study, given, made, tmp_path):
    path = tmp_path / "hand.json"
    told = documents.as_mapping(documents.read(path, Fit))
    documents.write(path, Fit(**told | {"kind": "probe", "tried": ()}))
    _, record = kind.run_infer(study, tmp_path, **given)
    assert "fitted as kind probe, wanted by_hand" in record.failure.reason


def test_a_failed_fit_is_passed_on_and_no_image_is_scored(study, given, made, tmp_path):
    made.fit = made.score  # whatever it does, the features are gone before
    given["features"][0].unlink()
    record = kind.run_fit(study, tmp_path, **given)
    assert "1.parquet: no such file" in record.failure.reason
    rows, inferred = kind.run_infer(study, tmp_path, **given)
    assert (rows, inferred.failure, made.scored) == ([], record.failure, [])


def test_images_that_a_member_has_not_scored_are_a_failure_that_names_it(study, made, tmp_path, monkeypatch):
    rows = [{"image_id": "i002", "split": "val", "label": 0, "score": 0.5}]
    tables.write(tmp_path / "raw/one.parquet", tables.from_rows(rows, tables.INFER), tables.INFER)
    made.READS = "scores"
    _, record = kind.run_infer(study, tmp_path, scores=[tmp_path / "raw/one.parquet"])
    assert "scores of one: lacks 13 of 14 images (i003, i004" in record.failure.reason


def test_a_classifier_of_the_study_as_a_row_has_its_own_scores(study, tmp_path):
    split = tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
    scored = [row for row in split if row["split"] in ("val", "test")]
    rows = [
        {"image_id": row["image_id"], "split": row["split"], "label": row["label"], "score": number / 100}
        | {"answer_mass": 0.75}
        for number, row in enumerate(scored)
    ]
    path = tmp_path / "nodules/tuned.parquet"
    path.parent.mkdir()
    tables.write(path, tables.from_rows(rows, tables.INFER), tables.INFER)
    row = {"kind": "study", "classifier": "tuned", "shifts": 2, "seen": "unknown", "licence": "x", "commercial": True}
    record = kind.run_fit(study, tmp_path, "qlora", row, scores=[path])
    assert (record.failure, record.passes) == (None, 4)
    found, inferred = kind.run_infer(study, tmp_path, "qlora", row, scores=[path])
    assert inferred.answer_mass == 0.75  # of the two answers, as it was asked
    known = {row["image_id"]: row["score"] for row in rows}
    assert [row["score"] for row in found] == [known[row["image_id"]] for row in found]
    assert {row["logit_positive"] for row in found} == {None}


def test_a_classifier_of_the_study_keeps_the_logits_that_its_calibration_looks_at(study, tmp_path):
    split = tables.read(study / "split.parquet", tables.SPLIT).to_pylist()
    rows = [
        {"image_id": row["image_id"], "split": row["split"], "label": row["label"]}
        | {"score": 1.0, "logit_negative": -20.0, "logit_positive": 20.0 + number}
        for number, row in enumerate(split)
        if row["split"] in ("val", "test")
    ]
    path = tmp_path / "nodules/tuned.parquet"
    path.parent.mkdir()
    tables.write(path, tables.from_rows(rows, tables.INFER), tables.INFER)
    row = {"kind": "study", "classifier": "tuned", "shifts": 1, "seen": "unknown", "licence": "x", "commercial": True}
    kind.run_fit(study, tmp_path, "qlora", row, scores=[path])
    found, _ = kind.run_infer(study, tmp_path, "qlora", row, scores=[path])
    known = {row["image_id"]: row["logit_positive"] for row in rows}
    assert [(one["logit_negative"], one["logit_positive"]) for one in found] == [
        (-20.0, known[one["image_id"]]) for one in found
    ]

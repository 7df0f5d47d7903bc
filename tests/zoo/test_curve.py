"""Claims about the learning curve: which patients are drawn, what test labels may decide, and what is told."""

import json

import numpy as np
import pyarrow as pa
import pytest
import zoo_backbone as fake
import zoo_features
import zoo_kind
from sklearn.metrics import average_precision_score, roc_auc_score

from stages.lib.core import documents, row_groups, tables
from stages.lib.core.errors import DataError, ParamsError, TrainingError
from stages.lib.core.feature_tables import FEATURES, STATISTICS, TOKENS
from stages.lib.learn.zoo import probe
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Key, Subject
from stages.zoo import curve, embed
from stages.zoo.records import Failure, Learned

SPLITS = {"train": 160, "val": 60, "test": 60}  # images, two of a patient, every fourth patient with a nodule
HOW = {"rows": ["p"], "fractions": [0.1, 0.5, 1.0], "draws": 3, "seed": 1}
ROW = {
    **zoo_features.BACKBONE,
    "kind": "probe",
    "pool": ["largest", "mean"],
    "strengths": [0.01, 1.0],
    "class_weight": ["none"],
    "places": ["logits"],
}
PRECISION, AREA = Key("pr_auc"), Key("roc_auc")


def rows_of(split):
    start = sum(count for name, count in SPLITS.items() if name < split)
    for number in range(start, start + SPLITS[split]):
        patient = number // 2
        yield {"image_id": f"i{number:04}", "patient_id": f"p{patient:03}", "label": int(patient % 4 == 0)}


def tables_of(folder, flipped=()):
    """Manifest and split; labels of some splits turned round."""
    split = [row | {"split": name} for name in SPLITS for row in rows_of(name)]
    split = [row | {"label": 1 - row["label"] if row["split"] in flipped else row["label"]} for row in split]
    manifest = [
        {**{key: row[key] for key in ("image_id", "patient_id", "label")}, "file_name": "a.png", "path": "a.png"}
        | {"source": "nih", "status": "ok", "notices": []}
        for row in split
    ]
    for name, rows in (("split", split), ("manifest", manifest)):
        tables.write(folder / f"{name}.parquet", tables.from_rows(rows, tables.SCHEMAS[name]), tables.SCHEMAS[name])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose positive images have one feature of one patch lifted."""
    folder = tmp_path_factory.mktemp("study")
    tables_of(folder)
    rows = sorted((row for name in SPLITS for row in rows_of(name)), key=lambda row: row["image_id"])
    rng = np.random.default_rng(7)
    tokens = rng.standard_normal((len(rows), 1, 4, 4, 8)).astype(np.float32)
    tokens[[row["label"] == 1 for row in rows], 0, 1, 2, 3] += 4.0
    found = zoo_features.statistics(tokens)
    columns = {"image_id": [row["image_id"] for row in rows], "place": [0] * len(rows)}
    columns |= {"preprocessing_hash": [fake.HASH] * len(rows)}
    columns |= {name: row_groups.halves(found[name][:, 0]) for name in (*STATISTICS, "prefix")}
    with row_groups.writing(folder / "features.parquet", FEATURES) as add:
        add(pa.table([columns[name] for name in FEATURES.names], schema=FEATURES.arrow))
    columns = {name: columns[name] for name in ("image_id", "place", "preprocessing_hash")}
    columns |= {"rows": [4] * len(rows), "columns": [4] * len(rows)}
    columns["tokens"] = row_groups.halves(tokens.reshape(len(rows), -1).astype(np.float16))
    with row_groups.writing(folder / "tokens.parquet", TOKENS) as add:
        add(pa.table([columns[name] for name in TOKENS.names], schema=TOKENS.arrow))
    return folder


def run(study, out, *, row=ROW, how=HOW, tables_in=None, **named):
    document = {
        "zoo": {"models": {"p": row}, "embed": fake.EMBED, "bank": zoo_kind.BANK, "curve": how},
        "nodules": {"cohort": {"sources": ["nih"]}, "model": fake.MODEL},
    }
    out.mkdir(parents=True, exist_ok=True)
    found = {name: (tables_in or study) / f"{name}.parquet" for name in ("manifest", "split")}
    found |= {"model": "p", "work": out / "work", "curve": out / "curve.parquet", "record": out / "curve.json"}
    found |= {"features": study / "features.parquet"} | named
    curve.main(
        ["--params", json.dumps(document), *(str(part) for name, v in found.items() for part in (f"--{name}", v))]
    )
    whole = measures.by_seed(tables.read(out / "curve.parquet", tables.MEASURES), "zoo")
    return whole, documents.read(out / "curve.json", Learned)


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    return run(study, tmp_path_factory.mktemp("curve"))


def at(patients):
    return Subject("learning_curve", "p", f"test/{patients}")


def test_each_fraction_has_its_draws_their_mean_and_their_spread(made):
    found, record = made
    positive = sum(row["label"] for row in rows_of("test"))
    assert set(found) == {0, 1, 2, None}
    assert set(found[None]) == {at(8), at(40), at(80)}
    for subject, measured in found[None].items():
        for key in (PRECISION, AREA):
            values = [found[draw][subject][key].value for draw in (0, 1, 2)]
            assert measured[key].value == pytest.approx(np.mean(values))
            assert measured[key].sd == pytest.approx(np.std(values, ddof=1))
            assert (measured[key].low, measured[key].n_seeds) == (None, 3)
            one = measured[key]
            assert (one.n, one.n_patients, one.n_positive, one.n_negative) == (60, 30, positive, 60 - positive)
    assert found[None][at(80)][PRECISION].sd == 0.0
    assert found[None][at(80)][AREA].value > found[None][at(8)][AREA].value
    assert [(one.draw, one.fraction, one.patients) for one in record.draws][:3] == [
        (0, 0.1, 8),
        (0, 0.5, 40),
        (0, 1, 80),
    ]
    assert all(one.positive_images and one.positive_images < one.images for one in record.draws)


def test_the_last_step_is_the_row_itself_measured_by_scikit_learn(study, made, tmp_path):
    from stages.lib.learn import feature_files

    ids = {name: [row["image_id"] for row in rows_of(name)] for name in SPLITS}
    inputs = {}
    for name, own in ids.items():
        labels = np.array([row["label"] for row in rows_of(name)])
        patients = np.array([row["patient_id"] for row in rows_of(name)])
        features = feature_files.features("p", [study / "features.parquet"], own)
        inputs[name] = zoo_features.Inputs(ids=own, patients=patients, labels=labels, features=features)
    row = {key: tuple(value) if isinstance(value, list) else value for key, value in ROW.items() if key != "kind"}
    setting = zoo_features.setting(inputs["val"], inputs["train"], tmp_path)
    fitted = probe.fit(probe.Params(**row), setting, tmp_path)
    score = probe.score(probe.Params(**row), zoo_features.setting(inputs["test"], None, tmp_path), tmp_path).score
    found, record = made
    last = found[0][at(80)]
    assert last[PRECISION].value == pytest.approx(average_precision_score(inputs["test"].labels, score))
    assert last[AREA].value == pytest.approx(roc_auc_score(inputs["test"].labels, score))
    assert {one.chosen for one in record.draws if one.fraction == 1} == {fitted.chosen}


def test_wrong_test_labels_change_no_fit_and_no_choice(study, made, tmp_path):
    tables_of(tmp_path, flipped=("test",))
    found, record = run(study, tmp_path / "out", tables_in=tmp_path)
    assert record == made[1]
    assert found[0][at(80)][AREA].value == pytest.approx(1 - made[0][0][at(80)][AREA].value)


def test_a_learned_pooling_of_patch_tokens_has_a_curve_too(study, tmp_path):
    row = {**zoo_features.BACKBONE, "kind": "pooled", "method": "log_sum_exp", "width": 0, "sharpness": 4.0}
    row |= {"learning_rates": [0.05], "weight_decay": 0.01, "epochs": 5, "batch_size": 16, "repeats": 1, "seed": 1}
    how = HOW | {"fractions": [0.1, 1.0], "draws": 2}
    found, record = run(study, tmp_path, row=row, how=how, features=study / "none", tokens=study / "tokens.parquet")
    assert [one.failure for one in record.draws] == [None] * 4
    assert found[None][at(80)][AREA].value > 0.8
    assert [*(tmp_path / "work").iterdir()] == []


def test_draws_keep_whole_patients_of_both_classes_and_grow_by_adding():
    train = pa.Table.from_pylist([*rows_of("train")])
    positive = {row["patient_id"] for row in rows_of("train") if row["label"]}
    for draw in range(5):
        before = set()
        for fraction in (0.01, 0.1, 0.3, 1.0):
            found = curve.patients(train, fraction, 1, draw)
            assert found >= before
            for group in (positive, {row["patient_id"] for row in rows_of("train")} - positive):
                assert len(found & group) == max(round(fraction * len(group)), 2)
            before = found
    assert curve.patients(train, 0.1, 1, 0) != curve.patients(train, 0.1, 1, 1)
    assert curve.patients(train.take(pa.array(range(159, -1, -1))), 0.1, 1, 0) == curve.patients(train, 0.1, 1, 0)


def test_fractions_that_come_to_as_many_patients_are_one_step():
    train = pa.Table.from_pylist([*rows_of("train")])
    how = curve.CurveParams(rows=("p",), fractions=(1.0, 0.01, 0.02), draws=2, seed=1)
    assert [*curve.steps(train, how)] == [(0.01, 4), (1.0, 80)]


def test_a_fit_that_fails_leaves_its_step_without_a_mean_and_says_why(study, tmp_path, monkeypatch):
    fit = probe.fit

    def sometimes(params, setting, folder):
        if len(setting.train) < 30 and setting.seed == 2:
            raise TrainingError("p: too little")
        return fit(params, setting, folder)

    monkeypatch.setattr(probe, "fit", sometimes)
    found, record = run(study, tmp_path)
    assert [one.draw for one in record.draws if one.failure == "p: too little"] == [1]
    assert found[1][at(8)][PRECISION].reason == "p: too little"
    assert found[None][at(8)][PRECISION].value is None
    assert "with seed 1: p: too little" in found[None][at(8)][PRECISION].reason
    assert found[None][at(40)][PRECISION].value is not None


def test_a_row_without_a_fit_is_refused_with_the_reason(study, tmp_path, monkeypatch):
    def never(params, setting, folder):
        raise TrainingError("p: too little")

    monkeypatch.setattr(probe, "fit", never)
    with pytest.raises(TrainingError, match="p: none of 9 fits succeeded; the first: p: too little"):
        run(study, tmp_path)
    assert not (tmp_path / "curve.parquet").exists()


def test_a_kind_whose_fit_sees_pixels_failed_features_and_odd_parameters_are_refused(study, tmp_path):
    prevalence = {"kind": "prevalence", "seen": "no", "licence": "none", "commercial": True}
    with pytest.raises(
        ParamsError, match="found p, whose kind prevalence reads labels; wanted kinds that read features"
    ):
        run(study, tmp_path, row=prevalence)
    failure = Failure(stage="embed", error="ModelError", reason="p: no weights")
    documents.write(tmp_path / "embedded.json", embed.failed(failure))
    with pytest.raises(DataError, match=r"p: has no learning curve:\n.*embed failed: p: no weights"):
        run(study, tmp_path, embedded=tmp_path / "embedded.json")
    with pytest.raises(ParamsError) as told:
        run(study, tmp_path, how={"rows": [], "fractions": [2.0, 0.5, 0.5], "draws": 1, "seed": 1})
    for part in ("wanted each once, above 0 and up to 1", "draws 1, wanted two or more"):
        assert part in str(told.value)

"""Claims about stages.nodules.calibrate and stages.lib.metrics.calibration."""

import json

import numpy as np
import pyarrow as pa
import pytest
from train_logs import train_log

from stages.lib.core import documents, tables
from stages.lib.core.errors import CalibrationError, DocumentError, ParamsError, TableError
from stages.lib.core.params import parse
from stages.lib.metrics import calibration
from stages.nodules import calibrate as stage

PARAMS = stage.Params(sources=("nih",), world_prevalence="validation")


def trained_at(odds, weight):
    return train_log(training_odds=odds, positive_weight=weight)


def infer(z, labels, splits):
    """Return a table of scores whose differences of logits are `z`."""
    rows = [
        {
            "image_id": f"f{number:05d}",
            "split": split,
            "label": None if label is None else int(label),
            "logit_negative": 1.0,
            "logit_positive": 1.0 + float(value),
            "score": float(calibration.sigmoid(np.array(value, float))),
            "score_calibrated": None,
            "answer_mass": 0.9,
        }
        for number, (value, label, split) in enumerate(zip(z, labels, splits, strict=True))
    ]
    return tables.from_rows(rows, tables.INFER)


def study(n, seed=0, *, temperature=1.0, shift=0.0, prevalence=0.1):
    """Return a table of logits that are right but for a temperature and a shift, all of validation."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(np.log(prevalence / (1 - prevalence)), 2.0, n)
    labels = rng.random(n) < 1 / (1 + np.exp(-truth))
    return infer(truth * temperature - shift, labels, ["val"] * n), truth


def manifest(sources):
    """The columns of a manifest that matter here, from the source of each image."""
    ids = list(sources)
    return pa.table({"image_id": ids, "source": list(sources.values()), "patient_id": ids})


def of(table, source="nih"):
    return manifest(dict.fromkeys(table["image_id"].to_pylist(), source))


def test_platt_finds_the_shift_and_temperature_that_were_hidden():
    table, truth = study(20000, temperature=2.5, shift=3.0)
    out, fitted = stage.calibrate(table, of(table), PARAMS, model="zero_shot", training=None)
    assert (fitted.method, fitted.reason, fitted.at_bound) == ("platt", None, False)
    assert fitted.temperature == pytest.approx(2.5, rel=0.05)
    assert fitted.shift == pytest.approx(3.0, rel=0.05)
    assert np.abs(out["score_calibrated"].to_numpy() - 1 / (1 + np.exp(-truth))).max() < 0.02


def test_platt_agrees_with_an_unpenalised_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    table, _ = study(500, seed=4, temperature=1.7, shift=-2.0, prevalence=0.3)
    _, fitted = stage.calibrate(table, of(table), PARAMS, model="zero_shot", training=None)
    z = stage.difference(table)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:, None], table["label"].to_numpy())
    assert 1 / fitted.temperature == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    assert fitted.shift / fitted.temperature == pytest.approx(theirs.intercept_[0], rel=1e-4)


def test_the_tuned_shift_is_the_closed_form_and_undoes_a_prior_that_was_corrected_twice():
    prevalence, odds, weight = 0.05, 1.0, 20.0
    doubled = np.log(odds * weight) - np.log(prevalence / (1 - prevalence))
    rng = np.random.default_rng(0)
    labels = rng.random(20000) < prevalence
    ratio = 2.0 * rng.normal(2.0 * labels - 1.0, 1.0)  # ln of the likelihood ratio of N(1, 1) and N(-1, 1)
    table = infer(ratio + np.log(odds * weight), labels, ["val"] * 20000)
    fraction = float(labels.mean())
    out, fitted = stage.calibrate(table, of(table), PARAMS, model="tuned", training=trained_at(odds, weight))
    assert fitted.method == "prior and temperature"
    assert fitted.shift == pytest.approx(np.log(fraction / (1 - fraction)) - np.log(odds) - np.log(weight))
    assert doubled == pytest.approx(5.94, abs=0.005)
    assert fitted.temperature == pytest.approx(1.0, abs=0.06)
    raw, calibrated = table["score"].to_numpy().mean(), out["score_calibrated"].to_numpy().mean()
    assert raw > 5 * fraction and calibrated == pytest.approx(fraction, rel=0.05)


def test_the_temperature_is_the_best_of_all():
    table, _ = study(400, seed=2, temperature=3.0, shift=1.0)
    y, z = table["label"].to_numpy(), stage.difference(table)
    best = calibration.fit_temperature(y, z, np.ones(400))
    losses = [
        calibration.log_loss(y, z / t, np.ones(400))
        for t in np.exp(np.linspace(*np.log(calibration.TEMPERATURES), 400))
    ]
    assert calibration.log_loss(y, z / best, np.ones(400)) <= min(losses) + 1e-12


def test_another_world_has_another_prevalence_and_the_same_order_of_images():
    table, _ = study(20000, prevalence=0.3)
    world = stage.Params(sources=("nih",), world_prevalence=0.02)
    out, fitted = stage.calibrate(table, of(table), world, model="zero_shot", training=None)
    y, p = table["label"].to_numpy(), out["score_calibrated"].to_numpy()
    here = y.mean()
    weights = np.where(y == 1, 0.02 / here, 0.98 / (1 - here))
    assert np.average(p, weights=weights) == pytest.approx(0.02, abs=1e-5)
    assert fitted.world_prevalence == 0.02
    assert np.array_equal(np.argsort(p, kind="stable"), np.argsort(stage.difference(table), kind="stable"))


def test_only_labelled_validation_images_of_the_sources_are_looked_at():
    table, _ = study(600, seed=1)
    rng = np.random.default_rng(0)
    noise = infer(rng.normal(size=900), [1, 0, None] * 300, ["test"] * 300 + ["train"] * 300 + ["val"] * 300)
    renamed = noise.set_column(0, "image_id", pa.array([f"x{k}" for k in range(900)]))
    sources = dict.fromkeys(table["image_id"].to_pylist(), "nih")
    sources |= {f"x{k}": "lidc" if k >= 600 else "nih" for k in range(900)}
    both = tables.check(pa.concat_tables([table, renamed.cast(table.schema)]), tables.INFER)
    _, alone = stage.calibrate(table, of(table), PARAMS, model="m", training=None)
    _, among = stage.calibrate(both, manifest(sources), PARAMS, model="m", training=None)
    assert alone == among and alone.n == 600
    _, more = stage.calibrate(
        both,
        manifest(sources),
        stage.Params(sources=("nih", "lidc"), world_prevalence="validation"),
        model="m",
        training=None,
    )
    assert more.n == 600 + 200


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [None, None, None]])
def test_without_both_classes_nothing_is_fitted_and_the_reason_is_kept(labels):
    table = infer([0.1, 0.2, 0.3], labels, ["val"] * 3)
    out, fitted = stage.calibrate(table, of(table), PARAMS, model="m", training=trained_at(1.0, 20.0))
    assert out["score_calibrated"].null_count == 3
    assert (fitted.shift, fitted.temperature, fitted.thresholds_on) == (None, None, "score")
    assert fitted.thresholds == {"half": 0.5, "f1": None, "youden": None, "specificity_95": None}
    assert "wanted both" in fitted.reason
    with pytest.raises(CalibrationError, match=r"'f1' was not chosen .*wanted both"):
        fitted.threshold("f1")
    assert fitted.threshold("half") == ("half", 0.5, "score")


def test_thresholds_are_for_calibrated_scores_and_call_a_validation_image():
    table, _ = study(500, temperature=2.0, shift=4.0)
    out, fitted = stage.calibrate(table, of(table), PARAMS, model="m", training=None)
    scores = set(out["score_calibrated"].to_pylist())
    assert fitted.thresholds_on == "score_calibrated"
    assert {fitted.thresholds[name] for name in ("f1", "youden", "specificity_95")} <= scores


def test_classes_that_are_perfectly_apart_stop_at_the_bound_and_say_so():
    table = infer([-2, -1, 1, 2], [0, 0, 1, 1], ["val"] * 4)
    _, fitted = stage.calibrate(table, of(table), PARAMS, model="m", training=trained_at(1.0, 1.0))
    assert fitted.at_bound and fitted.temperature == pytest.approx(calibration.TEMPERATURES[0], rel=1e-3)


@pytest.mark.parametrize("training", [None, trained_at(1.0, 1.0)])
@pytest.mark.parametrize("z", [[0.0] * 6, [800.0, -800.0, 800.0, 0.0, -800.0, 3.0], [-3, 2, -2, 3, -1, 1]])
def test_odd_scores_give_finite_probabilities(z, training):
    table = infer(np.array(z), [1, 0, 0, 1, 1, 0], ["val"] * 6)
    out, fitted = stage.calibrate(table, of(table), PARAMS, model="m", training=training)
    p = out["score_calibrated"].to_numpy()
    assert np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()
    assert np.isfinite([fitted.shift, fitted.temperature]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_a_number_is_refused_by_name(value):
    table = infer([0.1, 0.2, 0.3], [0, 1, 0], ["val"] * 3)
    bad = table.set_column(4, "logit_positive", pa.array([0.0, value, 0.0]))
    with pytest.raises(TableError, match=r"1 of 3 images .*f00001"):
        stage.calibrate(bad, of(table), PARAMS, model="m", training=None)


def test_a_image_that_is_not_in_the_manifest_is_refused():
    table = infer([0.1, 0.2], [0, 1], ["val"] * 2)
    with pytest.raises(TableError, match="1 images are not in the manifest: f00001"):
        stage.calibrate(table, manifest({"f00000": "nih"}), PARAMS, model="m", training=None)


@pytest.mark.parametrize("numbers", [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0)])
def test_impossible_odds_are_refused(numbers):
    with pytest.raises(CalibrationError, match="wanted a fraction between 0 and 1"):
        calibration.prior_shift(0.1, *numbers)


@pytest.mark.parametrize(
    ("value", "fine"), [(0.05, True), ("validation", True), (0.0, False), (1.0, False), ("x", False)]
)
def test_the_world_prevalence_is_a_fraction_or_the_word_validation(value, fine):
    document = {"calibrate": {"sources": ["nih"], "world_prevalence": value}}
    if fine:
        assert parse(document, {"calibrate": stage.Params}).calibrate.world_prevalence == value
    else:
        with pytest.raises(ParamsError, match="world_prevalence"):
            parse(document, {"calibrate": stage.Params})


def command(folder, *more):
    sections = {"nodules": {"calibrate": {"world_prevalence": "validation"}, "cohort": {"sources": ["nih"]}}}
    parts = [str(folder / "a.parquet"), str(folder / "b.parquet")]
    return ["--params", json.dumps(sections), "--shards", *parts, "--infer", str(folder / "tuned.parquet"), *more]


def write_parts(folder):
    table, _ = study(300)
    for number, name in enumerate(("a", "b")):
        tables.write(folder / f"{name}.parquet", table.take(list(range(number, 300, 2))), tables.INFER)
    rows = [
        {"image_id": i, "file_name": i, "path": i, "source": "nih", "patient_id": i, "status": "ok"}
        for i in table["image_id"].to_pylist()
    ]
    tables.write(folder / "manifest.parquet", tables.from_rows(rows, tables.MANIFEST), tables.MANIFEST)
    documents.write(folder / "train.json", train_log(training_odds=1.0, positive_weight=2.0))
    return table


def test_a_calibration_that_was_fitted_is_applied_again_to_the_same_bytes(tmp_path):
    write_parts(tmp_path)
    fit = ["--manifest", str(tmp_path / "manifest.parquet"), "--train", str(tmp_path / "train.json")]
    stage.main(command(tmp_path, *fit, "--calibration", str(tmp_path / "tuned_calibration.json")))
    first = (tmp_path / "tuned.parquet").read_bytes()
    fitted = documents.read(tmp_path / "tuned_calibration.json", calibration.Calibration)
    assert fitted.model == "tuned" and fitted.method == "prior and temperature" and fitted.n == 300
    (tmp_path / "tuned.parquet").unlink()
    stage.main(command(tmp_path, "--fitted", str(tmp_path / "tuned_calibration.json")))
    assert (tmp_path / "tuned.parquet").read_bytes() == first


def test_all_parts_arrive_and_a_part_given_twice_is_refused(tmp_path):
    table = write_parts(tmp_path)
    stage.main(command(tmp_path, "--manifest", str(tmp_path / "manifest.parquet")))
    merged = tables.read(tmp_path / "tuned.parquet", tables.INFER)
    assert merged["image_id"].to_pylist() == table["image_id"].to_pylist()
    assert merged["score_calibrated"].null_count == 0
    tables.write(tmp_path / "b.parquet", tables.read(tmp_path / "a.parquet", tables.INFER), tables.INFER)
    with pytest.raises(TableError, match="150 rows repeat the key"):
        stage.main(command(tmp_path, "--manifest", str(tmp_path / "manifest.parquet")))


def test_one_of_manifest_and_fitted_is_wanted_and_a_wrong_file_is_named(tmp_path):
    write_parts(tmp_path)
    with pytest.raises(CalibrationError, match="neither --fitted nor --manifest"):
        stage.main(command(tmp_path))
    with pytest.raises(DocumentError, match=r"train\.json: is no Calibration; run calibrate again"):
        stage.main(command(tmp_path, "--fitted", str(tmp_path / "train.json")))
    with pytest.raises(DocumentError, match=r"none\.json: no such file"):
        stage.main(command(tmp_path, "--fitted", str(tmp_path / "none.json")))
    assert not (tmp_path / "tuned.parquet").exists()

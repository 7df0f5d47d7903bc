"""Claims about stages.nodules.calibrate and stages.lib.metrics.calibration."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from train_logs import train_log

from stages.lib.core import documents, tables
from stages.lib.core.errors import CalibrationError, DocumentError, ParamsError, TableError
from stages.lib.core.params import parse
from stages.lib.metrics import binary, calibration
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


def one(table, images, params=PARAMS, model="m", training=None, form=None):
    """Calibrate one classifier: its table with calibrated scores, and its calibration."""
    logs = {model: training} if training else {}
    fitted = stage.calibrate({model: table}, images, params, training=logs)[model]
    return stage.apply(table, fitted), fitted


def sample(z, labels, offset=0.0, patients=None):
    """Images of one patient each, if not said otherwise, that count once."""
    labels = np.asarray(labels)
    patients = np.arange(len(labels)) if patients is None else np.asarray(patients)
    return calibration.Sample(labels, np.asarray(z, float), np.ones(len(labels)), patients, offset)


def likelihoods(n, prevalence, rng):
    """Labels, and the exact logarithm of each image's likelihood ratio, of N(1, 1) against N(-1, 1)."""
    labels = (rng.random(n) < prevalence).astype(int)
    return labels, 2.0 * rng.normal(2.0 * labels - 1.0, 1.0)


@pytest.mark.parametrize("weight", [1.0, 20.0])
@pytest.mark.parametrize("sureness", [0.5, 1.0, 2.0, 3.0])
def test_a_model_that_is_too_sure_or_not_sure_enough_is_calibrated_at_the_prevalence(weight, sureness):
    """Images simulated with their exact likelihood ratios; the model scales them, and training weighted the classes."""
    prevalence, draws = 0.043, 20
    labels, ratio = likelihoods(200_000, prevalence, np.random.default_rng(1))
    bins, once, found = binary.equal_mass_bins(ratio, 15), np.ones(len(ratio)), []  # a calibration keeps the order
    for draw in range(draws):
        y, evidence = likelihoods(3160, prevalence, np.random.default_rng([2, draw]))
        offset = calibration.training_offset(1.0, weight)
        val = sample(sureness * evidence + offset, y, offset)
        form, _ = calibration.choose_form([val])
        p = calibration.fit(val, form).probability(sureness * ratio + offset)
        found.append((binary.calibration_error(labels, p, bins, once), p.mean() - labels.mean()))
    error, drift = np.mean(found, axis=0)
    assert error <= 0.010
    assert abs(drift) <= 0.010


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_an_image_without_evidence_gets_the_prevalence_whatever_the_temperature(temperature):
    y, evidence = likelihoods(4000, 0.1, np.random.default_rng(0))
    offset = calibration.training_offset(1.0, 20.0)
    curve = calibration.fit(sample(temperature * evidence + offset, y, offset), "prior and temperature")
    assert curve.temperature == pytest.approx(temperature, rel=0.15)
    assert curve.probability(np.array([offset]))[0] == pytest.approx(y.mean(), rel=1e-12)


def test_platt_finds_the_shift_and_temperature_that_were_hidden():
    table, truth = study(20000, temperature=2.5, shift=3.0)
    out, fitted = one(table, of(table), PARAMS, "zero_shot")
    assert (fitted.method, fitted.reason, fitted.at_bound) == ("platt", None, False)
    assert fitted.temperature == pytest.approx(2.5, rel=0.05)
    assert fitted.intercept == pytest.approx(3.0 / 2.5, rel=0.05)
    assert np.abs(out["score_calibrated"].to_numpy() - 1 / (1 + np.exp(-truth))).max() < 0.02


def test_platt_agrees_with_an_unpenalised_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    table, _ = study(500, seed=4, temperature=1.7, shift=-2.0, prevalence=0.3)
    z, y = calibration.evidence(table), table["label"].to_numpy()
    curve = calibration.fit(sample(z, y), "platt")
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(z[:, None], y)
    assert 1 / curve.temperature == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    assert curve.intercept == pytest.approx(theirs.intercept_[0], rel=1e-4)


def test_the_tuned_intercept_is_the_closed_form_and_undoes_a_prior_that_was_corrected_twice():
    prevalence, odds, weight = 0.05, 1.0, 20.0
    doubled = np.log(odds * weight) - np.log(prevalence / (1 - prevalence))
    labels, ratio = likelihoods(20000, prevalence, np.random.default_rng(0))
    fraction = float(labels.mean())
    z = ratio + np.log(odds * weight)
    curve = calibration.fit(sample(z, labels, calibration.training_offset(odds, weight)), "prior and temperature")
    assert doubled == pytest.approx(5.94, abs=0.005)
    assert curve.temperature == pytest.approx(1.0, abs=0.06)
    assert curve.intercept == pytest.approx(calibration.logit(fraction) - np.log(odds * weight) / curve.temperature)
    raw, calibrated = calibration.sigmoid(z).mean(), curve.probability(z).mean()
    assert raw > 5 * fraction and calibrated == pytest.approx(fraction, rel=0.05)


def test_the_temperature_is_the_best_of_all():
    table, _ = study(400, seed=2, temperature=3.0, shift=1.0)
    y, z = table["label"].to_numpy(), calibration.evidence(table)
    prior = calibration.logit(float(y.mean()))
    best = calibration.fit_temperature(y, z, np.ones(400), 0.7)
    losses = [
        calibration.log_loss(y, (z - 0.7) / t + prior, np.ones(400))
        for t in np.exp(np.linspace(*np.log(calibration.TEMPERATURES), 400))
    ]
    assert calibration.log_loss(y, best.log_odds(z), np.ones(400)) <= min(losses) + 1e-12


def test_all_classifiers_take_the_one_form_that_suits_them_best_together():
    rng = np.random.default_rng(3)
    y, evidence = likelihoods(3000, 0.1, rng)
    right = infer(evidence + np.log(4.0), y, ["val"] * 3000)
    off = infer(evidence + 6.0, y, ["val"] * 3000)  # a prior that no log of training explains
    trained = {"right": trained_at(1.0, 4.0), "off": trained_at(1.0, 4.0)}
    alone = stage.calibrate({"right": right}, of(right), PARAMS, training=trained)
    both = stage.calibrate({"right": right, "off": off}, of(right), PARAMS, training=trained)
    assert {one.method for one in both.values()} == {"platt"}
    assert alone["right"].form_losses != both["right"].form_losses == both["off"].form_losses
    losses = both["off"].form_losses
    assert min(losses, key=losses.get) == "platt"
    assert alone["right"].method == min(alone["right"].form_losses, key=alone["right"].form_losses.get)


def test_the_form_is_chosen_on_patients_that_it_was_not_fitted_on():
    """Two parameters fit the images that they are fitted on at least as well as one, so these must not choose."""
    chosen = set()
    for draw in range(12):
        y, evidence = likelihoods(300, 0.2, np.random.default_rng([5, draw]))
        val = sample(evidence, y)
        fits = {form: calibration.fit(val, form).log_odds(evidence) for form in calibration.FORMS}
        inside = {form: calibration.log_loss(y, odds, val.weights) for form, odds in fits.items()}
        assert inside["platt"] <= inside["prior and temperature"] + 1e-9
        chosen.add(calibration.choose_form([val])[0])
    assert "prior and temperature" in chosen


def test_the_loss_of_a_form_is_the_weighted_mean_over_images_under_the_curve_of_the_other_folds():
    y, evidence = likelihoods(90, 0.3, np.random.default_rng(4))
    val = sample(1.5 * evidence + 1.0, y, 1.0)._replace(weights=np.where(y == 1, 0.5, 1.25))
    _, losses = calibration.choose_form([val, val])
    for form, found in losses.items():
        loss = np.full(90, np.nan)
        for fold in calibration._folds(val):
            p = calibration.fit(val.part(~fold), form).probability(val.evidence[fold])
            loss[fold] = -np.log(np.where(y[fold] == 1, p, 1 - p))
        assert found == pytest.approx(2 * np.average(loss, weights=val.weights))  # summed over two classifiers


def test_the_images_of_a_patient_are_in_one_fold_and_each_fold_has_positives():
    patients = np.repeat(np.arange(40), 3)
    labels = (patients % 4 == 0).astype(int)
    folds = list(calibration._folds(sample(np.zeros(120), labels, patients=patients)))
    assert len(folds) == calibration.FOLDS
    assert np.array_equal(np.sum(folds, axis=0), np.ones(120))
    for fold in folds:
        assert not set(patients[fold]) & set(patients[~fold])
        assert 0 < labels[fold].sum() < fold.sum()


def test_a_classifier_without_logits_takes_platt_and_has_no_say_in_the_form():
    y, evidence = likelihoods(2000, 0.2, np.random.default_rng(0))
    model = infer(evidence, y, ["val"] * 2000)
    rows = [
        {"image_id": row["image_id"], "split": "val", "label": row["label"], "score": row["score"]}
        for row in model.to_pylist()
    ]
    peaks = tables.from_rows(rows, tables.INFER)
    both = stage.calibrate({"model": model, "peaks": peaks}, of(model), PARAMS, training={})
    alone = stage.calibrate({"model": model}, of(model), PARAMS, training={})
    assert both["model"] == alone["model"]
    assert both["peaks"].method == "platt" and both["peaks"].form_losses == both["model"].form_losses
    p = stage.apply(peaks, both["peaks"])["score_calibrated"].to_numpy()
    assert np.average(p) == pytest.approx(y.mean(), abs=1e-4)
    assert np.array_equal(np.argsort(p, kind="stable"), np.argsort(peaks["score"].to_numpy(), kind="stable"))


def test_another_world_has_another_prevalence_and_the_same_order_of_images():
    table, _ = study(20000, prevalence=0.3)
    world = stage.Params(sources=("nih",), world_prevalence=0.02)
    out, fitted = one(table, of(table), world, "zero_shot")
    y, p = table["label"].to_numpy(), out["score_calibrated"].to_numpy()
    here = y.mean()
    weights = np.where(y == 1, 0.02 / here, 0.98 / (1 - here))
    assert np.average(p, weights=weights) == pytest.approx(0.02, abs=1e-5)
    assert fitted.world_prevalence == 0.02
    assert np.array_equal(np.argsort(p, kind="stable"), np.argsort(calibration.evidence(table), kind="stable"))


def test_only_labelled_validation_images_of_the_sources_are_looked_at():
    table, _ = study(600, seed=1)
    rng = np.random.default_rng(0)
    noise = infer(rng.normal(size=900), [1, 0, None] * 300, ["test"] * 300 + ["train"] * 300 + ["val"] * 300)
    renamed = noise.set_column(0, "image_id", pa.array([f"x{k}" for k in range(900)]))
    sources = dict.fromkeys(table["image_id"].to_pylist(), "nih")
    sources |= {f"x{k}": "lidc" if k >= 600 else "nih" for k in range(900)}
    both = tables.check(pa.concat_tables([table, renamed.cast(table.schema)]), tables.INFER)
    _, alone = one(table, of(table), PARAMS, "m")
    _, among = one(both, manifest(sources), PARAMS, "m")
    assert alone == among and alone.n == 600
    _, more = one(both, manifest(sources), stage.Params(sources=("nih", "lidc"), world_prevalence="validation"))
    assert more.n == 600 + 200


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [None, None, None]])
def test_without_both_classes_nothing_is_fitted_and_the_reason_is_kept(labels):
    table = infer([0.1, 0.2, 0.3], labels, ["val"] * 3)
    out, fitted = one(table, of(table), PARAMS, "m", trained_at(1.0, 20.0))
    assert out["score_calibrated"].null_count == 3
    assert (fitted.intercept, fitted.temperature, fitted.thresholds_on) == (None, None, "score")
    assert fitted.thresholds == {"half": 0.5, "f1": None, "youden": None, "specificity_95": None}
    n_positive = sum(label == 1 for label in labels)
    n_negative = sum(label == 0 for label in labels)
    assert f"{n_positive} images with and {n_negative} without a nodule, wanted both" in fitted.reason
    with pytest.raises(CalibrationError, match=r"'f1' was not chosen .*wanted both"):
        fitted.threshold("f1")
    assert fitted.threshold("half") == ("half", 0.5, "score")


def test_thresholds_are_for_calibrated_scores_and_call_a_validation_image():
    table, _ = study(500, temperature=2.0, shift=4.0)
    out, fitted = one(table, of(table), PARAMS, "m")
    scores = set(out["score_calibrated"].to_pylist())
    assert fitted.thresholds_on == "score_calibrated"
    assert fitted.world_prevalence == fitted.n_positive / fitted.n == table["label"].to_numpy().mean()
    assert {fitted.thresholds[name] for name in ("f1", "youden", "specificity_95")} <= scores


def test_classes_that_are_perfectly_apart_stop_at_the_bound_and_say_so():
    table = infer([-2, -1, 1, 2], [0, 0, 1, 1], ["val"] * 4)
    _, fitted = one(table, of(table), PARAMS, "m", trained_at(1.0, 1.0))
    assert fitted.at_bound and fitted.temperature == pytest.approx(calibration.TEMPERATURES[0], rel=1e-3)


def test_a_score_that_knows_nothing_stops_at_the_other_bound():
    y, z = np.array([0, 1] * 20), np.array([-1.0, -1.0, 1.0, 1.0] * 10)
    curve = calibration.fit(sample(z, y), "platt")
    assert (curve.temperature, curve.intercept) == (pytest.approx(20.0), pytest.approx(0.0, abs=1e-6))
    assert calibration.at_bound(curve.temperature)


def test_a_temperature_is_at_a_bound_within_a_thousandth_of_it():
    found = [calibration.at_bound(t) for t in (0.01, 0.010009, 0.0102, 1.0, 19.9, 19.99, 20.0)]
    assert found == [True, True, False, False, False, True, True]


def test_half_a_calibration_is_none():
    for given in ({"intercept": None}, {"temperature": None}):
        half = replace(FITTED, **given)
        assert not half.fitted and half.probability(np.zeros(3)) is None
    assert FITTED.fitted and FITTED.probability(np.zeros(3)).tolist() == [0.5] * 3


@pytest.mark.parametrize("training", [None, trained_at(1.0, 1.0)])
@pytest.mark.parametrize("z", [[0.0] * 6, [800.0, -800.0, 800.0, 0.0, -800.0, 3.0], [-3, 2, -2, 3, -1, 1]])
def test_odd_scores_give_finite_probabilities(z, training):
    table = infer(np.array(z), [1, 0, 0, 1, 1, 0], ["val"] * 6)
    out, fitted = one(table, of(table), PARAMS, "m", training)
    p = out["score_calibrated"].to_numpy()
    assert np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()
    assert np.isfinite([fitted.intercept, fitted.temperature]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_a_number_is_refused_by_name(value):
    table = infer([0.1, 0.2, 0.3], [0, 1, 0], ["val"] * 3)
    bad = table.set_column(4, "logit_positive", pa.array([0.0, value, 0.0]))
    with pytest.raises(TableError, match=r"1 of 3 images .*f00001"):
        one(bad, of(table), PARAMS, "m")


@pytest.mark.parametrize(("n", "more"), [(20, ""), (21, ", ...")])
def test_at_most_twenty_images_whose_score_is_not_a_number_are_named(n, more):
    table = infer([0.1] * n, [0] * n, ["val"] * n)
    bad = table.set_column(4, "logit_positive", pa.array([np.nan] * n))
    with pytest.raises(TableError, match=rf"{n} of {n} images .*f00018, f00019{more}; wanted finite"):
        stage.check_finite("m", bad)


def test_a_image_that_is_not_in_the_manifest_is_refused():
    table = infer([0.1, 0.2], [0, 1], ["val"] * 2)
    with pytest.raises(TableError, match="1 images are not in the manifest: f00001"):
        one(table, manifest({"f00000": "nih"}), PARAMS, "m")
    table = infer([0.1] * 7, [0, 1] * 3 + [0], ["val"] * 7)
    with pytest.raises(TableError, match=r"6 images are not in the manifest: f00001, f00002, f00003, f00004, f00005$"):
        one(table, manifest({"f00000": "nih"}), PARAMS, "m")  # five are named


@pytest.mark.parametrize("numbers", [(0.0, 1.0), (1.0, 0.0), (float("inf"), 1.0), (1.0, float("inf"))])
def test_impossible_odds_are_refused(numbers):
    with pytest.raises(CalibrationError, match="wanted two positive numbers"):
        calibration.training_offset(*numbers)


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
    raw = [str(folder / "raw" / f"{name}.parquet") for name in ("zero_shot", "tuned")]
    out = [str(folder / f"{name}.parquet") for name in ("zero_shot", "tuned")]
    return ["--params", json.dumps(sections), "--raw", *raw, "--infer", *out, *more]


def calibrations(folder):
    return [str(folder / f"{name}_calibration.json") for name in ("zero_shot", "tuned")]


def write_raw(folder):
    table, _ = study(300)
    (folder / "raw").mkdir()
    for name in ("zero_shot", "tuned"):
        tables.write(folder / f"raw/{name}.parquet", table, tables.INFER)
    rows = [
        {"image_id": i, "file_name": i, "path": i, "source": "nih", "patient_id": i, "status": "ok"}
        for i in table["image_id"].to_pylist()
    ]
    tables.write(folder / "manifest.parquet", tables.from_rows(rows, tables.MANIFEST), tables.MANIFEST)
    documents.write(folder / "train.json", train_log(training_odds=1.0, positive_weight=2.0))
    return ["--manifest", str(folder / "manifest.parquet"), "--calibration", *calibrations(folder)]


def test_calibrations_that_were_fitted_are_applied_again_to_the_same_bytes(tmp_path):
    fit = write_raw(tmp_path)
    stage.main(command(tmp_path, *fit, "--trained", "tuned", "--train", str(tmp_path / "train.json")))
    first = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("zero_shot", "tuned")]
    fitted = [documents.read(path, calibration.Calibration) for path in calibrations(tmp_path)]
    assert [one.model for one in fitted] == ["zero_shot", "tuned"] and fitted[0].n == 300
    assert fitted[0].method == fitted[1].method
    for name in ("zero_shot", "tuned"):
        (tmp_path / f"{name}.parquet").unlink()
    stage.main(command(tmp_path, "--fitted", *calibrations(tmp_path)))
    assert [(tmp_path / f"{name}.parquet").read_bytes() for name in ("zero_shot", "tuned")] == first


def test_the_log_of_training_is_that_of_the_classifiers_that_were_trained(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(calibration, "choose_form", lambda samples: ("prior and temperature", {}))
    monkeypatch.setattr(stage, "_fit", lambda name, sample, *_: (seen.update({name: sample.offset}), FITTED)[1])
    fit = write_raw(tmp_path)
    stage.main(command(tmp_path, *fit, "--trained", "tuned", "--train", str(tmp_path / "train.json")))
    assert seen == {"zero_shot": 0.0, "tuned": pytest.approx(np.log(2.0))}


FITTED = calibration.Calibration(
    model="m",
    method="platt",
    intercept=0.0,
    temperature=1.0,
    at_bound=False,
    world_prevalence=0.1,
    sources=("nih",),
    n=9,
    n_positive=3,
    form_losses={},
    thresholds_on="score_calibrated",
    thresholds={"half": 0.5, "f1": None, "youden": None, "specificity_95": None},
    reason=None,
)


def test_one_of_manifest_and_fitted_is_wanted_and_a_wrong_file_is_named(tmp_path):
    write_raw(tmp_path)
    with pytest.raises(CalibrationError, match="neither --fitted nor --manifest"):
        stage.main(command(tmp_path))
    with pytest.raises(CalibrationError, match=r"found \{'raw': 2, 'infer': 2, 'fitted': 1\} files"):
        stage.main(command(tmp_path, "--fitted", str(tmp_path / "train.json")))
    with pytest.raises(DocumentError, match=r"train\.json: is no calibration; run calibrate again"):
        stage.main(command(tmp_path, "--fitted", *[str(tmp_path / "train.json")] * 2))
    with pytest.raises(DocumentError, match=r"none\.json: no such file"):
        stage.main(command(tmp_path, "--fitted", *[str(tmp_path / "none.json")] * 2))
    assert not (tmp_path / "tuned.parquet").exists()

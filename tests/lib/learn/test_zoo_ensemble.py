"""Claims about ensembles of rows, and about a classifier of the study as a row."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from stages.lib.core.errors import ModelError
from stages.lib.learn.candidate import Inputs
from stages.lib.learn.zoo import ensemble, study
from stages.lib.metrics.binary import average_precision
from stages.lib.metrics.calibration import sigmoid

N = 80
LABELS = np.array([1, 1, 0, 0, 0, 0] * 14)[:N]
PATIENTS = np.array([f"p{number // 2:02d}" for number in range(N)])
SAID = {"seen": "no", "licence": "MIT", "commercial": True}


def drawn(quality, seed):
    noise = np.random.default_rng(seed).normal(size=N)
    return 1 / (1 + np.exp(-(quality * (LABELS - 0.5) + noise)))


SCORES = {"a": drawn(1.5, 1), "b": drawn(1.5, 2)}


def setting(scores=SCORES, labels=LABELS, ids=None):
    ids = ids or [f"i{number:03d}" for number in range(N)]
    images = Inputs(ids=ids, patients=PATIENTS[: len(ids)], labels=labels, scores=scores)
    return SimpleNamespace(row="both", images=images, seed=1, found=None)


def params(method="rank_mean", **changes):
    stacked = {"strengths": (0.01, 1.0), "folds": 5} if method == "stacking" else {"strengths": (), "folds": 0}
    return ensemble.Params(**{**SAID, "members": ("a", "b"), "method": method, **stacked, **changes})


def fitted(folder, method, **changes):
    """Score of a row on images, after a fit on validation images."""
    ensemble.fit(params(method, **changes), setting(), folder)
    return lambda scores, **more: ensemble.score(params(method, **changes), setting(scores, None, **more), folder)


@pytest.mark.parametrize("method", ["rank_mean", "stacking"])
def test_a_score_does_not_depend_on_the_images_that_are_scored_with_it(tmp_path, method):
    score = fitted(tmp_path, method)
    new = {"a": np.linspace(0.0, 1.0, 5), "b": np.array([0.3, 0.3, 0.9, 0.2, 1.0])}
    names = [f"new{number}" for number in range(5)]
    together = score(new, ids=names).score
    alone = [score({k: v[[n]] for k, v in new.items()}, ids=names[n : n + 1]).score[0] for n in range(5)]
    assert together.tolist() == alone


def test_the_rank_is_the_fraction_of_validation_scores_below(tmp_path):
    found = fitted(tmp_path, "rank_mean")(SCORES).score
    by_hand = np.mean(
        [[(column < one).mean() + (column == one).mean() / 2 for one in column] for column in SCORES.values()], axis=0
    )
    assert found == pytest.approx(by_hand)


def test_ranks_rise_with_each_member_even_beyond_the_scores_of_validation(tmp_path):
    score = fitted(tmp_path, "rank_mean")
    steps = np.linspace(0.0, 1.0, 50)
    found = score({"a": steps, "b": np.full(50, 0.4)}, ids=[f"new{number}" for number in range(50)]).score
    assert (np.diff(found) > 0).all()
    assert found.min() >= 0.0
    assert found.max() <= 1.0


def test_the_mean_of_ranks_is_that_of_scipy_up_to_its_scale(tmp_path):
    from scipy.stats import rankdata

    found = fitted(tmp_path, "rank_mean")(SCORES).score
    ranks = np.mean([rankdata(column) for column in SCORES.values()], axis=0)
    assert found == pytest.approx((ranks - 0.5) / N)


def test_stacking_scores_new_images_by_the_regression_on_all_of_validation(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    score = fitted(tmp_path, "stacking", strengths=(1.0,))
    new = {"a": np.array([0.1, 0.5, 0.9]), "b": np.array([0.4, 0.2, 0.8])}
    x, y = (np.stack([np.log(one / (1 - one)) for one in of.values()], axis=1) for of in (SCORES, new))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000)).fit(x, LABELS)
    found = score(new, ids=["x", "y", "z"])
    assert found.score == pytest.approx(model.predict_proba(y)[:, 1])
    assert found.logits[:, 1] - found.logits[:, 0] == pytest.approx(model.decision_function(y))


def test_a_validation_image_is_scored_by_a_fit_that_has_not_seen_its_patient(tmp_path):
    """With members that know nothing, a score of the own fit would be above chance; this one is not."""
    noise = {name: np.random.default_rng(seed).random(N) for seed, name in enumerate("abcdefgh")}
    own = params("stacking", members=tuple(noise), strengths=(100.0,))
    told = ensemble.fit(own, setting(noise), tmp_path)
    crossed = ensemble.score(own, setting(noise, None), tmp_path).score
    strangers = ensemble.score(own, setting(noise, None, [f"new{n:03d}" for n in range(N)]), tmp_path).score
    assert told.tried[0].average_precision == average_precision(LABELS, crossed)
    assert average_precision(LABELS, crossed) < average_precision(LABELS, strangers) - 0.1
    assert "without its patient's" in told.notes[0]


def test_no_patient_is_in_two_folds_and_each_fold_has_both_classes():
    found = list(ensemble.folds(LABELS, PATIENTS, 5, seed=1))
    assert np.sum(found, axis=0).tolist() == [1] * N
    for inside in found:
        assert not set(PATIENTS[inside]) & set(PATIENTS[~inside])
        assert set(LABELS[inside]) == {0, 1}


def test_all_strengths_are_told_and_the_best_on_held_out_patients_is_taken(tmp_path):
    told = ensemble.fit(params("stacking", strengths=(1e-6, 1.0)), setting(), tmp_path)
    best = max(told.tried, key=lambda one: one.average_precision)
    assert [one.option for one in told.tried] == ["strength 1e-06", "strength 1"]
    assert told.chosen == best.option
    assert told.trained_parameters == 3


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"a": SCORES["a"]}, "both: b has no scores"),
        ({"a": SCORES["a"], "b": SCORES["b"][:5]}, "both: b has no scores"),
        ({"a": SCORES["a"], "b": np.full(N, np.nan)}, "both: b has scores outside of 0 to 1"),
    ],
)
def test_a_member_that_failed_is_refused_by_name(tmp_path, scores, said):
    with pytest.raises(ModelError, match=said):
        ensemble.fit(params(), setting(scores), tmp_path)


@pytest.mark.parametrize("method", ["rank_mean", "stacking"])
def test_members_whose_scores_are_all_1_are_put_together_by_their_logits(tmp_path, method):
    margins = {"a": np.where(LABELS == 1, 45.0, 38.0) + np.arange(N) / 1000, "b": np.linspace(-2.0, 50.0, N)}
    scores = {name: sigmoid(z) for name, z in margins.items()}
    assert set(scores["a"]) == {1.0}
    given = setting(scores)
    given.images = replace(given.images, margins=margins)
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    told = ensemble.fit(params(method), given, tmp_path / "with")
    blind = ensemble.fit(params(method), setting(scores), tmp_path / "without")
    best, tied = (max(tried.average_precision for tried in one.tried) for one in (told, blind))
    assert best > tied + 0.3
    asked = setting(scores, None)
    asked.images = replace(asked.images, margins=margins)
    found = ensemble.score(params(method), asked, tmp_path / "with").evidence
    assert average_precision(LABELS, found) == pytest.approx(best)


def test_ranks_by_logits_are_those_by_scores_where_no_score_is_saturated(tmp_path):
    margins = {name: np.log(one) - np.log1p(-one) for name, one in SCORES.items()}
    new = {"a": np.linspace(-9.0, 9.0, 50), "b": np.linspace(4.0, -12.0, 50)}
    names = [f"new{number}" for number in range(50)]
    by_scores = fitted(tmp_path, "rank_mean")({name: sigmoid(z) for name, z in new.items()}, ids=names).score
    known = setting(SCORES)
    known.images = replace(known.images, margins=margins)
    ensemble.fit(params(), known, tmp_path)
    asked = setting({name: sigmoid(z) for name, z in new.items()}, None, names)
    asked.images = replace(asked.images, margins=new)
    by_logits = ensemble.score(params(), asked, tmp_path).score
    assert by_logits == pytest.approx(by_scores, abs=1e-12)


def test_a_rank_by_logits_rises_beyond_all_of_validation(tmp_path):
    said = ensemble.Said(np.array([-3.0, 0.0, 38.0, 45.0]), logits=True)
    asked = ensemble.Said(np.array([-300.0, -3.0, -1.0, 2.0, 38.0, 41.0, 45.0, 60.0, 300.0]), logits=True)
    found = ensemble.rank(ensemble.ranks_of(said), asked)
    assert (np.diff(found) >= 0).all() and (np.diff(found)[:-1] > 0).all()
    assert found[[1, 4, 6]].tolist() == [0.125, 0.625, 0.875]
    assert found.min() >= 0.0 and found.max() <= 1.0


def test_a_member_that_had_logits_and_has_none_is_refused(tmp_path):
    known = setting(SCORES)
    known.images = replace(known.images, margins={"a": SCORES["a"]})
    ensemble.fit(params(), known, tmp_path)
    with pytest.raises(ModelError, match="fit this row again"):
        ensemble.score(params(), setting(SCORES, None), tmp_path)


def test_too_few_patients_for_the_folds_are_refused(tmp_path):
    labels = np.zeros(N, int)
    labels[:2] = 1  # one patient
    with pytest.raises(ModelError, match="too few patients of a class for 5 folds"):
        ensemble.fit(params("stacking"), setting(labels=labels), tmp_path)


def test_scores_of_other_members_than_those_of_the_fit_are_refused(tmp_path):
    ensemble.fit(params(), setting(), tmp_path)
    with pytest.raises(ModelError, match="fit this row again"):
        ensemble.score(params(members=("b", "a")), setting(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"members": ("a",)}, "at least two different rows"),
        ({"members": ("a", "a")}, "at least two different rows"),
        ({"method": "stacking", "strengths": ()}, "at least one strength"),
        ({"method": "stacking", "folds": 1}, "two folds"),
        ({"strengths": (1.0,)}, "stacking alone has"),
    ],
)
def test_a_row_that_makes_no_sense_alone_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        params(**changes)


PROBE = {"kind": "probe", **SAID}
TUNED = {"kind": "tuned", "architecture": "Dinov2Model", "source": "x", "start": "pretrained", "side_px": 56, **SAID}
RANDOM = {**TUNED, "start": "random", "seed": 1}


def made(*members, method="rank_mean", **changes):
    return {"kind": "ensemble", "members": list(members), "method": method, **SAID, **changes}


def soup(*members, method="greedy_soup", side_px=56):
    return made(*members, method=method, kind="soup", side_px=side_px)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"a": PROBE, "e": made("a", "e")}, "e: names itself"),
        (
            {"a": PROBE, "e": made("a", "probe_b"), "probe_c": PROBE},
            "e: member probe_b: unknown; did you mean 'probe_c'",
        ),
        ({"a": PROBE, "e": made("a", "f"), "f": made("a", "e")}, "e: is a member of itself, by e of f of e"),
        (
            {"a": {**PROBE, "seen": "labels"}, "b": PROBE, "e": made("a", "b")},
            "e: seen no, but a member has seen labels",
        ),
        ({"a": {**PROBE, "commercial": False}, "b": PROBE, "e": made("a", "b")}, "e: commercial, but its members a"),
        (
            {"a": PROBE, "b": TUNED, "e": soup("a", "b")},
            "e: greedy_soup of a; wanted rows of kind",
        ),
        (
            {"a": TUNED, "b": {**TUNED, "source": "y"}, "e": soup("a", "b", method="uniform_soup")},
            "wanted one architecture from one source",
        ),
        ({"a": RANDOM, "b": {**RANDOM, "seed": 2}, "e": soup("a", "b")}, "random weights of one seed"),
        ({"a": RANDOM, "b": TUNED, "e": soup("a", "b")}, "wanted members that start alike"),
        ({"a": TUNED, "b": TUNED, "e": soup("a", "b", side_px=28)}, "e: side_px 28, but of its members a 56, b 56"),
        ({"a": TUNED, "e": soup("a", "e")}, "e: names itself"),
    ],
)
def test_what_does_not_fit_together_is_told_before_anything_runs(rows, said):
    found = ensemble.problems(rows)
    assert any(said in sentence for sentence in found), found


def test_an_ensemble_of_an_ensemble_is_in_order():
    assert ensemble.problems({"a": PROBE, "b": PROBE, "e": made("a", "b"), "f": made("e", "a")}) == []
    assert ensemble.problems({"a": TUNED, "b": TUNED, "e": soup("a", "b"), "f": made("e", "a")}) == []


def test_a_classifier_of_the_study_keeps_its_scores_and_costs_its_shifts(tmp_path):
    own = study.Params(**SAID, classifier="tuned", shifts=2)
    given = setting({"tuned_2": SCORES["a"]})
    told = study.fit(own, given, tmp_path)
    assert told.passes == 4
    assert told.tried[0].average_precision == average_precision(LABELS, SCORES["a"])
    assert study.score(own, given, tmp_path).score.tolist() == SCORES["a"].tolist()


def test_a_classifier_without_scores_of_all_images_is_refused(tmp_path):
    own = study.Params(**SAID, classifier="tuned", shifts=1)
    given = setting({"tuned": SCORES["a"][:3]})
    given.images = replace(given.images, labels=None)
    with pytest.raises(ModelError, match="no finite scores of the classifier tuned of all 80 images"):
        study.score(own, given, tmp_path)


def test_operations_of_a_classifier_are_those_of_its_base_on_a_processor(tmp_path):
    """Counted without weights, they are those of the demo's base with them; of sdpa a CPU counts nothing."""
    from torch.utils.flop_counter import FlopCounterMode

    from stages.lib.models import gemma3

    base, question = Path("workflow/demo_base"), "Is there a nodule?"
    held = gemma3.ModelParams(dtype="float32", attention="eager", quantization="none", cache_features=False)
    loaded = gemma3.load(base, held)
    image = np.zeros((1, loaded.side_px, loaded.side_px), np.uint8)
    with FlopCounterMode(display=False) as counter:
        gemma3.last_logits(loaded, gemma3.encode(loaded, image, question, image_first=False), (0, 1))
    given = setting({"tuned": SCORES["a"]})
    given.found, given.bank = SimpleNamespace(folder=str(base)), SimpleNamespace(questions=(question,))
    told = study.fit(study.Params(**SAID, classifier="tuned", shifts=2), given, tmp_path)
    assert told.operations == pytest.approx(counter.get_total_flops(), rel=0.01)
    assert told.parameters == sum(one.numel() for one in loaded.model.parameters())


def test_a_classifier_is_ranked_by_its_logits_where_its_scores_are_all_1(tmp_path):
    given = setting({"tuned": np.ones(N)})
    given.images = replace(given.images, margins={"tuned": np.where(LABELS == 1, 45.0, 38.0)})
    told = study.fit(study.Params(**SAID, classifier="tuned", shifts=1), given, tmp_path)
    assert told.tried[0].average_precision == 1.0
    assert study.score(study.Params(**SAID, classifier="tuned", shifts=1), given, tmp_path).score.tolist() == [1.0] * N

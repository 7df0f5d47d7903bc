"""Claims about stages.nodules.measure and what it is made of."""

import json
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest
from train_logs import train_log

from stages.lib.core import documents, provenance, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.core.params import parse
from stages.lib.detect.choice import BankRow, Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.metrics import binary, measures, outcomes, thresholds
from stages.lib.metrics.bootstrap import resamples
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.measures import Key, Subject
from stages.lib.metrics.sources import Sources
from stages.nodules import consistency
from stages.nodules import measure as stage
from stages.nodules.notes import Notes

SECTION = {
    "draws": 60,
    "seed": 3,
    "confidence": 0.95,
    "tight_fraction": 0.02,
    "tolerant_fraction": 0.05,
    "ece_bins": 5,
    "other_prevalence": 0.05,
    "sources": ["nih"],
    "size_edges_mm": [10.0, 20.0],
    "contrast_edges": [0.5],
    "min_stratum_nodules": 2,
    "threshold": "f1",
    "comparisons": (("tuned", "zero_shot"),),
    "age_edges_years": [50.0],
    "min_subgroup_images": 2,
}
SHARED = {"cohort": ("sources",), "tolerance": ("tight_fraction", "tolerant_fraction"), "submit": ("threshold",)}
APART = {key for keys in SHARED.values() for key in keys}
SECTIONS = {name: {key: SECTION[key] for key in keys} for name, keys in SHARED.items()}
SECTIONS["submit"] |= {"classifier": "tuned", "localizer": "medgemma", "max_points": 3, "points_for": "all_images"}
SECTIONS["measure"] = {key: value for key, value in SECTION.items() if key not in APART}
PARAMS = stage.Params(**{**SECTION, "sources": ("nih",)})
MODELS = {"zero_shot": 0.5, "tuned": 1.5}
THRESHOLDS = {"half": 0.5, "f1": 0.4, "youden": 0.3, "specificity_95": None}


def fitted(model, **changed):
    facts = {
        "model": model,
        "method": "platt",
        "intercept": 0.0,
        "temperature": 1.0,
        "at_bound": False,
        "world_prevalence": 0.2,
        "sources": ("nih",),
        "n": 9,
        "n_positive": 3,
        "form_losses": {},
        "thresholds_on": "score_calibrated",
        "thresholds": THRESHOLDS,
        "reason": None,
    }
    return Calibration(**{**facts, **changed})


def unfitted(model):
    nothing = dict.fromkeys(THRESHOLDS) | {"half": 0.5}
    changed = {
        "intercept": None,
        "temperature": None,
        "thresholds": nothing,
        "thresholds_on": "score",
        "method": "none",
    }
    return fitted(model, **changed, reason="validation has no nodule")


def image_row(image, source="nih", label=0, patient=None, status="ok"):
    size = {"width_px": 300, "height_px": 400} if status == "ok" else {}
    ids = {"image_id": image, "file_name": f"{image}.png", "path": image, "patient_id": patient or image}
    return {**ids, **size, "source": source, "label": label, "pixel_sha256": f"pixels of {image}", "status": status}


def normalized_row(image):
    pixels = {"png": f"{image}.png", "low": 0.0, "high": 255.0, "scale": 0.28, "pad_x_px": 50, "pad_y_px": 0}
    return {"image_id": image, **pixels, "side_px": 112, "preprocessing_hash": "c0ffee", "histogram": [196] * 64}


def scores(rows, values, calibrated=True):
    made = [
        {
            "image_id": image,
            "split": split,
            "label": label,
            "logit_negative": None,
            "logit_positive": None,
            "score": float(value),
            "score_calibrated": float(value) if calibrated else None,
            "answer_mass": 1.0,
        }
        for (image, split, label), value in zip(rows, values, strict=True)
    ]
    return tables.from_rows(made, tables.INFER)


def findings(*rows):
    return tables.from_rows(
        [{"image_id": i, "rank": rank, "x": x, "y": y, "confidence": c, "shown": True} for i, rank, x, y, c in rows],
        tables.LOCALIZE,
    )


@pytest.fixture
def study():
    """80 NIH images of 40 patients in val and test, 3 LIDC images with points, one rejected image."""
    images = [image_row(f"n{k:02d}", label=int(k % 5 == 0), patient=f"p{k // 2}") for k in range(80)]
    images += [image_row(f"l{k}", source="lidc", label=1) for k in range(3)] + [image_row("broken", status="rejected")]
    splits = ["val" if k // 2 < 15 else "test" for k in range(80)] + ["train", "test", "test"]
    parts = [
        {"image_id": f["image_id"], "patient_id": f["patient_id"], "label": f["label"], "split": split}
        for f, split in zip(images, splits, strict=False)
    ]
    rows = [(part["image_id"], part["split"], part["label"]) for part in parts if part["split"] != "train"]
    rng = np.random.default_rng(0)
    labels = np.array([label for _, _, label in rows])
    infer = {
        name: scores(rows, 1 / (1 + np.exp(-rng.normal(size=len(rows)) - strength * (labels - 0.5))))
        for name, strength in MODELS.items()
    }
    points = [("l0", 0, 50, 50), ("l0", 1, 200, 200), ("l1", 0, 100, 100), ("l2", 0, 10, 10)]
    asked = [("l0", "ok"), ("l1", "ok"), ("l2", "malformed"), ("n71", "ok"), ("n72", "empty"), ("n01", "ok")]
    return consistency.Tables(
        manifest=tables.from_rows(images, tables.MANIFEST),
        normalized=tables.from_rows([normalized_row(image["image_id"]) for image in images], tables.NORMALIZED),
        split=tables.from_rows(parts, tables.SPLIT),
        points=tables.from_rows(
            [{"image_id": i, "point": k, "x": float(x), "y": float(y)} for i, k, x, y in points], tables.POINTS
        ),
        infer=infer,
        calibration={name: fitted(name) for name in MODELS},
        localize={
            "medgemma": findings(
                ("l0", 0, 56.0, 58.0, None),
                ("l1", 0, 103.0, 104.0, None),
                ("l1", 1, 250.0, 300.0, None),
                ("n71", 0, 1.0, 1.0, None),
                ("n71", 1, 9.0, 9.0, None),
                ("n01", 0, 5.0, 5.0, None),
            )
        },
        responses={
            "medgemma": tables.from_rows(
                [
                    {"image_id": image, "prompt": "where", "view": "whole", "response": "...", "parsed": parsed}
                    for image, parsed in asked
                ],
                tables.RESPONSES,
            )
        },
        choice={},
        cutoff={},
        fields={},
    )


def metrics(study, params):
    """What metrics.json has of a study."""
    results = stage.measure(study, params)
    document = measures.nested(results.measures)
    return document | {
        "warnings": results.warnings,
        "counts": documents.as_mapping(consistency.counts(study)),
        "divisions": {(one.localizer, one.subset, one.name): one for one in results.divisions},
    }


def test_every_number_has_its_n_and_an_interval_around_it(study):
    document = metrics(study, PARAMS)
    found = document["classification"]["tuned"]["test"]
    table = study.infer["tuned"].to_pylist()
    rows = [row for row in table if row["split"] == "test" and row["image_id"].startswith("n")]
    labels, values = [row["label"] for row in rows], [row["score"] for row in rows]
    area = found["roc_auc"]
    assert area["value"] == pytest.approx(binary.roc_auc(labels, values))
    assert (area["n"], area["n_positive"], area["n_patients"]) == (50, 10, 25)
    for split in ("val", "test"):
        for name, entry in document["classification"]["tuned"][split].items():
            assert entry["n"] > 0, name
            if entry["value"] is not None and "low" in entry and "ece" not in name:
                low, high = entry.get("known_low", entry["low"]), entry.get("known_high", entry["high"])
                assert low <= entry["value"] <= high and entry["low"] <= entry["high"], name
    accuracy = found["accuracy_at_half"]
    assert accuracy["wilson_low"] < accuracy["value"] < accuracy["wilson_high"]


def test_chosen_thresholds_stand_beside_their_metrics_and_missing_ones_say_why(study):
    found = metrics(study, PARAMS)["classification"]["tuned"]["test"]
    assert found["f1_at_half"]["threshold"] == 0.5 and found["f1_at_f1"]["threshold"] == 0.4
    assert found["true_positives_at_youden"]["threshold"] == 0.3
    assert found["sensitivity_at_youden"]["value"] >= found["sensitivity_at_half"]["value"]
    assert found["sensitivity_at_specificity_95"]["value"] is None
    assert "no score of a validation image" in found["sensitivity_at_specificity_95"]["reason"]
    assert "true_positives_at_specificity_95" not in found


def test_only_thresholds_chosen_on_validation_have_an_interval_with_the_threshold_as_known_beside(study):
    document = metrics(study, PARAMS)
    tuned, gap = document["classification"]["tuned"], document["comparison"]["tuned"]["zero_shot"]["test"]
    for found in (tuned["test"], tuned["val"], gap):
        chosen = {name for name, one in found.items() if "known_low" in one}
        wanted = {f"{metric}_at_{at}" for metric in binary.THRESHOLD_METRICS for at in ("f1", "youden")}
        assert chosen - {name for name in chosen if "_by_bayes_" in name} == wanted
    few = study.infer["tuned"].to_pylist()
    for row in few:
        row["score_calibrated"] = row["score"] if row["split"] != "val" else 0.9 + 0.1 * row["score"]
    other = replace(study, infer={**study.infer, "tuned": tables.from_rows(few, tables.INFER)})
    moved = metrics(other, PARAMS)["classification"]["tuned"]["test"]["accuracy_at_f1"]
    before = tuned["test"]["accuracy_at_f1"]
    assert moved["known_low"] == before["known_low"] and moved["low"] != before["low"]


def test_validation_patients_are_drawn_apart_from_test_patients_and_judged_at_the_threshold_of_their_own_resample(
    study,
):
    results = stage.measure(study, PARAMS)
    table = study.infer["tuned"].to_pylist()
    patient = {row["image_id"]: row["patient_id"] for row in study.manifest.to_pylist()}
    for split, seed in (("val", PARAMS.seed + 1), ("test", PARAMS.seed)):
        rows = [row for row in table if row["split"] == split and row["image_id"].startswith("n")]
        labels, values = (np.array([row[name] for row in rows]) for name in ("label", "score_calibrated"))
        patients = np.array([patient[row["image_id"]] for row in rows])
        nested = []
        times = np.concatenate(list(resamples(patients, draws=PARAMS.draws, seed=seed)))
        for weights, own in zip(times, results.redrawn["tuned"]["f1"], strict=True):
            lost = weights @ labels in (0, weights.sum()) or np.isnan(own)
            nested.append(np.nan if lost else binary.f1(binary.confusion(labels, values >= own, weights)))
            if split == "val" and not lost:
                here = weights @ labels / weights.sum()
                class_weights = np.where(labels == 1, 0.2 / here, 0.8 / (1 - here))[weights > 0]
                chosen = thresholds.choose(
                    labels[weights > 0], values[weights > 0], (weights[weights > 0] * class_weights)
                )
                assert own == chosen["f1"]
        one = results.measures[Subject("classification", "tuned", split)][Key("f1", "f1")]
        assert (one.low, one.high) == pytest.approx(tuple(np.nanquantile(nested, [0.025, 0.975])))


def test_subgroups_of_the_test_images_are_measured_where_the_manifest_tells_them_apart(study):
    rows = study.manifest.to_pylist()
    for number, row in enumerate(row for row in rows if row["source"] == "nih" and row["status"] == "ok"):
        row |= {"sex": "FM"[number // 2 % 2], "age_years": 30.0 + number % 40 if number != 79 else None}
    told = replace(study, manifest=tables.from_rows(rows, tables.MANIFEST))
    results = stage.measure(told, PARAMS)
    found = {s.subset: m for s, m in results.measures.items() if (s.task, s.system) == ("classification", "tuned")}
    assert set(found) == {"val", "test", "test/sex/F", "test/sex/M", "test/age/below_50", "test/age/from_50"}
    women = [number for number in range(30, 80) if number // 2 % 2 == 0]
    scored = {row["image_id"]: row["score"] for row in told.infer["tuned"].to_pylist()}
    labels = [int(number % 5 == 0) for number in women]
    area = found["test/sex/F"][Key("roc_auc")]
    assert area.value == pytest.approx(binary.roc_auc(labels, [scored[f"n{number:02d}"] for number in women]))
    assert (area.n, area.n_positive, area.n_patients) == (len(women), sum(labels), len(women) // 2)
    assert {one.name: (list(one.groups), one.n_unknown, one.reason) for one in results.subgroups} == {
        "sex": (["F", "M"], 0, None),
        "age": (["below_50", "from_50"], 1, None),
        "view": ([], 50, "the manifest has no view"),
        "source": ([], 0, "every image with a known source is nih"),
        "size": ([], 10, "the diameter of no nodule is known in mm"),
    }
    assert results.subgroup_tests == {"tuned": 2, "zero_shot": 2}


def test_the_size_of_an_image_is_that_of_its_largest_nodule_and_every_negative_image_is_its_counterpart(study):
    points = study.points.to_pylist()
    for row in points:
        row["diameter_mm"] = {"l1": 25.0, "l2": 5.0}.get(row["image_id"])
    points.append({"image_id": "l2", "point": 1, "x": 3.0, "y": 4.0, "diameter_mm": 12.0, "contrast": None})
    sized = replace(study, points=tables.from_rows(points, tables.POINTS))
    results = stage.measure(sized, replace(PARAMS, sources=("nih", "lidc"), min_subgroup_images=1))
    found = {s.subset: m for s, m in results.measures.items() if (s.task, s.system) == ("classification", "tuned")}
    counts = {
        name: (found[f"test/size/{name}"][Key("roc_auc")].n_positive, found[f"test/size/{name}"][Key("roc_auc")].n)
        for name in ("below_10", "10_to_20", "from_20")
    }
    assert counts == {"below_10": (0, 40), "10_to_20": (1, 41), "from_20": (1, 41)}
    size = next(one for one in results.subgroups if one.name == "size")
    assert size.n_unknown == 10 and "sized nodules are of lidc, negative images of nih" in size.note


def test_the_published_confusion_comes_out_of_the_whole_stage(study):
    counts = {(1, 0.9): 147, (0, 0.9): 246, (1, 0.1): 259, (0, 0.1): 8808}
    pairs = [pair for pair, times in counts.items() for _ in range(times)]
    images = [image_row(f"{k:05d}", label=label) for k, (label, _) in enumerate(pairs)]
    rows = [(f["image_id"], "test", f["label"]) for f in images]
    published = replace(
        study,
        manifest=tables.from_rows(images, tables.MANIFEST),
        split=tables.from_rows(
            [{"image_id": i, "patient_id": i, "label": label, "split": s} for i, s, label in rows], tables.SPLIT
        ),
        points=study.points.slice(0, 0),
        infer={"tuned": scores(rows, [score for _, score in pairs])},
        localize={},
        responses={},
    )
    found = metrics(published, replace(PARAMS, draws=5))["classification"]["tuned"]["test"]
    wanted = {"precision": 0.3740, "sensitivity": 0.3621, "specificity": 0.9728, "f1": 0.3680, "accuracy": 0.9466}
    wanted |= {"balanced_accuracy": 0.6674, "mcc": 0.3401}
    prevalence = round(found["prevalence"]["value"], 4)
    assert {name: round(found[f"{name}_at_half"]["value"], 4) for name in wanted} == wanted and prevalence == 0.0429
    assert (found["f1_at_half"]["n"], found["f1_at_half"]["n_positive"]) == (9460, 406)
    assert found["true_positives_at_half"]["value"] == 147 and found["false_negatives_at_half"]["value"] == 259
    own = metrics(published, replace(PARAMS, draws=5, other_prevalence=406 / 9460))
    assert own["classification"]["tuned"]["test"]["ppv_by_bayes_at_half"]["value"] == pytest.approx(147 / 393)


def test_only_images_of_the_sources_count_for_the_classification(study):
    both = metrics(study, replace(PARAMS, sources=("nih", "lidc")))["classification"]["tuned"]["test"]
    assert (both["roc_auc"]["n"], both["roc_auc"]["n_positive"]) == (52, 12)


def test_the_comparison_is_tuned_minus_zero_shot_on_the_same_resamples(study):
    document = metrics(study, PARAMS)
    tuned, base = (document["classification"][model]["test"]["roc_auc"] for model in ("tuned", "zero_shot"))
    gaps = document["comparison"]["tuned"]["zero_shot"]["test"]
    gap = gaps["roc_auc"]
    assert gap["value"] == pytest.approx(tuned["value"] - base["value"])
    assert gap["low"] < gap["value"] < gap["high"]
    assert 0 < gaps["delong_p"]["value"] < 1 and np.sign(gaps["delong_z"]["value"]) == np.sign(gap["value"])
    right = [
        {
            row["image_id"]
            for row in study.infer[model].to_pylist()
            if row["split"] == "test" and row["image_id"][0] == "n" and (row["score"] >= 0.5) == row["label"]
        }
        for model in ("tuned", "zero_shot")
    ]
    assert gaps["only_first_right_at_half"]["value"] == len(right[0] - right[1])
    assert gaps["only_second_right_at_half"]["value"] == len(right[1] - right[0])


def test_a_model_compared_with_itself_differs_by_nothing(study):
    same = replace(study, infer=dict.fromkeys(MODELS, study.infer["tuned"]))
    gaps = metrics(same, PARAMS)["comparison"]["tuned"]["zero_shot"]["test"]
    for name, gap in gaps.items():
        if "skipped_draws" in gap and gap["value"] is not None:
            assert gap["value"] == gap["low"] == gap["high"] == 0, name
    assert gaps["delong_p"]["value"] is None and "alike" in gaps["delong_p"]["reason"]
    assert gaps["mcnemar_p_at_half"]["value"] == 1.0


def test_one_model_alone_is_measured_and_compared_with_nothing(study):
    document = metrics(replace(study, infer={"tuned": study.infer["tuned"]}), PARAMS)
    assert "comparison" not in document and set(document["classification"]) == {"tuned"}


def near(found, at):
    """Measures at one tolerance, by metric."""
    return {name.removesuffix(f"_at_{at}"): entry for name, entry in found.items() if name.endswith(f"_at_{at}")}


def test_localization_by_hand_with_a_malformed_answer_as_no_point(study):
    views = metrics(study, PARAMS)["localization"]["medgemma"]
    found = views["all"]
    tight = near(found, "tight")
    counts = [tight[name]["value"] for name in ("true_positives", "false_positives", "false_negatives")]
    assert counts == [2, 1, 2]
    assert tight["precision"]["value"] == pytest.approx(2 / 3) and tight["recall"]["value"] == pytest.approx(2 / 4)
    assert (tight["recall"]["n"], tight["recall"]["n_points"], tight["recall"]["n_predictions"]) == (3, 4, 3)
    assert tight["recall"]["n_patients"] == 3
    assert found["count_exact"]["value"] == 0.0
    assert found["count_error"]["value"] == pytest.approx(1.0)
    assert tight["random_placement_recall"]["value"] < 0.03
    assert (tight["precision_macro"]["value"], tight["recall_macro"]["value"]) == pytest.approx((3 / 4, 1 / 2))
    assert "all/negatives" not in views
    assert not {"non_lesion_fraction", "cpm"} & set(tight)


def test_the_headline_view_has_test_images_alone(study):
    found = metrics(study, PARAMS)["localization"]["medgemma"]["test"]
    tight = near(found, "tight")  # l1 with a hit and a point too many, l2 with none; l0 is of training
    counts = [tight[name]["value"] for name in ("true_positives", "false_positives", "false_negatives")]
    assert counts == [1, 3, 1]
    assert tight["non_lesion_fraction"]["value"] == pytest.approx((1 + 2) / 4)
    right = found["count_exact"]  # n72 alone of l1, l2, n71 and n72
    assert (right["value"], right["n"], right["n_negative"]) == (0.25, 4, 2)


def test_precision_and_f1_count_points_on_negative_images_and_of_the_positives_alone_do_not(study):
    results = stage.measure(study, PARAMS)
    views = measures.nested(results.measures)["localization"]["medgemma"]
    names = ("precision", "f1", "recall", "false_positives")
    # l1 has a hit and a false point, l2 a nodule and no point; n71 is negative with two points, n72 with none.
    both, alone = ({name: near(views[view], "tight")[name] for name in names} for view in ("test", "test/positives"))
    assert [both[name]["value"] for name in names] == pytest.approx([1 / 4, 2 / (4 + 2), 1 / 2, 3])
    assert [alone[name]["value"] for name in names] == pytest.approx([1 / 2, 2 / (2 + 2), 1 / 2, 1])
    assert [both["precision"][fact] for fact in ("n", "n_negative", "n_points", "n_predictions")] == [4, 2, 2, 4]
    assert (alone["precision"]["n"], alone["precision"]["n_predictions"]) == (2, 2)
    assert both["recall"] == alone["recall"]
    assert "precision_macro_at_tight" in views["test/positives"] and "precision_macro_at_tight" not in views["test"]
    short = measures.headline(results.measures)["medgemma"]
    assert short["precision_at_tolerant"] == views["test"]["precision_at_tolerant"]["value"] == pytest.approx(1 / 4)


def test_distances_in_mm_are_of_the_images_whose_spacing_is_known(study):
    nothing = metrics(study, PARAMS)["localization"]["medgemma"]["all"]
    for entry in (nothing["median_radial_error_mm_at_tight"], nothing["nearest_point_mm"]):
        assert entry["value"] is None and "no image with marked nodules has a known spacing" in entry["reason"]
        assert entry["n"] == 0
    images = [row | ({"spacing_mm": 0.2} if row["image_id"] == "l1" else {}) for row in study.manifest.to_pylist()]
    spaced = replace(study, manifest=tables.from_rows(images, tables.MANIFEST))
    found = metrics(spaced, PARAMS)["localization"]["medgemma"]["all"]
    matched = found["mean_radial_error_mm_at_tight"]
    assert matched["value"] == pytest.approx(5 * 0.2)
    assert (matched["n"], matched["n_patients"], matched["n_points"], matched["n_predictions"]) == (1, 1, 1, 2)
    far = np.hypot(150, 200)
    assert found["nearest_point_mm"]["value"] == pytest.approx((5 + far) / 2 * 0.2)
    assert found["mean_nearest_point_mm"]["value"] == pytest.approx((5 + far) / 2 * 0.2)
    assert found["median_radial_error_px_at_tight"]["value"] == pytest.approx(7.5)


def test_strata_have_the_recall_of_their_nodules_or_the_reason_why_not(study):
    document = metrics(study, PARAMS)
    found = {name: subset.get("recall_at_tight") for name, subset in document["localization"]["medgemma"].items()}
    divisions = {kind: document["divisions"]["medgemma", "all", kind] for kind in ("size", "height", "side")}
    # 300 x 400 pixels: l0 (50, 50) found, (200, 200) not; l1 (100, 100) found; l2 (10, 10) not.
    upper = found["all/height/upper"]
    assert upper["value"] == pytest.approx(2 / 3) and (upper["n"], upper["n_points"]) == (3, 3)
    assert upper["low"] <= upper["value"] <= upper["high"] and upper["wilson_low"] > 0
    middle = found["all/height/middle"]
    assert middle["value"] is None and middle["reason"] == "too few nodules: 1, wanted at least 2"
    assert found["all/height/lower"]["reason"] == "there is no such nodule"
    assert found["all/side/patients_right"]["n_points"] == 3
    assert "stand-in" in divisions["height"].note and "patient's right" in divisions["side"].note
    assert divisions["size"].strata == {} and divisions["size"].n_unknown == 4
    assert divisions["size"].reason == "the diameter of no nodule is known in mm"
    rows = study.points.to_pylist()
    for row, size in zip(rows, (9.0, 10.0, 19.9, None), strict=True):
        row["diameter_mm"] = size
    sized = metrics(replace(study, points=tables.from_rows(rows, tables.POINTS)), PARAMS)
    size, found = sized["divisions"]["medgemma", "all", "size"], sized["localization"]["medgemma"]
    assert size.strata == {"below_10": (None, 10), "10_to_20": (10, 20), "from_20": (20, None)}
    counts = [found[f"all/size/{stratum}"]["recall_at_tight"]["n_points"] for stratum in size.strata]
    assert counts == [1, 2, 0] and size.n_unknown == 1
    assert found["all/size/10_to_20"]["recall_at_tight"]["value"] == 0.5


def test_negative_images_are_those_of_the_test_split_that_were_asked_about(study):
    negatives = metrics(study, PARAMS)["localization"]["medgemma"]["test/negatives"]
    assert negatives["false_points_per_image"]["n"] == 2  # n71 and n72; n01 is of validation
    assert negatives["false_points_per_image"]["value"] == 1.0
    assert negatives["fraction_with_point"]["value"] == 0.5


def test_the_interval_of_the_joint_score_chooses_the_threshold_anew_too(study):
    results = stage.measure(study, PARAMS)
    one = results.measures[Subject("joint", "medgemma", "test", "tuned")][Key("joint_right", "tight")]
    # Test images: l1 has a hit, l2 has none; n71 is negative with points, n72 negative without.
    ids, hit, nodule = ("l1", "l2", "n71", "n72"), (True, False, False, True), (True, True, False, False)
    scored = {row["image_id"]: row["score_calibrated"] for row in study.infer["tuned"].to_pylist()}
    patients = np.array([{"n71": "p35", "n72": "p36"}.get(name, name) for name in ids])
    nested, known = [], []
    times = np.concatenate(list(resamples(patients, draws=PARAMS.draws, seed=PARAMS.seed)))
    for weights, own in zip(times, results.redrawn["tuned"]["f1"], strict=True):
        for values, threshold in ((nested, own), (known, one.threshold)):
            right = [h and (scored[name] >= threshold) == n for name, h, n in zip(ids, hit, nodule, strict=True)]
            values.append(np.nan if np.isnan(threshold) else weights @ right / weights.sum())
    assert (one.low, one.high) == pytest.approx(tuple(np.nanquantile(nested, [0.025, 0.975])))
    assert (one.known_low, one.known_high) == pytest.approx(tuple(np.quantile(known, [0.025, 0.975])))
    assert nested != known and one.skipped_draws == np.isnan(nested).sum()


def test_the_joint_score_wants_label_and_point_right(study):
    sure = {row["image_id"]: 0.9 if row["label"] else 0.1 for row in study.infer["tuned"].to_pylist()}
    rows = [(row["image_id"], row["split"], row["label"]) for row in study.infer["tuned"].to_pylist()]
    right = replace(study, infer={"tuned": scores(rows, [sure[image] for image, _, _ in rows])})
    joint = metrics(right, PARAMS)["joint"]["medgemma"]["tuned"]["test"]
    # Test images: l1 has a hit, l2 has none; n71 is negative with points, n72 negative without.
    assert (
        joint["joint_right_at_tight"]["value"],
        joint["joint_right_at_tight"]["n"],
        joint["joint_right_at_tight"]["threshold"],
    ) == (0.5, 4, 0.4)
    assert joint["joint_right_nodule_at_tight"]["value"] == joint["joint_right_negative_at_tight"]["value"] == 0.5
    wrong = replace(study, infer={"tuned": scores(rows, [1 - sure[image] for image, _, _ in rows])})
    joint = metrics(wrong, PARAMS)["joint"]["medgemma"]["tuned"]["test"]
    assert joint["joint_right_at_tight"]["value"] == 0.0


def test_the_joint_score_calls_images_at_the_threshold_of_the_submission(study):
    at = {
        name: metrics(study, replace(PARAMS, threshold=name))["joint"]["medgemma"]["tuned"]["test"]
        for name in THRESHOLDS
    }
    used = {name: found["joint_right_at_tight"]["threshold"] for name, found in at.items()}
    assert used == {"half": 0.5, "f1": 0.4, "youden": 0.3, "specificity_95": 0.5}  # the last was not chosen
    scores = {row["image_id"]: row["score"] for row in study.infer["tuned"].to_pylist()}
    for name, found in at.items():  # of the negative images n72 alone has no point
        assert found["joint_right_negative_at_tight"]["value"] == (0.5 if scores["n72"] < used[name] else 0.0)
        assert found["joint_right_nodule_at_tight"]["value"] == (0.5 if scores["l1"] >= used[name] else 0.0)


def sourced(study, **sources):
    """The study with other sources of some images."""
    rows = [row | {"source": sources.get(row["image_id"], row["source"])} for row in study.manifest.to_pylist()]
    return replace(study, manifest=tables.from_rows(rows, tables.MANIFEST))


def test_numbers_across_sources_are_marked_and_within_a_source_of_one_kind_there_are_none(study):
    results = stage.measure(study, PARAMS)
    assert [(one.localizer, one.subset, one.sources.across) for one in results.sources] == [("medgemma", "test", True)]
    assert results.sources[0].sources == Sources(marked={"lidc": 2}, negative={"nih": 2})
    told = [sentence for sentence in results.warnings if sentence.startswith("Across sources")]
    assert len(told) == 1 and "nodules are from lidc (2), the negative ones from nih (2)" in told[0]
    subject = Subject("localization", "medgemma", "test")
    for source, lacking in (("lidc", "negative"), ("nih", "marked")):
        found = results.measures[subject._replace(subset=f"test/source/{source}")]
        assert set(found) == set(results.measures[subject]) and Key("cpm", "tight") in found
        assert {one.value for one in found.values()} == {None}
        assert {one.reason for one in found.values()} == {f"no {lacking} image is of the source {source}"}
        assert {one.n for one in found.values()} == {2}
        joint = results.measures[Subject("joint", "medgemma", f"test/source/{source}", "tuned")]
        assert {one.value for one in joint.values()} == {None}


def test_within_a_source_with_both_kinds_of_images_all_is_measured_on_these(study):
    mixed = sourced(study, l2="nih")  # of NIH a nodule that is missed, two points on n71, none on n72; of LIDC l1
    results = stage.measure(mixed, PARAMS)
    assert results.sources[0].sources.across and any("Across sources" in sentence for sentence in results.warnings)
    found = results.measures[Subject("localization", "medgemma", "test/source/nih")]
    told = [found[Key(name, "tight")] for name in ("precision", "recall", "false_positives")]
    assert [one.value for one in told] == [0.0, 0.0, 2.0]
    assert (told[0].n, told[0].n_negative, told[1].n) == (3, 2, 1)
    joint = results.measures[Subject("joint", "medgemma", "test/source/nih", "tuned")]
    assert joint[Key("joint_right", "tight")].n == 3
    assert results.measures[Subject("localization", "medgemma", "test/source/lidc")][Key("f1", "tight")].value is None
    alike = stage.measure(sourced(study, l1="nih", l2="nih"), PARAMS)
    whole, inside = (
        alike.measures[Subject("localization", "medgemma", subset)] for subset in ("test", "test/source/nih")
    )
    assert whole == inside
    assert not any("Across sources" in sentence for sentence in alike.warnings)


def test_a_cutoff_that_was_chosen_across_sources_is_warned_of(study):
    kinds = {
        "across": Sources(marked={"lidc": 3}, negative={"nih": 4}),
        "within": Sources(marked={}, negative={"nih": 4}),
    }
    cutoffs = {name: Cutoff(cutoff=0.5, sources=sources) for name, sources in kinds.items()}
    told = [
        sentence for sentence in metrics(replace(study, cutoff=cutoffs), PARAMS)["warnings"] if "choose" in sentence
    ]
    assert len(told) == 1 and "from lidc (3), the negative ones from nih (4)" in told[0] and "(across)" in told[0]


def test_froc_exists_only_if_every_point_has_a_confidence(study):
    assert "no curve" in metrics(study, PARAMS)["localization"]["medgemma"]["test"]["cpm_at_tight"]["reason"]
    table = study.localize["medgemma"]
    place = table.column_names.index("confidence")
    sure = table.set_column(place, "confidence", pa.array([0.9, 0.8, 0.3, 0.5, 0.2, 0.1]))
    froc = metrics(replace(study, localize={"medgemma": tables.check(sure, tables.LOCALIZE)}), PARAMS)
    tight = froc["localization"]["medgemma"]["test"]
    # In order: l1 .8 found, l1 .3 false, n71 .2 and .1 false; four images, two points.
    assert tight["froc_sensitivity_at_tight/1_8"]["value"] == 0.5 and tight["cpm_at_tight"]["value"] == 0.5
    assert (tight["cpm_at_tight"]["n"], tight["cpm_at_tight"]["n_points"]) == (4, 2)


def test_without_a_fit_the_calibrated_numbers_are_null_with_the_reason(study):
    infer = {
        name: table.set_column(6, "score_calibrated", pa.nulls(table.num_rows, pa.float64()))
        for name, table in study.infer.items()
    }
    document = metrics(replace(study, infer=infer, calibration={name: unfitted(name) for name in MODELS}), PARAMS)
    found = document["classification"]["tuned"]["test"]
    for name in ("brier_calibrated", "ece_calibrated", "f1_at_f1", "mcc_at_youden"):
        assert found[name]["value"] is None and found[name]["reason"] == "validation has no nodule"
    assert found["roc_auc"]["value"] is not None
    assert any("not calibrated" in sentence for sentence in document["warnings"])
    assert document["joint"]["medgemma"]["tuned"]["test"]["joint_right_at_tight"]["threshold"] == 0.5
    assert document["comparison"]["tuned"]["zero_shot"]["test"]["f1_at_f1"]["value"] is None


def test_a_split_with_one_class_or_none_is_undefined_and_never_0(study):
    keep = [row for row in study.split.to_pylist() if not (row["split"] == "val" and row["label"] == 1)]
    ids = {row["image_id"] for row in keep}
    infer = {
        name: tables.from_rows([row for row in table.to_pylist() if row["image_id"] in ids], tables.INFER)
        for name, table in study.infer.items()
    }
    document = metrics(replace(study, split=tables.from_rows(keep, tables.SPLIT), infer=infer), PARAMS)
    val = document["classification"]["tuned"]["val"]
    assert val["roc_auc"]["value"] is None and val["roc_auc"]["reason"] == "no image has a nodule"
    assert val["specificity_at_half"]["value"] is not None and val["specificity_at_half"]["low"] is not None
    assert any("val has 0 images with a nodule" in sentence for sentence in document["warnings"])
    assert document["comparison"]["tuned"]["zero_shot"]["val"]["roc_auc"]["value"] is None
    nobody = metrics(study, replace(PARAMS, sources=("other",)))
    empty = nobody["classification"]["tuned"]["test"]
    assert all(entry["value"] is None for entry in empty.values() if "skipped_draws" in entry)
    json.dumps({name: nobody[name] for name in ("classification", "comparison", "localization")}, allow_nan=False)


def test_resamples_that_lost_a_class_are_skipped_and_counted_for_every_metric(study):
    few = [f"n{k:02d}" for k in (30, 31, 32, 33, 34)]
    rows = [row for row in study.split.to_pylist() if row["image_id"] in few or row["image_id"][0] == "l"]
    infer = {
        name: tables.from_rows(
            [row for row in table.to_pylist() if row["image_id"] in few or row["image_id"][0] == "l"], tables.INFER
        )
        for name, table in study.infer.items()
    }
    small = replace(study, split=tables.from_rows(rows, tables.SPLIT), infer=infer)
    found = metrics(small, replace(PARAMS, draws=200))["classification"]["tuned"]["test"]
    skipped = {name: found[name]["skipped_draws"] for name in ("roc_auc", "accuracy_at_half", "brier")}
    assert len(set(skipped.values())) == 1 and 20 < skipped["roc_auc"] < 180


def test_shared_patients_and_pictures_are_named_as_leaks(study):
    assert not any("LEAK" in sentence for sentence in consistency.leaks(study))
    rows = [row | ({"split": "train"} if row["image_id"] == "n00" else {}) for row in study.split.to_pylist()]
    shared = consistency.leaks(replace(study, split=tables.from_rows(rows, tables.SPLIT)))
    assert len(shared) == 1 and "patients are shared between splits: 1 of 43" in shared[0]
    images = study.manifest.to_pylist()
    for row in images:
        if row["image_id"] in ("n00", "n79"):
            row["pixel_sha256"] = "copies"
    copies = consistency.leaks(replace(study, manifest=tables.from_rows(images, tables.MANIFEST)))
    assert len(copies) == 1 and "1 of 82 images are in more than one split" in copies[0]
    for row in images:
        row["pixel_sha256"] = row["image_id"]
        row["duplicate_group"] = {"n00": "n00", "n79": "n00", "n01": "n01", "n02": "n01"}.get(row["image_id"])
    alike = consistency.leaks(replace(study, manifest=tables.from_rows(images, tables.MANIFEST)))
    assert len(alike) == 1 and "1 of 2 groups of near-duplicates are in more than one split" in alike[0], alike


def test_labelled_images_that_a_split_from_outside_does_not_name_are_warned_of(study):
    assert consistency.left_out(study) == 0
    fewer = replace(study, split=study.split.slice(2))
    assert consistency.left_out(fewer) == 2
    assert "2 labelled images are in no split" in " ".join(consistency.warnings(fewer, {}, {}))


def test_images_whose_patient_is_not_known_are_warned_of(study):
    rows = study.manifest.to_pylist()
    told = [{**row, "patient_id": row["patient_id"] + "_"} for row in rows]
    assert not consistency.unknown_patients(replace(study, manifest=tables.from_rows(told, tables.MANIFEST)))
    (sentence,) = consistency.unknown_patients(study)  # the LIDC images have none
    assert sentence.startswith("The patient of 3 of 83 images is not known: each is taken for a patient of its own. If")
    assert sentence in consistency.warnings(study, {}, {})


def test_what_was_lost_on_the_way_is_counted_and_warned_of(study):
    document = metrics(study, PARAMS)
    counts = document["counts"]
    assert (counts["images"], counts["rejected"], counts["points"], counts["images_with_points"]) == (84, 1, 4, 3)
    assert counts["responses"]["medgemma"] == {"n": 6, "ok": 4, "empty": 1, "malformed": 1, "cut": 0}
    assert counts["by_split"]["test"] == {"no_finding": 40, "nodule": 12, "unlabelled": 0, "patients": 27}
    sentences = " ".join(document["warnings"])
    assert "1 of 84 images were rejected" in sentences and "1 of 6 responses cannot be read" in sentences
    fewer = replace(
        study, responses={"medgemma": study.responses["medgemma"].slice(0, 2)}, localize={"medgemma": findings()}
    )
    sentences = " ".join(metrics(fewer, PARAMS)["warnings"])
    assert "1 of 3 images with points were not examined" in sentences
    assert "no negative test image" in sentences


def parsed_as(study, *statuses):
    """The study with these kinds of responses."""
    rows = study.responses["medgemma"].to_pylist()
    said = [row | {"parsed": parsed} for row, parsed in zip(rows, statuses, strict=True)]
    return replace(study, responses={"medgemma": tables.from_rows(said, tables.RESPONSES)})


def test_malformed_and_cut_responses_are_measured_per_localizer_and_prompt(study):
    where = BankRow(
        prompt="where",
        cutoff=None,
        f1=0.5,
        true_positives=1,
        points=2,
        nodules=2,
        images=8,
        negatives=4,
        false_points_per_image=0.25,
        responses=8,
        malformed=2,
        cut=4,
    )
    chosen = Choice(prompts=("where",), splits=("train",), bank=(where, replace(where, prompt="which", responses=0)))
    told = parsed_as(replace(study, choice={"medgemma": chosen}), "ok", "cut", "cut", "malformed", "empty", "ok")
    found = metrics(told, PARAMS)["responses"]["medgemma"]
    for subset in ("localized", "localized/where"):
        malformed, cut = (found[subset][name] for name in ("malformed_fraction", "cut_fraction"))
        assert (malformed["value"], cut["value"]) == (1 / 6, 2 / 6)
        assert (cut["n"], cut["n_patients"]) == (6, 6)
        assert cut["low"] <= cut["value"] <= cut["high"]
    tried = found["choosing/where"]["cut_fraction"]
    assert (tried["value"], tried["n"], tried["wilson_low"] < 0.5 < tried["wilson_high"]) == (0.5, 8, True)
    assert found["choosing/which"]["cut_fraction"]["reason"] == "there is no response"


def test_the_median_completeness_error_of_attribution_maps_is_measured_and_other_localizers_have_none(study):
    rows = study.responses["medgemma"].to_pylist()
    errors = [0.5, 0.1, None, 0.3, 0.2, 0.9]
    made = [row | {"completeness_error": error} for row, error in zip(rows, errors, strict=True)]
    told = replace(study, responses={"medgemma": tables.from_rows(made, tables.RESPONSES)})
    found = metrics(told, PARAMS)["responses"]["medgemma"]["localized"]["completeness_error"]
    assert (found["value"], found["n"], found["n_patients"]) == (0.3, 5, 5)
    assert 0.1 <= found["low"] < 0.3 < found["high"] <= 0.9
    assert "completeness_error" not in metrics(study, PARAMS)["responses"]["medgemma"]["localized"]


def test_most_responses_malformed_or_cut_is_warned_of_and_half_of_them_is_not(study):
    half = parsed_as(study, "ok", "cut", "cut", "malformed", "empty", "ok")
    assert "most of its responses" not in " ".join(metrics(half, PARAMS)["warnings"])
    most = parsed_as(study, "ok", "cut", "cut", "malformed", "malformed", "ok")
    sentences = " ".join(metrics(most, PARAMS)["warnings"])
    assert "medgemma: most of its responses say nothing" in sentences
    assert "33 % cannot be read and 33 % were cut at max_new_tokens" in sentences
    assert "2 of 6 responses cannot be read, and 2 were cut at max_new_tokens" in sentences


def test_findings_that_lie_on_the_other_side_of_the_patient_than_they_say_are_counted(study):
    table = study.localize["medgemma"].to_pylist()
    sizes = {row["image_id"]: row["width_px"] for row in study.manifest.to_pylist()}
    for row in table:
        row["phrase"] = "nodule in the left lung"
        row["x"] = sizes[row["image_id"]] * 0.75
    told = replace(study, localize={"medgemma": tables.from_rows(table, tables.LOCALIZE)})
    assert consistency.sides(told, "medgemma") == (0, len(table))
    table[0]["x"] = 1.0
    table[1]["phrase"] = "nodule"
    told = replace(study, localize={"medgemma": tables.from_rows(table, tables.LOCALIZE)})
    assert consistency.sides(told, "medgemma") == (1, len(table) - 1)
    sentence = f"1 of {len(table) - 1} findings that name a side of the patient lie on the other"
    assert any(sentence in warning for warning in metrics(told, PARAMS)["warnings"])


def test_a_model_that_would_rather_say_something_else_is_named(study):
    key = Key("answer_mass")
    sure = stage.measure(study, PARAMS)
    found = sure.measures[Subject("classification", "tuned", "test")][key]
    assert (found.value, found.n, found.n_patients) == (1.0, 50, 25)
    assert not any("something else" in sentence for sentence in sure.warnings)
    rows = [
        row | {"answer_mass": 0.04 + 0.02 * (number % 2)} for number, row in enumerate(study.infer["tuned"].to_pylist())
    ]
    shy = stage.measure(replace(study, infer={"tuned": tables.from_rows(rows, tables.INFER)}), PARAMS)
    found = shy.measures[Subject("classification", "tuned", "test")][key]
    assert found.low <= found.value <= found.high and found.value == pytest.approx(0.05, abs=0.005)
    assert [sentence for sentence in shy.warnings if "something else" in sentence] == [
        "tuned: on test images its two answers together have 5 % of the probability; left to itself, the model would "
        "mostly say something else."
    ]


def test_tables_that_contradict_each_other_are_refused_with_every_reason(study):
    tuned = study.infer["tuned"]
    odd = replace(
        study,
        infer={"tuned": tuned.slice(5), "zero_shot": scores([("n00", "test", 1)], [0.5])},
        calibration={"tuned": fitted("tuned")},
        localize={"medgemma": findings(("n33", 0, 1.0, 1.0, None)), "chexagent": findings()},
    )
    with pytest.raises(TableError) as caught:
        metrics(odd, PARAMS)
    message = str(caught.value)
    for words in ("tuned: images have no score", "zero_shot: images have another split", "zero_shot: there is no cal"):
        assert words in message
    assert "chexagent: there is no table of responses" in message and "points but no response: 1 (n33)" in message


def test_parameters_out_of_range_are_refused():
    for changed in (
        {"tight_fraction": 0.05},
        {"size_edges_mm": [9.0, 9.0]},
        {"contrast_edges": [2.0, 1.0]},
        {"confidence": 1.0},
        {"draws": 0},
        {"sources": "nih"},
        {"draw": 3},
    ):
        with pytest.raises(ParamsError):
            parse({"measure": {**SECTION, **changed}}, {"measure": stage.Params})


NOTE = "42 % of the negatives were seen."


def squares(folder):
    """Normalized images of those with points: one with two dark lungs, one with a body alone, one black."""
    y, x = np.mgrid[0:112, 0:112] / 112
    lungs = sum(((x - middle) / 0.13) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1 for middle in (0.32, 0.68)) > 0
    body = (abs(x - 0.5) < 0.36) * 180
    made = []
    for name, pixels in (("l0", np.where(lungs, 60, body)), ("l1", body), ("l2", 0 * body)):
        (folder / f"{name}.png").write_bytes(bytes(cv2.imencode(".png", pixels.astype(np.uint8))[1]))
        made.append(normalized_row(name))
    return made


def write(study, folder):
    """Write the study below `folder` and return the command line."""
    named = {"manifest": study.manifest, "split": study.split, "points": study.points, "normalized": study.normalized}
    for name, table in named.items():
        tables.write(folder / f"{name}.parquet", table, tables.SCHEMAS[name])
    for model in MODELS:
        tables.write(folder / f"{model}.parquet", study.infer[model], tables.INFER)
        documents.write(folder / f"{model}_calibration.json", study.calibration[model])
    rows = [row for row in study.normalized.to_pylist() if row["image_id"][0] != "l"] + squares(folder)
    tables.write(folder / "normalized.parquet", tables.from_rows(rows, tables.NORMALIZED), tables.NORMALIZED)
    tables.write(folder / "medgemma.parquet", study.localize["medgemma"], tables.LOCALIZE)
    tables.write(folder / "medgemma_responses.parquet", study.responses["medgemma"], tables.RESPONSES)
    documents.write(folder / "train.json", train_log(notes=(NOTE,)))
    options = {name: [f"{name}.parquet"] for name in named}
    options |= {"infer": [f"{m}.parquet" for m in MODELS], "calibration": [f"{m}_calibration.json" for m in MODELS]}
    options |= {"results": ["."]}
    options |= {"localize": ["medgemma.parquet"], "responses": ["medgemma_responses.parquet"], "train": ["train.json"]}
    options |= {name: [f"{name}.parquet"] for name in ("measures", "curves", "outcomes")} | {"notes": ["notes.json"]}
    argv = ["--params", json.dumps({"nodules": SECTIONS, "data": {"split": {"seed": 11, "unit": "patient"}}})]
    return argv + [t for name, paths in options.items() for t in (f"--{name}", *(str(folder / p) for p in paths))]


def test_points_of_chance_are_thrown_into_the_lungs_or_else_the_body_and_it_is_said_where(study, tmp_path, caplog):
    stage.main(write(study, tmp_path))
    notes = documents.read(tmp_path / "notes.json", Notes)
    placed = notes.placement
    assert (placed.lung_field, placed.body, placed.image) == (1, 1, 1)
    assert sum(placed.problems.values()) == 2 and any(problem.startswith("no body") for problem in placed.problems)
    told = [sentence for sentence in notes.warnings if sentence.startswith("The random-placement baseline")]
    assert len(told) == 1 and "into the body instead of the lung field on 1 of 3 images" in told[0]
    found = measures.from_table(tables.read(tmp_path / "measures.parquet", tables.MEASURES))["nodules"]
    lucky = found[Subject("localization", "medgemma", "all")][Key("random_placement_recall", "tolerant")].value
    whole = stage.measure(study, PARAMS).measures[Subject("localization", "medgemma", "all")]
    assert lucky > 0 and lucky != whole[Key("random_placement_recall", "tolerant")].value


def test_the_command_writes_measures_and_notes_with_their_provenance_and_the_same_bytes_twice(study, tmp_path):
    argv = write(study, tmp_path)
    stage.main(argv)
    written = ("measures.parquet", "curves.parquet", "outcomes.parquet", "notes.json")
    first = {name: (tmp_path / name).read_bytes() for name in written}
    notes = documents.read(tmp_path / "notes.json", Notes)
    origin = notes.provenance
    assert origin["parameters"]["data"]["split"] == {"seed": 11, "unit": "patient"}
    assert origin["seeds"] == {"nodules.measure.seed": 3, "data.split.seed": 11}
    assert len(origin["data_sha256"]) == 64 and origin["versions"]["numpy"] == np.__version__
    log = documents.as_mapping(train_log(notes=(NOTE,)))
    assert origin["train"] == {key: value for key, value in log.items() if key not in stage.CLOCKED}
    assert f"train: {NOTE}" in notes.warnings
    found = measures.from_table(tables.read(tmp_path / "measures.parquet", tables.MEASURES))["nodules"]
    short, whole = measures.headline(found), measures.nested(found)
    assert short["tuned"]["roc_auc"] == whole["classification"]["tuned"]["test"]["roc_auc"]["value"]
    assert short["medgemma"]["recall_at_tolerant"] == 0.5 and short["medgemma"]["false_points_per_image"] == 1.0
    assert "sensitivity_at_specificity_95" not in short["tuned"]
    stage.main(argv)
    assert {name: (tmp_path / name).read_bytes() for name in written} == first


def test_outcomes_are_those_that_the_measures_count(study):
    results = stage.measure(study, PARAMS)
    rows = outcomes.table("nodules", results.outcomes).to_pylist()
    tuned = [row for row in rows if (row["system"], row["at"], row["split"]) == ("tuned", "f1", "test")]
    measured = results.measures[Subject("classification", "tuned", "test")]
    accuracy = measured[Key("accuracy", "f1")]
    assert len(tuned) == accuracy.n and np.mean([row["correct"] for row in tuned]) == pytest.approx(accuracy.value)
    found = [row for row in rows if (row["system"], row["at"]) == ("medgemma", "tight") and row["n_points"]]
    hits = results.measures[Subject("localization", "medgemma", "all")][Key("true_positives", "tight")]
    assert sum(row["true_positives"] for row in found) == hits.value == 2
    assert {row["image_id"]: row["correct"] for row in rows if row["at"] == "tight" and not row["n_points"]} == {
        "n01": False,
        "n71": False,
        "n72": True,
    }


def test_the_data_hash_follows_pixels_labels_and_points_but_no_path(study):
    before = provenance.data_sha256(study.manifest, study.points)
    for column, value, same in (("path", "elsewhere", True), ("label", 1, False), ("pixel_sha256", "other", False)):
        rows = study.manifest.to_pylist()
        rows[10][column] = value
        assert (provenance.data_sha256(tables.from_rows(rows, tables.MANIFEST), study.points) == before) is same
    assert provenance.data_sha256(study.manifest, study.points.slice(1)) != before


def test_the_revision_is_null_outside_of_a_clone_and_tells_of_changes(tmp_path):
    assert provenance.revision(tmp_path) is None

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert provenance.revision(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    clean = provenance.revision(tmp_path)
    assert len(clean["revision"]) == 40 and clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert provenance.revision(tmp_path) == {**clean, "dirty": True}
    (tmp_path / "below").mkdir()
    assert provenance.revision(tmp_path / "below") is None

"""Claims about stages.nodules.measure and what it is made of."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from train_logs import train_log

from stages.lib.core import documents, provenance, tables
from stages.lib.core.errors import ParamsError, TableError, UndefinedMetricError
from stages.lib.core.params import parse
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.scorecard import entries
from stages.nodules import consistency
from stages.nodules import measure as stage

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
}
SHARED = {"cohort": ("sources",), "tolerance": ("tight_fraction", "tolerant_fraction")}
APART = {key for keys in SHARED.values() for key in keys}
SECTIONS = {name: {key: SECTION[key] for key in keys} for name, keys in SHARED.items()}
SECTIONS["measure"] = {key: value for key, value in SECTION.items() if key not in APART}
PARAMS = stage.Params(**{**SECTION, "sources": ("nih",)})
MODELS = {"zero_shot": 0.5, "tuned": 1.5}
THRESHOLDS = {"half": 0.5, "f1": 0.4, "youden": 0.3, "specificity_95": None}


def fitted(model, **changed):
    facts = {
        "model": model,
        "method": "platt",
        "shift": 0.0,
        "temperature": 1.0,
        "at_bound": False,
        "world_prevalence": 0.2,
        "sources": ("nih",),
        "n": 9,
        "n_positive": 3,
        "thresholds_on": "score_calibrated",
        "thresholds": THRESHOLDS,
        "reason": None,
    }
    return Calibration(**{**facts, **changed})


def unfitted(model):
    nothing = dict.fromkeys(THRESHOLDS) | {"half": 0.5}
    changed = {"shift": None, "temperature": None, "thresholds": nothing, "thresholds_on": "score", "method": "none"}
    return fitted(model, **changed, reason="validation has no nodule")


def image_row(image, source="nih", label=0, patient=None, status="ok"):
    size = {"width_px": 300, "height_px": 400} if status == "ok" else {}
    ids = {"image_id": image, "file_name": f"{image}.png", "path": image, "patient_id": patient or image}
    return {**ids, **size, "source": source, "label": label, "pixel_sha256": f"pixels of {image}", "status": status}


def scores(rows, values, calibrated=True):
    made = [
        {
            "image_id": image,
            "split": split,
            "label": label,
            "logit_negative": 0.0,
            "logit_positive": 0.0,
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
        answers={
            "medgemma": tables.from_rows(
                [
                    {"image_id": image, "request": "where", "view": "whole", "answer": "...", "parsed": parsed}
                    for image, parsed in asked
                ],
                tables.ANSWERS,
            )
        },
    )


def test_every_number_has_its_n_and_an_interval_around_it(study):
    document = stage.metrics(study, PARAMS)
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
                assert entry["low"] <= entry["value"] <= entry["high"], name
    assert found["accuracy"]["wilson_low"] < found["accuracy"]["value"] < found["accuracy"]["wilson_high"]


def test_chosen_thresholds_stand_beside_their_metrics_and_missing_ones_say_why(study):
    found = stage.metrics(study, PARAMS)["classification"]["tuned"]["test"]
    assert found["f1"]["threshold"] == 0.5 and found["f1_at_f1"]["threshold"] == 0.4
    assert found["true_positives_at_youden"]["threshold"] == 0.3
    assert found["sensitivity_at_youden"]["value"] >= found["sensitivity"]["value"]
    assert found["sensitivity_at_specificity_95"]["value"] is None
    assert "no score of a validation image" in found["sensitivity_at_specificity_95"]["reason"]
    assert "true_positives_at_specificity_95" not in found


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
        answers={},
    )
    found = stage.metrics(published, replace(PARAMS, draws=5))["classification"]["tuned"]["test"]
    wanted = {"precision": 0.3740, "sensitivity": 0.3621, "specificity": 0.9728, "f1": 0.3680, "accuracy": 0.9466}
    wanted |= {"balanced_accuracy": 0.6674, "mcc": 0.3401, "prevalence": round(406 / 9460, 4)}
    assert {name: round(found[name]["value"], 4) for name in wanted} == wanted
    assert (found["f1"]["n"], found["f1"]["n_positive"]) == (9460, 406)
    assert found["true_positives"]["value"] == 147 and found["false_negatives"]["value"] == 259
    own = stage.metrics(published, replace(PARAMS, draws=5, other_prevalence=406 / 9460))
    assert own["classification"]["tuned"]["test"]["ppv_by_bayes"]["value"] == pytest.approx(147 / 393)


def test_only_images_of_the_sources_count_for_the_classification(study):
    both = stage.metrics(study, replace(PARAMS, sources=("nih", "lidc")))["classification"]["tuned"]["test"]
    assert (both["roc_auc"]["n"], both["roc_auc"]["n_positive"]) == (52, 12)


def test_the_comparison_is_tuned_minus_zero_shot_on_the_same_resamples(study):
    document = stage.metrics(study, PARAMS)
    tuned, base = (document["classification"][model]["test"]["roc_auc"] for model in ("tuned", "zero_shot"))
    gap = document["comparison"]["test"]["roc_auc"]
    assert gap["value"] == pytest.approx(tuned["value"] - base["value"])
    assert gap["low"] < gap["value"] < gap["high"]
    assert document["comparison"]["test"]["delong"]["value"] == pytest.approx(gap["value"])
    assert 0 < document["comparison"]["test"]["delong"]["p"] < 1
    mcnemar = document["comparison"]["test"]["mcnemar"]
    right = [
        {
            row["image_id"]
            for row in study.infer[model].to_pylist()
            if row["split"] == "test" and row["image_id"][0] == "n" and (row["score"] >= 0.5) == row["label"]
        }
        for model in ("tuned", "zero_shot")
    ]
    assert mcnemar["only_tuned_right"] == len(right[0] - right[1])
    assert mcnemar["only_zero_shot_right"] == len(right[1] - right[0])


def test_a_model_compared_with_itself_differs_by_nothing(study):
    same = replace(study, infer=dict.fromkeys(MODELS, study.infer["tuned"]))
    gaps = stage.metrics(same, PARAMS)["comparison"]["test"]
    for name, gap in gaps.items():
        if name not in ("delong", "mcnemar") and gap["value"] is not None:
            assert gap["value"] == gap["low"] == gap["high"] == 0, name
    assert gaps["delong"]["p"] is None and "alike" in gaps["delong"]["reason"]
    assert gaps["mcnemar"]["p"] == 1.0


def test_one_model_alone_is_measured_and_compared_with_nothing(study):
    document = stage.metrics(replace(study, infer={"tuned": study.infer["tuned"]}), PARAMS)
    assert document["comparison"] == {} and set(document["classification"]) == {"tuned"}


def test_localization_by_hand_with_a_malformed_answer_as_no_point(study):
    views = stage.metrics(study, PARAMS)["localization"]["medgemma"]
    found = views["all"]
    tight = found["tight"]
    counts = [tight[name]["value"] for name in ("true_positives", "false_positives", "false_negatives")]
    assert counts == [2, 1, 2]
    assert tight["precision"]["value"] == pytest.approx(2 / 3) and tight["recall"]["value"] == pytest.approx(2 / 4)
    assert (tight["recall"]["n"], tight["recall"]["n_points"], tight["recall"]["n_predictions"]) == (3, 4, 3)
    assert tight["recall"]["n_patients"] == 3
    assert found["images"]["count_exact"]["value"] == 0.0
    assert found["images"]["count_error"]["value"] == pytest.approx(1.0)
    assert tight["random_placement_recall"]["value"] < 0.03
    assert (tight["precision_macro"]["value"], tight["recall_macro"]["value"]) == pytest.approx((3 / 4, 1 / 2))
    assert not {"negatives", "froc", "joint"} & set(found) and "non_lesion_fraction" not in tight


def test_the_headline_view_has_test_images_alone(study):
    found = stage.metrics(study, PARAMS)["localization"]["medgemma"]["test"]
    tight = found["tight"]  # l1 with a hit and a point too many, l2 with none; l0 is of training
    counts = [tight[name]["value"] for name in ("true_positives", "false_positives", "false_negatives")]
    assert counts == [1, 1, 1]
    assert tight["non_lesion_fraction"]["value"] == pytest.approx((1 + 2) / 4)
    right = found["images"]["count_exact_with_negatives"]  # n72 alone of l1, l2, n71 and n72
    assert (right["value"], right["n"], right["n_negative"]) == (0.25, 4, 2)


def test_distances_in_mm_are_of_the_images_whose_spacing_is_known(study):
    nothing = stage.metrics(study, PARAMS)["localization"]["medgemma"]["all"]
    for entry in (nothing["tight"]["median_radial_error_mm"], nothing["images"]["nearest_point_mm"]):
        assert entry["value"] is None and "no image with marked nodules has a known spacing" in entry["reason"]
        assert entry["n"] == 0
    images = [row | ({"spacing_mm": 0.2} if row["image_id"] == "l1" else {}) for row in study.manifest.to_pylist()]
    spaced = replace(study, manifest=tables.from_rows(images, tables.MANIFEST))
    found = stage.metrics(spaced, PARAMS)["localization"]["medgemma"]["all"]
    matched = found["tight"]["mean_radial_error_mm"]
    assert matched["value"] == pytest.approx(5 * 0.2)
    assert (matched["n"], matched["n_patients"], matched["n_points"], matched["n_predictions"]) == (1, 1, 1, 2)
    far = np.hypot(150, 200)
    assert found["images"]["nearest_point_mm"]["value"] == pytest.approx((5 + far) / 2 * 0.2)
    assert found["images"]["mean_nearest_point_mm"]["value"] == pytest.approx((5 + far) / 2 * 0.2)
    assert found["tight"]["median_radial_error_px"]["value"] == pytest.approx(7.5)


def test_strata_have_the_recall_of_their_nodules_or_the_reason_why_not(study):
    found = stage.metrics(study, PARAMS)["localization"]["medgemma"]["all"]["strata"]
    # 300 x 400 pixels: l0 (50, 50) found, (200, 200) not; l1 (100, 100) found; l2 (10, 10) not.
    upper = found["height"]["parts"]["upper"]["tight"]
    assert upper["value"] == pytest.approx(2 / 3) and (upper["n"], upper["n_points"]) == (3, 3)
    assert upper["low"] <= upper["value"] <= upper["high"] and upper["wilson_low"] > 0
    middle = found["height"]["parts"]["middle"]["tight"]
    assert middle["value"] is None and middle["reason"] == "too few nodules: 1, wanted at least 2"
    assert found["height"]["parts"]["lower"]["tight"]["reason"] == "there is no such nodule"
    assert found["side"]["parts"]["patients_right"]["tight"]["n_points"] == 3
    assert "stand-in" in found["height"]["note"] and "patient's right" in found["side"]["note"]
    assert found["size"]["parts"] == {} and found["size"]["n_unknown"] == 4
    assert found["size"]["reason"] == "the diameter of no nodule is known in mm"
    rows = study.points.to_pylist()
    for row, size in zip(rows, (9.0, 10.0, 19.9, None), strict=True):
        row["diameter_mm"] = size
    sized = stage.metrics(replace(study, points=tables.from_rows(rows, tables.POINTS)), PARAMS)
    size = sized["localization"]["medgemma"]["all"]["strata"]["size"]
    assert [(key, part["from"], part["to"], part["tight"]["n_points"]) for key, part in size["parts"].items()] == [
        ("below_10", None, 10, 1),
        ("10_to_20", 10, 20, 2),
        ("from_20", 20, None, 0),
    ]
    assert size["n_unknown"] == 1 and size["parts"]["10_to_20"]["tight"]["value"] == 0.5


def test_negative_images_are_those_of_the_test_split_that_were_asked_about(study):
    negatives = stage.metrics(study, PARAMS)["localization"]["medgemma"]["test"]["negatives"]
    assert negatives["false_points_per_image"]["n"] == 2  # n71 and n72; n01 is of validation
    assert negatives["false_points_per_image"]["value"] == 1.0
    assert negatives["fraction_with_point"]["value"] == 0.5


def test_the_joint_score_wants_label_and_point_right(study):
    sure = {row["image_id"]: 0.9 if row["label"] else 0.1 for row in study.infer["tuned"].to_pylist()}
    rows = [(row["image_id"], row["split"], row["label"]) for row in study.infer["tuned"].to_pylist()]
    right = replace(study, infer={"tuned": scores(rows, [sure[image] for image, _, _ in rows])})
    joint = stage.metrics(right, PARAMS)["localization"]["medgemma"]["test"]["joint"]["tuned"]["tight"]
    # Test images: l1 has a hit, l2 has none; n71 is negative with points, n72 negative without.
    assert (joint["right"]["value"], joint["right"]["n"], joint["right"]["threshold"]) == (0.5, 4, 0.4)
    assert joint["nodule_right"]["value"] == joint["negative_right"]["value"] == 0.5
    wrong = replace(study, infer={"tuned": scores(rows, [1 - sure[image] for image, _, _ in rows])})
    joint = stage.metrics(wrong, PARAMS)["localization"]["medgemma"]["test"]["joint"]["tuned"]["tight"]
    assert joint["right"]["value"] == 0.0


def test_froc_exists_only_if_every_point_has_a_confidence(study):
    assert "no curve" in stage.metrics(study, PARAMS)["localization"]["medgemma"]["test"]["froc"]["reason"]
    table = study.localize["medgemma"]
    place = table.column_names.index("confidence")
    sure = table.set_column(place, "confidence", pa.array([0.9, 0.8, 0.3, 0.5, 0.2, 0.1]))
    froc = stage.metrics(replace(study, localize={"medgemma": tables.check(sure, tables.LOCALIZE)}), PARAMS)
    tight = froc["localization"]["medgemma"]["test"]["froc"]["tight"]
    # In order: l1 .8 found, l1 .3 false, n71 .2 and .1 false; four images, two points.
    assert tight["sensitivity_at_1_8"]["value"] == 0.5 and tight["cpm"]["value"] == 0.5
    assert (tight["cpm"]["n"], tight["cpm"]["n_points"]) == (4, 2)


def test_without_a_fit_the_calibrated_numbers_are_null_with_the_reason(study):
    infer = {
        name: table.set_column(6, "score_calibrated", pa.nulls(table.num_rows, pa.float64()))
        for name, table in study.infer.items()
    }
    document = stage.metrics(replace(study, infer=infer, calibration={name: unfitted(name) for name in MODELS}), PARAMS)
    found = document["classification"]["tuned"]["test"]
    for name in ("brier_calibrated", "ece_calibrated", "f1_at_f1", "mcc_at_youden"):
        assert found[name]["value"] is None and found[name]["reason"] == "validation has no nodule"
    assert found["roc_auc"]["value"] is not None
    assert any("not calibrated" in sentence for sentence in document["warnings"])
    assert document["localization"]["medgemma"]["test"]["joint"]["tuned"]["tight"]["right"]["threshold"] == 0.5
    assert document["comparison"]["test"]["f1_at_f1"]["value"] is None


def test_a_split_with_one_class_or_none_is_undefined_and_never_0(study):
    keep = [row for row in study.split.to_pylist() if not (row["split"] == "val" and row["label"] == 1)]
    ids = {row["image_id"] for row in keep}
    infer = {
        name: tables.from_rows([row for row in table.to_pylist() if row["image_id"] in ids], tables.INFER)
        for name, table in study.infer.items()
    }
    document = stage.metrics(replace(study, split=tables.from_rows(keep, tables.SPLIT), infer=infer), PARAMS)
    val = document["classification"]["tuned"]["val"]
    assert val["roc_auc"]["value"] is None and val["roc_auc"]["reason"] == "no image has a nodule"
    assert val["specificity"]["value"] is not None and val["specificity"]["low"] is not None
    assert any("val has 0 images with a nodule" in sentence for sentence in document["warnings"])
    assert document["comparison"]["val"]["roc_auc"]["value"] is None
    nobody = stage.metrics(study, replace(PARAMS, sources=("other",)))
    empty = nobody["classification"]["tuned"]["test"]
    assert all(entry["value"] is None for name, entry in empty.items() if "low" in entry)
    json.dumps(nobody, allow_nan=False)


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
    found = stage.metrics(small, replace(PARAMS, draws=200))["classification"]["tuned"]["test"]
    skipped = {name: found[name]["skipped_draws"] for name in ("roc_auc", "accuracy", "brier")}
    assert len(set(skipped.values())) == 1 and 20 < skipped["roc_auc"] < 180


def test_shared_patients_and_pictures_are_named_as_leaks(study):
    assert not any("LEAK" in sentence for sentence in consistency.leaks(study))
    rows = [row | ({"split": "train"} if row["image_id"] == "n00" else {}) for row in study.split.to_pylist()]
    shared = consistency.leaks(replace(study, split=tables.from_rows(rows, tables.SPLIT)))
    assert len(shared) == 1 and "patients are shared between parts: 1 of 43" in shared[0]
    images = study.manifest.to_pylist()
    for row in images:
        if row["image_id"] in ("n00", "n79"):
            row["pixel_sha256"] = "twins"
    twins = consistency.leaks(replace(study, manifest=tables.from_rows(images, tables.MANIFEST)))
    assert len(twins) == 1 and "1 of 82 images are in more than one split" in twins[0]


def test_what_was_lost_on_the_way_is_counted_and_warned_of(study):
    document = stage.metrics(study, PARAMS)
    counts = document["counts"]
    assert (counts["images"], counts["rejected"], counts["points"], counts["images_with_points"]) == (84, 1, 4, 3)
    assert counts["answers"]["medgemma"] == {"n": 6, "ok": 4, "empty": 1, "malformed": 1}
    assert document["localization"]["medgemma"]["answers"] == counts["answers"]["medgemma"]
    assert counts["by_split"]["test"] == {"no_finding": 40, "nodule": 12, "unlabelled": 0, "patients": 27}
    sentences = " ".join(document["warnings"])
    assert "1 of 84 images were rejected" in sentences and "1 of 6 answers cannot be read" in sentences
    fewer = replace(
        study, answers={"medgemma": study.answers["medgemma"].slice(0, 2)}, localize={"medgemma": findings()}
    )
    sentences = " ".join(stage.metrics(fewer, PARAMS)["warnings"])
    assert "1 of 3 images with points were not asked" in sentences
    assert "no negative test image" in sentences


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
    assert any(sentence in warning for warning in stage.metrics(told, PARAMS)["warnings"])


def test_tables_that_contradict_each_other_are_refused_with_every_reason(study):
    tuned = study.infer["tuned"]
    odd = replace(
        study,
        infer={"tuned": tuned.slice(5), "zero_shot": scores([("n00", "test", 1)], [0.5])},
        calibration={"tuned": fitted("tuned")},
        localize={"medgemma": findings(("n33", 0, 1.0, 1.0, None)), "chexagent": findings()},
    )
    with pytest.raises(TableError) as caught:
        stage.metrics(odd, PARAMS)
    message = str(caught.value)
    for words in ("tuned: images have no score", "zero_shot: images have another split", "zero_shot: there is no cal"):
        assert words in message
    assert "chexagent: there is no table of answers" in message and "points but no answer: 1 (n33)" in message


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


def write(study, folder):
    """Write the study below `folder` and return the command line."""
    named = {"manifest": study.manifest, "split": study.split, "points": study.points}
    for name, table in named.items():
        tables.write(folder / f"{name}.parquet", table, tables.SCHEMAS[name])
    for model in MODELS:
        tables.write(folder / f"{model}.parquet", study.infer[model], tables.INFER)
        documents.write(folder / f"{model}_calibration.json", study.calibration[model])
    tables.write(folder / "medgemma.parquet", study.localize["medgemma"], tables.LOCALIZE)
    tables.write(folder / "medgemma_answers.parquet", study.answers["medgemma"], tables.ANSWERS)
    documents.write(folder / "train.json", train_log(notes=(NOTE,)))
    options = {name: [f"{name}.parquet"] for name in named}
    options |= {"infer": [f"{m}.parquet" for m in MODELS], "calibration": [f"{m}_calibration.json" for m in MODELS]}
    options |= {"localize": ["medgemma.parquet"], "answers": ["medgemma_answers.parquet"], "train": ["train.json"]}
    options |= {"metrics": ["metrics.json"], "summary": ["summary.json"]}
    argv = ["--params", json.dumps({"nodules": SECTIONS, "data": {"split": {"seed": 11, "unit": "patient"}}})]
    return argv + [t for name, paths in options.items() for t in (f"--{name}", *(str(folder / p) for p in paths))]


def test_the_command_writes_the_document_with_its_provenance_and_the_same_bytes_twice(study, tmp_path):
    argv = write(study, tmp_path)
    stage.main(argv)
    first = (tmp_path / "metrics.json").read_bytes()
    document = json.loads(first)
    origin = document["provenance"]
    assert origin["parameters"]["data"]["split"] == {"seed": 11, "unit": "patient"}
    assert origin["seeds"] == {"nodules.measure.seed": 3, "data.split.seed": 11}
    assert len(origin["data_sha256"]) == 64 and origin["versions"]["numpy"] == np.__version__
    log = documents.as_mapping(train_log(notes=(NOTE,)))
    assert origin["train"] == {key: value for key, value in log.items() if key not in stage.CLOCKED}
    assert f"train: {NOTE}" in document["warnings"]
    assert document["reference"]["classification"]["tuned"]["roc_auc"] == 0.7864
    short = json.loads((tmp_path / "summary.json").read_text())
    assert short["tuned"]["roc_auc"] == document["classification"]["tuned"]["test"]["roc_auc"]["value"]
    assert short["medgemma_tight"]["recall"] == 0.5 and short["medgemma_negatives"]["false_points_per_image"] == 1.0
    assert "sensitivity_at_specificity_95" not in short["tuned"]
    stage.main(argv)
    assert (tmp_path / "metrics.json").read_bytes() == first


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


def test_an_interval_is_kept_only_beside_a_value():
    draws = {"a": np.array([0.1, 0.2]), "b": np.array([0.1, 0.2])}
    made = entries({"a": 0.15, "b": UndefinedMetricError("why")}, draws, {"n": 2}, confidence=0.5)
    assert made["a"]["low"] == pytest.approx(0.125) and made["b"]["low"] is None and made["b"]["reason"] == "why"

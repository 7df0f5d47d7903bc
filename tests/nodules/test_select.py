"""What is chosen on images that are not test images: prompts, cutoffs; and what comes of several sources."""

import json
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.core import documents, tables
from stages.lib.core.errors import CalibrationError, ChoiceError, DocumentError, ParamsError, TableError
from stages.lib.core.params import Row, parse
from stages.lib.detect import choice, cutoff, detection_rows
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.evaluation_sets import audited_images, choosing_images, localized_images
from stages.nodules import cascade as cascade_stage
from stages.nodules import combine as combine_stage
from stages.nodules import merge as merge_stage
from stages.nodules import select as choose_stage

ROOT = Path(__file__).parents[2]
HOW = choice.SelectParams(
    splits=("train", "val"), max_prompts=1, negative_images=2, false_points_per_image=0.25, seed=1
)
NEAR = 0.05  # of the diagonal
gate = partial(cascade_stage.Params, classifier="tuned", localizer="combined")
MERGE = detection_rows.LinkParams(link="distance", link_fraction=0.05, link_iou=0.3, max_points=3)
SIDE = 300  # the diagonal is 424 px, a hit is within 21 px
SPLITS = {"a": "train", "b": "val", "c": "test", "h": "val", "i": "train", "j": "test"}
NODULES = {"a": (100.0, 100.0), "b": (50.0, 200.0), "c": (200.0, 80.0)}


def rows(schema, found):
    return tables.from_rows(found, schema)


MANIFEST = rows(
    tables.MANIFEST,
    [
        {"image_id": name, "file_name": name, "path": name, "source": "lidc", "patient_id": name, "status": "ok"}
        | {"label": int(name in NODULES), "width_px": SIDE, "height_px": SIDE}
        for name in SPLITS
    ],
)
SPLIT = rows(
    tables.SPLIT,
    [{"image_id": n, "patient_id": n, "label": int(n in NODULES), "split": part} for n, part in SPLITS.items()],
)
POINTS = rows(tables.POINTS, [{"image_id": name, "point": 0, "x": x, "y": y} for name, (x, y) in NODULES.items()])


def detections(found, prompt="where", view="whole"):
    """Rows of DETECTIONS from {image: [(x, y, confidence)]}."""
    return [
        {"image_id": name, "prompt": prompt, "view": view, "rank": rank, "x": x, "y": y, "confidence": confidence}
        for name, points in found.items()
        for rank, (x, y, confidence) in enumerate(points)
    ]


def responses(names=SPLITS, prompt="where", view="whole", parsed="ok"):
    return [{"image_id": n, "prompt": prompt, "view": view, "response": "...", "parsed": parsed} for n in names]


def test_images_that_choose_are_marked_ones_and_a_sample_of_negative_ones_and_never_a_test_image():
    marked = pa.table({"image_id": list(NODULES)})
    assert choosing_images(SPLIT, marked, ("train", "val"), **HOW.sample) == {"a", "b", "h", "i"}
    assert choosing_images(SPLIT, marked, ("val",), **HOW.sample) == {"b", "h"}
    with pytest.raises(Exception, match=r"select.splits"):
        parse({"select": {**asdict(HOW), "splits": ["test"]}}, {"select": choice.SelectParams})


def test_a_localizer_is_run_on_images_that_choose_on_all_with_points_and_on_whole_splits():
    marked, how = pa.table({"image_id": ["a", "c"]}), {"negative_images": 1, "seed": 1}
    assert localized_images(SPLIT, marked, ("val",), **how) == {"h", "a", "c", "j"}
    assert localized_images(SPLIT, marked, ("val",), **how, whole=()) == {"h", "a", "c"}
    assert localized_images(SPLIT, marked, ("val",), **how, whole=("test", "val")) == {"h", "a", "c", "j", "b"}


def test_audited_images_are_those_of_whole_patients_as_many_of_each_class_as_there_are():
    patients, labels = list("aabbccddee"), [1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    table = pa.table({"patient_id": patients, "label": labels, "row": range(10)})
    assert audited_images(table, 10, seed=0).equals(audited_images(table, 99, seed=0))
    assert audited_images(table, 99, seed=0)["row"].to_pylist() == list(range(10))
    for seed in range(5):
        some = audited_images(table, 7, seed)
        assert sorted(some["label"].to_pylist()) == [0] * 4 + [1] * 4
        assert audited_images(table, 1, seed)["label"].to_pylist() == [1, 1]  # one with a nodule comes first
        assert all(some["patient_id"].to_pylist().count(one) == 2 for one in set(some["patient_id"].to_pylist()))


def test_the_request_with_the_best_f1_is_chosen_and_the_test_images_have_no_say():
    good_on_test = {"c": [(200, 80, None)], "h": [(1, 1, None)]}
    good = {"a": [(100, 100, None)], "b": [(60, 200, None)], "c": [(1, 1, None)], "j": [(5, 5, None)]}
    talkative = {n: [(x, y, None), (0, 0, None), (299, 0, None)] for n, (x, y) in NODULES.items()}
    banks = {"good": good, "test": good_on_test, "talkative": talkative}
    found = choose_stage.choose(
        rows(tables.DETECTIONS, [row for name, bank in banks.items() for row in detections(bank, name)]),
        rows(tables.RESPONSES, [row for name in banks for row in responses(prompt=name)]),
        *(MANIFEST, SPLIT, POINTS, HOW, NEAR),
    )
    assert found.prompts == ("good",)
    assert [(row.prompt, row.true_positives, row.points, row.nodules) for row in found.bank] == [
        ("good", 2, 2, 2),
        ("talkative", 2, 6, 2),
        ("test", 0, 1, 2),
    ]
    assert (found.bank[0].images, found.bank[0].negatives) == (4, 2)
    assert [row.f1 for row in found.bank] == [1.0, 0.5, 0.0]


def test_malformed_and_cut_responses_to_each_prompt_of_the_bank_are_counted():
    said = [*responses(["a"], parsed="malformed"), *responses(["b", "h"], parsed="cut"), *responses(["i"])]
    said += responses(["a", "b"], prompt="other", parsed="empty")
    found = choose_stage.choose(
        rows(tables.DETECTIONS, detections({"i": [(1, 1, None)]})),
        rows(tables.RESPONSES, said),
        *(MANIFEST, SPLIT, POINTS, HOW, NEAR),
    )
    counts = {row.prompt: (row.responses, row.malformed, row.cut) for row in found.bank}
    assert counts == {"where": (4, 1, 2), "other": (2, 0, 0)}


def test_without_images_to_choose_by_the_first_of_the_bank_is_put_and_the_reason_told(tmp_path):
    how = replace(HOW, splits=("val",))
    nothing = rows(tables.DETECTIONS, []), rows(tables.RESPONSES, responses(["c", "j"])), MANIFEST, SPLIT
    found = choose_stage.choose(*nothing, rows(tables.POINTS, []), how, NEAR)
    assert (found.prompts, found.reason) == ((), "no image with marked nodules is in the splits val")
    documents.write(tmp_path / "choice.json", found)
    assert [choice.prompts(tmp_path / "choice.json", ["one", "two"], k) for k in (1, 2)] == [["one"], ["one", "two"]]


def test_a_choice_that_is_not_of_the_bank_or_not_there_is_refused(tmp_path):
    path = tmp_path / "choice.json"
    with pytest.raises(DocumentError, match=r"choice\.json: no such file; run select again"):
        choice.prompts(path, ["one"], 1)
    documents.write(path, choice.Choice(prompts=("other",), splits=("val",), bank=()))
    with pytest.raises(ChoiceError, match=r"found the prompts \['other'\], wanted some of the bank \['one'\]"):
        choice.prompts(path, ["one"], 1)
    documents.write(path, choice.Choice(prompts=("one",), splits=("val",), bank=()))
    assert choice.prompts(path, ["one", "two"], 1) == ["one"]


def test_the_cutoff_keeps_false_points_on_the_negative_images_that_choose_to_the_stated_rate():
    found = {"a": [(100, 100, 0.8), (0, 0, 0.4)], "b": [(50, 200, 0.6)], "h": [(9, 9, 0.5)], "c": [(9, 9, 0.9)]}
    localize = detection_rows.table(
        {
            n: [
                detection_rows.candidate({**r, **dict.fromkeys(detection_rows.EDGES), "phrase": None})
                for r in detections({n: p})
            ]
            for n, p in found.items()
        },
        9,
    )
    chooser = detection_rows.Chooser(how=HOW, tolerance_fraction=NEAR, points=POINTS, split=SPLIT, fitted=None)
    table, document = chooser.settle(localize, SPLITS, MANIFEST)
    assert (document.cutoff, document.f1, document.images) == (0.6, 1.0, 4)
    assert (document.negatives, document.wanted_rate, document.false_points_per_image) == (2, 0.25, 0.0)
    assert documents.as_mapping(document)["sources"] == {"marked": {"lidc": 2}, "negative": {"lidc": 2}}
    shown = {(row["image_id"], row["confidence"]): row["shown"] for row in table.to_pylist()}
    assert shown == {("a", 0.8): True, ("a", 0.4): False, ("b", 0.6): True, ("h", 0.5): False, ("c", 0.9): True}
    again, same = detection_rows.Chooser(
        how=HOW, tolerance_fraction=NEAR, points=None, split=None, fitted=document
    ).settle(localize, SPLITS, MANIFEST)
    assert again.equals(table)
    assert same == document


def test_without_confidences_or_images_to_choose_by_all_is_shown():
    localize = rows(tables.LOCALIZE, [{"image_id": "a", "rank": 0, "x": 1.0, "y": 1.0, "shown": True}])
    chooser = detection_rows.Chooser(how=HOW, tolerance_fraction=NEAR, points=POINTS, split=SPLIT, fitted=None)
    table, document = chooser.settle(localize, SPLITS, MANIFEST)
    assert document.cutoff is None
    assert table["shown"].to_pylist() == [True]
    nothing = detection_rows.Chooser(how=HOW, tolerance_fraction=NEAR, points=None, split=None, fitted=None).settle(
        localize, SPLITS, MANIFEST
    )[1]
    assert nothing == cutoff.Cutoff(cutoff=None, splits=HOW.splits, reason="no negative image is there to choose by")
    assert documents.as_mapping(nothing) == {"cutoff": None, "splits": ["train", "val"], "reason": nothing.reason}


def seen(confidence, nodules=()):
    """An image with points of these confidences, all at one place."""
    points = np.zeros((len(confidence), 2))
    return cutoff.Shown(points, np.array(confidence, float), np.array(nodules, float).reshape(-1, 2), 5.0)


def test_the_precision_of_a_localizer_that_showed_nothing_is_1():
    assert cutoff.Cutoff(cutoff=None, true_positives=0, points=0).precision == 1.0
    assert cutoff.Cutoff(cutoff=None, reason="no negative image is there to choose by").precision == 1.0


def test_without_images_all_is_shown():
    counts = cutoff.at_rate([], 0.25)
    assert (counts.cutoff, counts.f1, counts.points, counts.false_points_per_image) == (None, 0.0, 0, None)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, np.nan]), max_size=4), max_size=8), st.integers(0, 12))
def test_a_cutoff_is_the_lowest_of_all_that_keep_to_the_rate(confidences, eighths):
    images = [seen(confidence, [[0, 0]] if number % 2 else []) for number, confidence in enumerate(confidences)]
    rate = eighths / 8
    tried = [cutoff.count(images, at) for at in (None, 0.1, 0.2, 0.3, 0.4)]
    keep = [counts for counts in tried if counts.false_on_negatives <= rate * counts.negatives]
    counts = cutoff.at_rate(images, rate)
    known = [value for confidence in confidences for value in confidence if not np.isnan(value)]
    if keep and keep[0].cutoff is None:
        assert counts == keep[0]  # all may be shown, and no cutoff is named
    elif keep and keep[0].cutoff <= max(known, default=0):
        assert counts.points == keep[0].points
    elif known:
        assert counts.cutoff == max(known)
    else:
        assert counts.cutoff is None


def test_a_cutoff_does_not_move_with_the_number_of_images_that_have_nodules():
    negatives = [seen([0.3]), seen([0.6]), seen([]), seen([])]
    marked = [seen([0.9], [[0, 0]]), seen([0.2], [[0, 0]])]
    assert [cutoff.at_rate([*negatives, *marked * times], 0.25).cutoff for times in (0, 1, 50)] == [0.6, 0.6, 0.6]


def test_a_localizer_that_cannot_keep_to_the_rate_says_so():
    found = rows(
        tables.LOCALIZE, [{"image_id": n, "rank": 0, "x": 1.0, "y": 1.0, "shown": True} for n in ("h", "i", "a")]
    )
    chooser = detection_rows.Chooser(how=HOW, tolerance_fraction=NEAR, points=POINTS, split=SPLIT, fitted=None)
    document = chooser.settle(found, SPLITS, MANIFEST)[1]
    assert (document.cutoff, document.false_points_per_image, document.kept) == (None, 1.0, False)


def test_negative_images_that_choose_are_drawn_over_patients_and_not_the_first_by_name():
    images = [(f"{patient:08d}_{number:03d}", f"nih-{patient:08d}") for patient in range(300) for number in range(8)]
    split = rows(
        tables.SPLIT,
        [{"image_id": name, "patient_id": patient, "label": 0, "split": "train"} for name, patient in images],
    )
    nothing, patient_of = pa.table({"image_id": pa.array([], pa.string())}), dict(images)
    drawn = [choosing_images(split, nothing, ("train",), negative_images=100, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(names) for names in drawn] == [100, 100, 100]
    assert [len({patient_of[name] for name in names}) for names in drawn] == [100, 100, 100]
    assert np.mean([int(name[:8]) for name in drawn[0]]) == pytest.approx(150, abs=30)
    assert {name[-1] for name in drawn[0]} > {"0", "3", "7"}
    many = choosing_images(split, nothing, ("train",), negative_images=450, seed=1)
    assert sorted(Counter(patient_of[name] for name in many).values()) == [1] * 150 + [2] * 150
    assert len(choosing_images(split, nothing, ("train",), negative_images=9999, seed=1)) == 2400
    shuffled = split.take(np.random.default_rng(0).permutation(len(images)))
    assert choosing_images(shuffled, nothing, ("train",), negative_images=100, seed=1) == drawn[0]


def test_candidates_of_prompts_and_views_are_fused_and_silent_ones_count():
    spoken = detections({"a": [(100, 100, None)]}, "one") + detections(
        {"a": [(104, 100, None)], "b": [(5, 5, None)]}, "two"
    )
    asked = responses(["a", "b"], "one") + responses(["a", "b"], "two") + responses(["a", "b"], "two", "mirrored")
    merged = merge_stage.merge(rows(tables.DETECTIONS, spoken), rows(tables.RESPONSES, asked), MANIFEST, MERGE)
    found = {row["image_id"]: (row["x"], row["confidence"]) for row in merged.to_pylist()}
    assert found == {"a": (102.0, pytest.approx(2 / 3)), "b": (5.0, pytest.approx(1 / 3))}


def test_a_single_request_and_view_is_left_in_its_own_words_and_cut_to_the_most_points():
    spoken = detections({"a": [(k, 0, None) for k in (9.0, 3.0, 7.0, 1.0)]})
    merged = merge_stage.merge(rows(tables.DETECTIONS, spoken), rows(tables.RESPONSES, responses()), MANIFEST, MERGE)
    assert merged["x"].to_pylist() == [9.0, 3.0, 7.0]
    assert merged["confidence"].null_count == 3


def localized(found):
    return rows(
        tables.LOCALIZE,
        [
            {"image_id": n, "rank": k, "x": x, "y": y, "confidence": c, "shown": True}
            for n, points in found.items()
            for k, (x, y, c) in enumerate(points)
        ],
    )


def test_train_images_choose_neither_prompt_nor_cutoff_of_a_localizer_with_an_adapter_nor_of_a_combination_with_one(
    tmp_path,
):
    splits = {f"t{k}": "train" for k in range(4)} | {f"v{k}": "val" for k in range(4)}
    marked = ("t0", "t1", "v0", "v1")
    known = {"file_name": "x", "path": "x", "source": "nih", "status": "ok", "width_px": SIDE, "height_px": SIDE}
    images = [{"image_id": n, "patient_id": n, "label": int(n in marked), **known} for n in splits]
    parts = [{"image_id": n, "patient_id": n, "label": int(n in marked), "split": splits[n]} for n in splits]
    points = [{"image_id": n, "point": 0, "x": 50.0, "y": 50.0} for n in marked]
    # as taught, prompt "one" is right and sure on train images alone, where prompt "two" is wrong
    one = {"t0": [(50, 50, 0.9)], "t1": [(50, 50, 0.9)], "v0": [(290, 290, 0.9)], "v2": [(9, 9, 0.9)]}
    two = {"t0": [(290, 290, 0.9)], "v0": [(50, 50, 0.6)], "v1": [(50, 50, 0.6)], "v2": [(9, 9, 0.3)]}
    two["t2"] = [(9, 9, 0.95)]
    named = {"manifest": images, "split": parts, "points": points}
    named["detections"] = [*detections(one, "one"), *detections(two, "two")]
    named["responses"] = [*responses(splits, "one"), *responses(splits, "two")]
    for name, found in named.items():
        tables.write(tmp_path / f"{name}.parquet", rows(tables.SCHEMAS[name], found), tables.SCHEMAS[name])
    chosen = {}
    shipped = yaml.safe_load((ROOT / "workflow/presets/demo.yaml").read_text())["nodules"]["localizers"]
    sections = {"select": {**asdict(HOW), "negative_images": 9}, "link": asdict(MERGE)}
    sections |= {"tolerance": {"tight_fraction": 0.02, "tolerant_fraction": 0.05}}
    for name in ("attribution", "attribution_tuned"):
        given = {"nodules": {**sections, "localizers": {name: shipped[name]}}}
        files = {key: tmp_path / f"{key}.parquet" for key in named}
        files |= {"params": json.dumps(given), "localizer": name}
        out = {"choice": tmp_path / f"{name}_choice.json"}
        choose_stage.main([text for pair in (files | out).items() for text in (f"--{pair[0]}", str(pair[1]))])
        out = {"localize": tmp_path / f"{name}.parquet", "all-responses": tmp_path / f"{name}_responses.parquet"}
        out |= {"cutoff": tmp_path / f"{name}_cutoff.json"}
        merge_stage.main([text for pair in (files | out).items() for text in (f"--{pair[0]}", str(pair[1]))])
        chosen[name] = documents.read(tmp_path / f"{name}_choice.json", choice.Choice)
        chosen[name, "cutoff"] = documents.read(out["cutoff"], cutoff.Cutoff)
    both = [chosen["attribution"], chosen["attribution_tuned"]]
    assert [(one.prompts, one.splits, one.bank[0].images) for one in both] == [
        (("one",), ("train", "val"), 8),
        (("two",), ("val",), 4),
    ]
    both = [chosen["attribution", "cutoff"], chosen["attribution_tuned", "cutoff"]]
    assert [(one.splits, one.images) for one in both] == [(("train", "val"), 8), (("val",), 4)]
    for members, images in ((("attribution",), 8), (("attribution", "attribution_tuned"), 4)):
        options = ["--params", json.dumps({"nodules": sections}), "--combined", str(tmp_path / "combined.parquet")]
        for option, ending in (
            ("localize", ".parquet"),
            ("responses", "_responses.parquet"),
            ("cutoffs", "_cutoff.json"),
        ):
            options += [f"--{option}", *(str(tmp_path / f"{name}{ending}") for name in members)]
        options += ["--all-responses", str(tmp_path / "all.parquet"), "--cutoff", str(tmp_path / "cutoff.json")]
        options += [text for key in ("manifest", "split", "points") for text in (f"--{key}", str(files[key]))]
        combine_stage.main(options)
        assert documents.read(tmp_path / "cutoff.json", cutoff.Cutoff).images == images


def test_an_adapter_without_validation_images_to_choose_by_is_refused():
    taught = {"tuned": Row("attribution", SimpleNamespace(adapter="some/adapter"))}
    with pytest.raises(ParamsError, match=r"found \['train'\], wanted val among them: train images taught tuned"):
        choice.of_localizer(replace(HOW, splits=("train",)), taught, "tuned")
    with pytest.raises(ParamsError, match="tune: unknown; did you mean 'tuned'"):
        choice.of_localizer(HOW, taught, "tune")


def test_a_combination_finds_the_validation_images_that_choose_for_an_adapter_in_each_of_its_localizers():
    splits = {f"t{k:02}": "train" for k in range(40)} | {f"v{k:02}": "val" for k in range(10)} | {"e": "test"}
    split = rows(
        tables.SPLIT, [{"image_id": n, "patient_id": n, "label": 0, "split": part} for n, part in splits.items()]
    )
    none, how = rows(tables.POINTS, []), {"negative_images": 10, "seed": 1}
    of_val = choosing_images(split, none, ("val",), **how)
    assert len(of_val) == 10
    for mine in (("train", "val"), ("val",)):
        asked = localized_images(split, none, mine, **how)
        assert asked == choosing_images(split, none, mine, **how) | of_val | {"e"}


def test_localizers_that_agree_are_trusted_more_and_images_not_put_to_all_are_left_out():
    found = {
        "medgemma": localized({"a": [(100.0, 100.0, None)], "b": [(10.0, 10.0, None)]}),
        "attribution": localized({"a": [(110.0, 100.0, 0.5)], "c": [(7.0, 7.0, 0.5)]}),
    }
    asked = {
        "medgemma": rows(tables.RESPONSES, responses("abh")),
        "attribution": rows(tables.RESPONSES, responses("abc")),
    }
    trust = {"medgemma": cutoff.Cutoff(cutoff=None, true_positives=1, points=4).precision, "attribution": 1.0}
    table, words = combine_stage.combine(found, asked, trust, MANIFEST, MERGE)
    assert [(r["image_id"], round(r["x"], 2), r["confidence"]) for r in table.to_pylist()] == [
        ("a", 106.67, 0.375),
        ("b", 10.0, 0.125),
    ]
    assert words["response"].to_pylist() == ["medgemma 1, attribution 1", "medgemma 1"]
    alone = combine_stage.combine(
        {"medgemma": found["medgemma"]}, {"medgemma": asked["medgemma"]}, trust, MANIFEST, MERGE
    )
    assert alone[0]["confidence"].null_count == 2
    asked["attribution"] = rows(tables.RESPONSES, responses("c"))
    with pytest.raises(TableError, match="no image was put to all of medgemma, attribution"):
        combine_stage.combine(found, asked, trust, MANIFEST, MERGE)


def fitted(**changes):
    known = {
        "model": "tuned",
        "method": "none",
        "intercept": None,
        "temperature": None,
        "at_bound": False,
        "form_losses": {},
    }
    known |= {"world_prevalence": None, "sources": ("lidc",), "n": 2, "n_positive": 1, "thresholds_on": "score"}
    return Calibration(**{**known, "thresholds": {"half": 0.5, "youden": 0.3}, "reason": None, **changes})


def test_the_cascade_keeps_points_on_images_whose_score_reaches_the_threshold():
    infer = rows(
        tables.INFER,
        [
            {"image_id": n, "label": 1, "logit_negative": 0.0, "logit_positive": 0.0, "score": s, "answer_mass": 1.0}
            for n, s in (("a", 0.3), ("b", 0.29), ("h", 0.9))
        ],
    )
    found, asked = localized({n: [(1.0, 1.0, None)] for n in "abc"}), rows(tables.RESPONSES, responses("abch"))
    table, words = cascade_stage.cascade(found, asked, infer, fitted(), gate(threshold="youden"))
    assert table["image_id"].to_pylist() == ["a"]
    assert [(r["image_id"], r["parsed"], r["response"]) for r in words.to_pylist()] == [
        ("a", "ok", "score 0.300 reaches 0.300"),
        ("b", "empty", "score 0.290 is below 0.300"),
        ("h", "empty", "score 0.900 reaches 0.300"),
    ]
    calibrated = infer.set_column(6, "score_calibrated", pa.array([0.6, 0.6, 0.6], pa.float64()))
    both = fitted(intercept=0.0, temperature=1.0, thresholds_on="score_calibrated")
    at_half, _ = cascade_stage.cascade(
        localized({n: [(1.0, 1.0, None)] for n in "abh"}), asked, calibrated, both, gate(threshold="half")
    )
    assert at_half["image_id"].to_pylist() == ["h"]  # whose score is .9; every calibrated one is above .5
    with pytest.raises(CalibrationError):
        cascade_stage.cascade(found, asked, infer, fitted(), gate(threshold="f1"))
    with pytest.raises(TableError, match="none of the 1 images"):
        cascade_stage.cascade(found, rows(tables.RESPONSES, responses("c")), infer, fitted(), gate(threshold="half"))

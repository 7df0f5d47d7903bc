"""The stages of the audits: what is asked, what is trained on, what passes, and the page."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from checkout import ROOT
from tiny_base import ASKED, MODEL

from stages import report
from stages.lib.core import documents, params, tables
from stages.lib.core.errors import ModelError
from stages.lib.images.perturb import Disc
from stages.lib.images.variants import NO_MARKER, AuditParams
from stages.lib.metrics import evaluation_sets, measures
from stages.lib.metrics.calibration import Calibration
from stages.lib.metrics.measures import Subject
from stages.lib.report import blocks
from stages.nodules import audit_measure, audit_score, audit_section, audit_shuffle
from stages.nodules.audit_score import Shown
from stages.nodules.audits import Audits

DOCUMENT = yaml.safe_load((ROOT / "params.yaml").read_text())
GIVEN = params.parse(DOCUMENT, {"nodules.audit": AuditParams}).audit
FEW = replace(GIVEN, noise_grey=(8.0,), blur_fraction=(0.01,), contrast_factor=(0.5,), exposure_power=(2.0,))
FEW = replace(FEW, rotation_degrees=(5.0,), jpeg_quality=(50,), questions=("Any nodule?",), answers=("Yes/No",))
HOW = replace(params.parse(DOCUMENT, {"nodules.audit_measure": audit_measure.Params}).audit_measure, draws=100)
SIDE = 32
PROMPTS = ("reworded_1", "positive_first", "negative_first")


def options(**named: Any) -> list[str]:
    words: list[str] = []
    for name, value in named.items():
        words += [f"--{name}", *(str(one) for one in (value if isinstance(value, list) else [value]))]
    return words


def brightness(images):
    mean = np.array([image.mean() for image in images])
    return np.stack([np.zeros(len(images)), mean, np.full(len(images), 0.5)], axis=1)


def pictures(count=3):
    rng = np.random.default_rng(0)
    return {f"{number}.png": rng.integers(0, 200, (SIDE, SIDE)).astype(np.uint8) for number in range(count)}


def ask(images, ask=brightness, asks=None, batch_size=7):
    pngs = pictures()
    asks = {"reworded_1": brightness} if asks is None else asks
    return audit_score.score(images, pngs.__getitem__, ask, asks, FEW, batch_size).to_pylist()


SHOWN = [
    Shown("a", "0.png", (), True),
    Shown("b", "1.png", (Disc(9.0, 9.0, 3.0),), False),
    Shown("c", "2.png", (), True),
]


def test_each_variant_is_asked_about_itself_whatever_the_batches() -> None:
    rows = ask(SHOWN)
    assert rows == ask(SHOWN, batch_size=1) == ask(SHOWN, batch_size=100)
    answered = {(row["image_id"], row["audit"], row["variant"]): row for row in rows if row["problem"] is None}
    for number, name in enumerate("abc"):
        pixels = pictures()[f"{number}.png"]
        assert answered[name, "original", "original"]["logit_positive"] == pixels.mean()
    assert answered["a", "blank", "flat"]["logit_positive"] == round(pictures()["0.png"].mean())
    assert answered["a", "prompt", "reworded_1"]["logit_positive"] == pictures()["0.png"].mean()
    assert {row["audit"] for row in rows if row["image_id"] == "b"} == {"original", "nodule"}


def test_what_cannot_be_changed_or_asked_is_a_row_with_the_reason() -> None:
    rows = ask(SHOWN, asks={"reworded_1": None})
    for row in rows:
        assert (row["logit_positive"] is None) == (row["problem"] is not None)
    reasons = {row["problem"] for row in rows if row["audit"] == "prompt"}
    assert reasons == {audit_score.NO_PROMPT}
    assert any(row["problem"] for row in rows if row["audit"] == "border")  # noise has no lungs


def test_an_answer_that_is_no_number_stops_the_stage() -> None:
    def broken(images):
        return np.full((len(images), 3), np.nan)

    with pytest.raises(ModelError, match=r"not a finite number for \d+ changed images, the first of them a"):
        ask(SHOWN, broken)


def study(folder: Path, patients: int = 80, seed: int = 0) -> dict[str, Path]:
    """Tables of a study of two images per patient, some of them with a marked nodule; and a run of the audits."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("manifest", "split", "normalized", "points")}
    for number in range(2 * patients):
        image, patient = f"i{number:03d}", f"p{number // 2:03d}"
        split = ("test", "train", "test", "val")[number // 2 % 4]
        source = "lidc" if number // 2 % 5 == 0 else "nih"
        label = int(source == "lidc" or rng.random() < 0.4)
        size = {"width_px": 100, "height_px": 100, "bit_depth": 8}
        rows["manifest"].append(
            {"image_id": image, "file_name": image, "path": image, "source": source, "patient_id": patient}
            | {"label": label, "status": "ok", **size}
        )
        rows["split"].append({"image_id": image, "patient_id": patient, "label": label, "split": split})
        rows["normalized"].append(
            {"image_id": image, "png": f"{image}.png", "low": 0.0, "high": 255.0, "scale": 0.32, "side_px": SIDE}
            | {"pad_x_px": 0, "pad_y_px": 0, "preprocessing_hash": "c0ffee"}
            | {"histogram": rng.integers(0, 40, 64).tolist()}
        )
        if source == "lidc":
            rows["points"].append({"image_id": image, "point": 0, "x": 40.0, "y": 50.0})
    paths = {}
    for name, found in rows.items():
        paths[name] = folder / f"{name}.parquet"
        tables.write(paths[name], tables.from_rows(found, tables.SCHEMAS[name]), tables.SCHEMAS[name])
    return paths


def read(paths: dict[str, Path], name: str) -> pa.Table:
    return tables.read(paths[name], tables.SCHEMAS[name])


def test_the_sample_is_of_whole_patients_half_with_a_nodule_and_marked_images_of_other_sources_are_asked_too(
    tmp_path: Path,
) -> None:
    paths = study(tmp_path)
    split, manifest = read(paths, "split"), read(paths, "manifest")
    test = evaluation_sets.classifier_images(split, manifest, ["nih"], "test")
    found = evaluation_sets.audited_images(test, 20, seed=1)
    assert 20 <= found.num_rows <= 21
    assert 8 <= sum(found["label"].to_pylist()) <= 12
    whole = {row["patient_id"]: 0 for row in found.to_pylist()}
    for row in test.to_pylist():
        if row["patient_id"] in whole:
            assert row["image_id"] in found["image_id"].to_pylist()
    assert found.equals(evaluation_sets.audited_images(test, 20, seed=1))
    assert not found.equals(evaluation_sets.audited_images(test, 20, seed=2))
    assert evaluation_sets.audited_images(test, 10_000, seed=1).num_rows == test.num_rows
    given = replace(GIVEN, images=20)
    images = audit_score.chosen(manifest, read(paths, "normalized"), split, read(paths, "points"), ["nih"], given)
    sources, splits = tables.mapping(manifest, "source"), tables.mapping(split, "split")
    assert {splits[image.image_id] for image in images} == {"test"}
    assert {sources[image.image_id] for image in images if image.whole} == {"nih"}
    marked = [image for image in images if not image.whole]
    assert {sources[image.image_id] for image in marked} == {"lidc"}
    assert all(len(image.nodules) == 1 for image in marked)


def test_shuffled_labels_are_those_of_the_cohort_by_patient_and_the_test_split_keeps_its_own(tmp_path: Path) -> None:
    paths = study(tmp_path)
    split, manifest = read(paths, "split"), read(paths, "manifest")
    changed = audit_shuffle.shuffle(manifest, split, ["nih"], seed=1)
    assert changed.equals(audit_shuffle.shuffle(manifest, split, ["nih"], seed=1))
    before, after = tables.mapping(split, "label"), tables.mapping(changed, "label")
    sources, of = tables.mapping(manifest, "source"), tables.mapping(split, "split")
    for name in ("train", "val"):
        mine = [image for image in before if of[image] == name and sources[image] == "nih"]
        assert sum(before[image] for image in mine) == sum(after[image] for image in mine)
        moved = np.mean([before[image] != after[image] for image in mine])
        assert 0.2 < moved < 0.8
    rest = [image for image in before if of[image] == "test" or sources[image] != "nih"]
    assert all(before[image] == after[image] for image in rest)


def score_rows(paths: dict[str, Path], effect: dict[str, float], seed: int = 0) -> list[dict[str, Any]]:
    """Answers that follow the label by 2, and after each change by what `effect` says of it."""
    rng, rows = np.random.default_rng(seed), []
    images = tables.lookup(read(paths, "split"), read(paths, "manifest"), ["source"]).to_pylist()
    for image in (image for image in images if image["split"] == "test"):
        base, lost = rng.normal(0, 0.7), "no lung" if image["image_id"].endswith("5") else None
        no_marker = None if "marker" in effect else NO_MARKER
        asked: list[tuple[str, str, int | None, str | None]] = [("original", "original", None, None)]
        if image["source"] == "lidc":
            asked += [("nodule", "filled", None, None), ("nodule", "control", None, None)]
        else:
            asked += [("lung_field", "only", None, lost), ("border", "only", None, lost)]
            asked += [("marker", "removed", None, lost or no_marker), ("blank", "flat", None, None)]
            asked += [("corruption", "noise", severity, None) for severity in (1, 2)]
            asked += [("prompt", name, None, None) for name in PROMPTS]
        for audit, variant, severity, problem in asked:
            margin = effect.get(audit, 2.0) * image["label"] + base + rng.normal(0, 0.1)
            margin -= effect.get("filled", 1.5) if variant == "filled" else 0.0
            given = {} if problem else {"logit_negative": 0.0, "logit_positive": margin, "answer_mass": 1.0}
            key = {"image_id": image["image_id"], "audit": audit, "variant": variant, "severity": severity}
            rows.append({**key, **given, "problem": problem})
    return rows


FITTED = Calibration(
    model="tuned",
    method="none",
    intercept=None,
    temperature=None,
    at_bound=False,
    world_prevalence=None,
    sources=("nih",),
    n=10,
    n_positive=5,
    form_losses={},
    thresholds_on="score",
    thresholds={"half": 0.5, "f1": 0.7, "youden": None, "specificity_95": None},
    reason="not fitted",
)


def run(folder: Path, effect: dict[str, float], without: tuple[str, ...] = (), shuffled: float | None = 0.0):
    """Measure made scores; returns the paths, and the outcome of each audit by classifier, kind and variant."""
    paths = study(folder)
    rows = [row for row in score_rows(paths, effect) if row["audit"] not in without]
    (folder / "scores").mkdir()
    tables.write(folder / "scores/tuned.parquet", tables.from_rows(rows, tables.AUDIT), tables.AUDIT)
    (folder / "infer").mkdir()
    (folder / "shuffled").mkdir()
    rng = np.random.default_rng(5)
    for name, strength in (("infer", 2.0), ("shuffled", shuffled)):
        made = [
            {name: image[name] for name in ("image_id", "split", "label")}
            | {"logit_negative": 0.0, "logit_positive": (strength or 0.0) * image["label"] + rng.normal()}
            | {"score": 0.5, "answer_mass": 1.0}
            for image in read(paths, "split").to_pylist()
        ]
        tables.write(folder / name / "tuned.parquet", tables.from_rows(made, tables.INFER), tables.INFER)
    documents.write(folder / "infer/tuned_calibration.json", FITTED)
    own = {"audit": asdict(FEW), "audit_measure": asdict(HOW), "cohort": {"sources": ["nih"]}, "prompt": ASKED}
    own |= {
        "classifiers": {"tuned": {"kind": "medgemma", "adapter": "x", "label": "Tuned"}},
        "section": {"examples": 2, "image_px": 64},
    }
    document = {"nodules": own, "data": {"ingest": {"root": "results/data/simulate"}}, "report": {"title": "Audits"}}
    paths |= {name: folder / f"audit_{name}.parquet" for name in ("measures", "curves")}
    paths |= {"audits": folder / "audits.json", "document": folder / "params.json"}
    paths["document"].write_text(json.dumps(document))
    more = {"shuffled": folder / "shuffled/tuned.parquet"} if shuffled is not None else {}
    audit_measure.main(
        options(
            params=paths["document"].read_text(),
            **{name: paths[name] for name in ("manifest", "normalized", "split", "measures", "curves", "audits")},
            scores=folder / "scores/tuned.parquet",
            infer=folder / "infer/tuned.parquet",
            calibration=folder / "infer/tuned_calibration.json",
            **more,
        )
    )
    found = documents.read(paths["audits"], Audits)
    return paths, {(one.audit, one.variant): one for one in found.audits}


HONEST = {"border": 0.0, "blank": 0.0, "lung_field": 2.0}


def test_a_classifier_that_looks_at_the_nodule_passes_and_one_that_looks_at_a_marker_fails(tmp_path: Path) -> None:
    for name in ("honest", "marker"):
        (tmp_path / name).mkdir()
    _, honest = run(tmp_path / "honest", {**HONEST, "marker": 2.0})
    assert {one.outcome for one in honest.values()} == {"pass"}
    cheating = {"border": 2.0, "blank": 0.0, "lung_field": 0.0, "marker": 0.0, "filled": 0.0, "corruption": 0.2}
    _, caught = run(tmp_path / "marker", {**cheating, "prompt": -2.0}, shuffled=2.0)
    failed = {key for key, one in caught.items() if one.outcome == "fail"}
    wanted = {("nodule", "filled"), ("lung_field", "only"), ("border", "only"), ("marker", "removed")}
    wanted |= {("corruption", "noise"), ("shuffled", "retrained")}
    wanted |= {("prompt", name) for name in PROMPTS}
    assert failed == wanted


def test_what_has_no_outcome_is_null_and_says_why(tmp_path: Path) -> None:
    _, found = run(tmp_path, HONEST, without=("nodule", "prompt", "lung_field"), shuffled=None)
    nulls = {key: one.reason for key, one in found.items() if one.outcome == "null"}
    n_asked = found["marker", "removed"].problems[NO_MARKER]
    assert nulls == {
        ("nodule", "filled"): "no test image has marked nodules",
        ("lung_field", "only"): "no image was asked about",
        ("marker", "removed"): f"no marker was found on {n_asked} images",
        ("shuffled", "retrained"): "this study does not train it",
        **{("prompt", name): "no image was asked about" for name in PROMPTS},
    }


def test_images_that_could_not_be_changed_are_counted_and_left_out_before_and_after(tmp_path: Path) -> None:
    paths, found = run(tmp_path, HONEST)
    lost = found["border", "only"].problems["no lung"]
    assert lost > 2
    measured = measures.from_table(tables.read(paths["measures"], tables.MEASURES))["nodules"]
    of_border = measured[Subject("audit", "tuned", "test/border/only")]
    of_blank = measured[Subject("audit", "tuned", "test/blank/flat")]
    assert {one.n for one in of_border.values()} == {found["border", "only"].n_changed}
    assert of_blank[audit_measure.metrics.AFTER].n == found["border", "only"].n_changed + lost


def test_the_page_has_a_line_for_each_audit_with_its_outcome_and_the_numbers_that_were_measured(tmp_path: Path) -> None:
    import cv2

    paths, found = run(tmp_path, {**HONEST, "border": 2.0, "marker": 2.0})
    rng = np.random.default_rng(0)
    for row in read(paths, "normalized").to_pylist():
        cv2.imwrite(str(tmp_path / row["png"]), rng.integers(0, 255, (SIDE, SIDE)).astype(np.uint8))
    out = {name: tmp_path / f"{name}.out" for name in ("section", "report", "metrics", "summary")}
    named = {name: paths[name] for name in ("measures", "curves", "audits", "manifest", "points", "normalized")}
    text = paths["document"].read_text()
    scores = tmp_path / "scores/tuned.parquet"
    audit_section.main(options(params=text, **named, scores=scores, results=tmp_path, section=out["section"]))
    tables_ = [
        block
        for part in documents.read(out["section"], blocks.Section).parts
        for block in part.blocks
        if isinstance(block, blocks.Table)
    ]
    rows = {row.key: row for table in tables_ for group in table.groups for row in group.rows}
    assert set(rows) == {f"{one.audit}.{one.variant}.{one.system}" for one in found.values()}
    assert {row.cells[0] for row in rows.values()} == {"pass", "FAIL"}
    measured = measures.from_table(tables.read(paths["measures"], tables.MEASURES))["nodules"]
    border = measured[Subject("audit", "tuned", "test/border/only")]
    cells = rows["border.only.tuned"].cells
    assert cells[0] == "FAIL"
    keys = (audit_measure.metrics.BEFORE, audit_measure.metrics.AFTER, audit_measure.metrics.CHANGE)
    assert [cell.value for cell in cells[1:4]] == [border[key].value for key in keys]
    report.main(
        options(
            params=text,
            sections=out["section"],
            measures=paths["measures"],
            notes=paths["audits"],
            report=out["report"],
            metrics=out["metrics"],
            summary=out["summary"],
        )
    )
    page = out["report"].read_text()
    assert "border only (Tuned)" in page
    assert page.count("<img") > 2 * len(GIVEN.corruptions)
    assert json.loads(out["metrics"].read_text())["nodules"]["audit"]["tuned"]["test/border/only"]["auc_after"]["n"] > 0


def test_a_shard_of_a_real_model_is_what_it_says_of_every_other_image(tiny_study: Path, tmp_path: Path) -> None:
    tables.write(tmp_path / "points.parquet", tables.from_rows([], tables.POINTS), tables.POINTS)
    infer = {"batch_size": 4, "shifts": 1, "readers": 0, "weights": "unmerged", "splits": ["test"]}
    own = {
        "audit": asdict(replace(FEW, images=2)),
        "cohort": {"sources": ["nih"]},
        "infer": infer,
        "model": MODEL,
        "prompt": ASKED,
    }
    own["classifiers"] = {"one": {"kind": "medgemma", "adapter": "none"}}
    named = {name: tiny_study / f"{name}.parquet" for name in ("manifest", "normalized", "split")}
    named |= {"points": tmp_path / "points.parquet", "base": tiny_study / "fetch.json", "results": tiny_study}
    found = []
    for shard in ("1-of-1", "2-of-2"):
        out = tmp_path / f"{shard}.parquet"
        document = json.dumps({"nodules": own})
        audit_score.main(options(params=document, classifier="one", shard=shard, scores=out, **named))
        found.append(tables.read(out, tables.AUDIT).to_pylist())
    whole, half = found
    images = sorted({row["image_id"] for row in whole})
    assert {row["image_id"] for row in half} == set(images[1::2])
    answers = {tuple(row[name] for name in tables.AUDIT.key): row["logit_positive"] for row in whole}
    for row in half:
        assert row["logit_positive"] == pytest.approx(answers[tuple(row[name] for name in tables.AUDIT.key)], abs=1e-4)
    prompts = {row["variant"] for row in whole if row["audit"] == "prompt" and row["problem"] is None}
    assert prompts == set(PROMPTS)

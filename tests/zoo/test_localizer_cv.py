"""Leave one patient out: who teaches whom, that no mark leaks, the cutoffs, and the rivals beside."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pytest
import zoo_marks as fake

from stages.lib.core import documents, kinds, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.core.params import parse
from stages.lib.detect.choice import Choice, SelectParams
from stages.lib.detect.cutoff import Cutoff
from stages.lib.detect.trainable import MarksError, Setting
from stages.lib.metrics import measures
from stages.lib.metrics.localization_suite import Settings
from stages.lib.metrics.measures import Key, Subject
from stages.lib.report import page
from stages.lib.report.blocks import Note, Section, Table
from stages.zoo import localizer_cv as cv
from stages.zoo import localizer_cv_section, marks
from stages.zoo.embed import failed
from stages.zoo.records import CrossValidated, Embedded, Failure
from workflow.bench import localizer_cv as localizer_cv_bench

CV = {
    "localizer": "heatmap",
    "supervision": ["marks", "image_labels"],
    "sources": ["lidc"],
    "rivals": [],
    "cutoff_images": 3,
    "false_points_per_image": 0.25,
    "draws": 50,
    "confidence": 0.95,
    "seed": 1,
}
FILES = ("measures", "curves", "outcomes", "notes")
HOW = Settings(draws=50, seed=1, confidence=0.95, tolerances={"tight": 0.02, "tolerant": 0.05})
ROW = {**fake.ROW, "negative_images": 4}


def params(**changes):
    document = {"zoo": {"localizer_cv": CV | changes, "localizers": {"heatmap": ROW}}}
    sections = {"zoo.localizer_cv": cv.Params, "zoo.localizers": kinds.rows(kinds.TRAINED_LOCALIZERS)}
    return parse(document, sections)


def opened(folder, rows):
    """The study, its images with tokens, and the setting, of tables that were written to a folder."""
    options = fake.written(folder, rows)
    names = {
        "manifest": tables.MANIFEST,
        "split": tables.SPLIT,
        "points": tables.POINTS,
        "normalized": tables.NORMALIZED,
    }
    study = marks.Study(**{name: tables.read(folder / f"{name}.parquet", schema) for name, schema in names.items()})
    paths = options[options.index("--tokens") + 1 : options.index("--embedded")]
    embedded = [documents.read(path, Embedded) for path in options[options.index("--embedded") + 1 :]]
    row = params().localizers["heatmap"].params
    known = study.known(sorted(name for name, *_ in rows))
    images, count = marks.with_tokens("heatmap", row, known, paths, embedded, "c")
    return study, images, row, Setting(row="heatmap", folder=folder, rows=count)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("small"), fake.images())


def test_images_that_teach_choose_and_are_measured_are_apart_and_patients_too(small):
    study, images, row, _ = small
    of = cv.parts(study, images, row, params().localizer_cv)
    named = [{image.image_id for image in some} for some in (of.marked, of.teaching, of.choosing, of.measured)]
    assert sum(map(len, named)) == len(set().union(*named))
    assert (len(of.choosing), len(of.teaching)) == (3, 4)
    assert all(name.startswith("train_n") for name in named[1] | named[2])
    assert named[3] == {
        f"{split}_n{number}" for split, n in (("val", fake.VAL), ("test", fake.TEST)) for number in range(n)
    }
    assert len(of.marked) == len(of.folds) == fake.TRAIN + fake.VAL + fake.TEST


def test_each_image_is_looked_at_once_and_one_of_an_annotated_patient_by_its_own_fold(small):
    study, images, row, _ = small
    same = [replace(image, patient_id="of test_p0") if image.image_id == "test_n1" else image for image in images]
    of = cv.parts(study, same, row, params().localizer_cv)
    looked_at = of.looked_at(seed=3)
    names = [image.image_id for some in looked_at.values() for image in some]
    assert sorted(names) == sorted(image.image_id for image in (*of.marked, *of.measured))
    assert {"test_p0", "test_n1"} <= {image.image_id for image in looked_at["of test_p0"]}
    for patient, some in looked_at.items():
        assert all(image.patient_id == patient or image.patient_id not in of.folds for image in some)


def test_a_negative_image_of_a_patient_who_taught_is_not_measured(small):
    study, images, row, _ = small
    of = cv.parts(study, images, row, params().localizer_cv)
    patient = of.teaching[0].patient_id
    same = [replace(image, patient_id=patient) if image.image_id == "test_n1" else image for image in images]
    assert "test_n1" not in {image.image_id for image in cv.parts(study, same, row, params().localizer_cv).measured}


@pytest.mark.parametrize("supervision", ["marks", "image_labels", "both"])
def test_an_images_own_mark_moved_changes_no_bit_of_what_is_said_of_it(small, supervision):
    study, images, row, setting = small
    row = replace(row, supervision=supervision)
    moved = [replace(image, points=image.points * 0.5) if image.image_id == "test_p0" else image for image in images]
    said = []
    for some in (images, moved):
        of = cv.parts(study, some, row, params().localizer_cv)
        said.append(cv.leave_out(row, setting, of, 0.25, 1))
    for name in {image.image_id for image in images if image.patient_id == "of test_p0"} - {"test_n0"}:
        for part in ("points", "confidence", "shown"):
            assert (getattr(said[0][0][name], part) == getattr(said[1][0][name], part)).all()
    of_patient = [next(fold for fold in folds if fold.patient_id == "of test_p0") for _, folds in said]
    assert of_patient[0] == of_patient[1]
    if supervision == "marks":  # it does teach the others
        assert any((said[0][0][name].confidence != said[1][0][name].confidence).any() for name in said[0][0])


def test_a_second_image_of_the_patient_who_is_left_out_teaches_nothing(small):
    study, images, row, setting = small
    same_patient = [
        replace(image, patient_id="of test_p0") if image.image_id == "val_p0" else image for image in images
    ]
    moved = [
        replace(image, points=image.points * 0.5) if image.image_id == "val_p0" else image for image in same_patient
    ]
    said = [
        cv.leave_out(row, setting, cv.parts(study, some, row, params().localizer_cv), 0.25, 1)[0]["test_p0"]
        for some in (same_patient, moved)
    ]
    assert (said[0].confidence == said[1].confidence).all()


def test_the_cutoff_of_a_fold_keeps_to_the_rate_on_images_that_are_not_measured(small):
    study, images, row, setting = small
    of = cv.parts(study, images, row, params().localizer_cv)
    fewer = cv.Parts(**{**vars(of), "measured": of.measured[:1]})
    folds = [cv.leave_out(row, setting, some, 0.25, 1)[1] for some in (of, fewer)]
    assert folds[0] == folds[1] and {fold.choosing_images for fold in folds[0]} == {3}
    prepared = cv.heatmap.prepare(row, setting, [*of.marked, *of.teaching])
    fold = folds[0][0]
    head = cv.heatmap.learn(row, prepared.taught_by(prepared.patients != fold.patient_id))
    heat = [one.confidence for image in of.choosing for one in cv.heatmap.peaks(row, setting, head, image)]
    assert sum(confidence >= fold.cutoff for confidence in heat) <= 0.25 * len(of.choosing)


def found(points, confidence, shown=None):
    made = np.array(points, float).reshape(-1, 2)
    reached = np.ones(len(made), bool) if shown is None else np.array(shown)
    return cv.Found(made, np.array(confidence, float), reached)


def test_a_cutoff_at_an_equal_rate_is_read_off_the_negative_images_themselves(small):
    _, images, _, _ = small
    by_name = {image.image_id: image for image in images}
    some = [by_name[name] for name in ("test_p0", "test_n0", "test_n1", "val_n0", "val_n1")]
    points = {
        "test_p0": found([(1, 1), (2, 2)], [0.5, 0.3], [False, False]),
        "test_n0": found([(1, 1)], [0.4]),
        "test_n1": found([(1, 1)], [0.2]),
        **{name: found([], []) for name in ("val_n0", "val_n1")},
    }
    equal = cv.at_equal_rate(some, points, 0.25)
    assert equal["test_n0"].shown.tolist() == [True] and equal["test_n1"].shown.tolist() == [False]
    assert equal["test_p0"].shown.tolist() == [True, True]
    assert cv.at_equal_rate(some, points, 0.0)["test_p0"].shown.tolist() == [True, False]


def test_a_difference_of_recalls_is_that_of_the_nodules_found(small):
    study, images, _, _ = small
    marked = [image for image in images if image.marked][:4]
    hit = {image.image_id: found(image.points, [0.9]) for image in marked}
    half = {name: one if number % 2 else found([], []) for number, (name, one) in enumerate(hit.items())}
    gap = cv.differences(cv.examined(study, marked, hit), cv.examined(study, marked, half), HOW)[Key("recall", "tight")]
    assert gap.value == 0.5 and gap.low is not None and 0 <= gap.low <= 0.5 and (gap.n, gap.n_points) == (4, 4)
    same = cv.differences(*[cv.examined(study, marked, hit)] * 2, HOW)[Key("recall", "tolerant")]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_images_that_chose_for_a_rival_are_those_of_the_splits_of_its_choice_and_cutoff(small):
    study = small[0]
    select = SelectParams(
        splits=("train", "val"), max_prompts=1, negative_images=99, false_points_per_image=0.25, seed=1
    )
    val = cv.chose(study, select, Choice(prompts=(), splits=("val",), bank=()), Cutoff(cutoff=0.5, splits=("val",)))
    assert val == {f"val_{what}{number}" for what in "pn" for number in range(fake.VAL)}
    both = cv.chose(study, select, Choice(prompts=(), splits=("train",), bank=()), Cutoff(cutoff=0.5, splits=("val",)))
    assert val < both and "train_p0" in both and not any(name.startswith("test") for name in both)
    assert cv.chose(study, select, None, None) == set()


def rival(folder, name, rows, splits=("train", "val"), asked=None):
    """Files of a rival that points at each nodule's own place, and nowhere else; and the options that name them."""
    shown = [
        {"image_id": image, "rank": number, "x": x, "y": y, "confidence": 0.9, "shown": True}
        for image, _, _, points in rows
        for number, (x, y) in enumerate(points)
    ]
    names = asked or [image for image, *_ in rows]
    said = [{"image_id": image, "prompt": "p", "view": "whole", "response": "", "parsed": "ok"} for image in names]
    tables.write(folder / f"{name}.parquet", tables.from_rows(shown, tables.LOCALIZE), tables.LOCALIZE)
    tables.write(folder / f"{name}_responses.parquet", tables.from_rows(said, tables.RESPONSES), tables.RESPONSES)
    documents.write(folder / f"{name}_choice.json", Choice(prompts=(), splits=splits, bank=()))
    documents.write(folder / f"{name}_cutoff.json", Cutoff(cutoff=None, splits=splits))
    return {
        option: str(folder / f"{name}{ending}{'.json' if option in ('choices', 'cutoffs') else '.parquet'}")
        for option, ending in cv.ENDINGS.items()
    }


def run(folder, rows, files=(), embedded=None, **changes):
    options = fake.written(folder, rows, embedded=embedded)
    for option in cv.ENDINGS if files else ():
        options += [f"--{option}", *(one[option] for one in files)]
    document = {
        "zoo": {"localizer_cv": CV | changes, "localizers": {"heatmap": ROW}},
        "nodules": {"select": fake.SELECT, "tolerance": fake.TOLERANCE},
    }
    out = {name: folder / f"{name}.{'json' if name == 'notes' else 'parquet'}" for name in FILES}
    written = [part for name, path in out.items() for part in (f"--{name}", str(path))]
    cv.main(["--params", json.dumps(document), *options, *written])
    table = tables.read(out["measures"], tables.MEASURES)
    return SimpleNamespace(
        measures=measures.from_table(table)["zoo"], table=table, notes=documents.read(out["notes"], CrossValidated)
    )


def test_systems_and_rivals_are_measured_on_the_same_images_in_subsets_of_their_own(tmp_path):
    rows = fake.images()
    asked = [name for name, *_ in rows if name != "test_n2"]
    rivals = [rival(tmp_path, "perfect", rows), rival(tmp_path, "deaf", rows, splits=("val",), asked=asked)]
    done = run(tmp_path, rows, rivals, rivals=["perfect", "deaf"])
    systems = ("heatmap_marks", "heatmap_image_labels", "perfect", "deaf")
    assert done.notes.systems == systems and done.notes.trained == systems[:2] and done.notes.left_out == 1
    nodules = fake.TRAIN + fake.VAL + fake.TEST
    for name in systems:
        recall = done.measures[Subject(cv.LOCALIZATION, name, cv.SUBSET)][Key("recall", "tolerant")]
        assert (recall.n, recall.n_points, recall.n_patients) == (nodules, nodules, nodules)
        false = done.measures[Subject(cv.LOCALIZATION, name, cv.NEGATIVES)][Key("false_points_per_image")]
        assert false.n == fake.VAL + fake.TEST - 1 and false.value is not None
        few = done.measures[Subject(cv.LOCALIZATION, name, cv.UNCHOSEN)][Key("recall", "tight")]
        assert few.n_points == fake.TEST == done.notes.unchosen_images
    assert done.measures[Subject(cv.LOCALIZATION, "perfect", cv.SUBSET)][Key("recall", "tight")].value == 1
    ours = done.measures[Subject(cv.LOCALIZATION, "heatmap_marks", cv.EQUAL_RATE)][Key("recall", "tolerant")]
    gap = done.measures[Subject(cv.COMPARISON, "heatmap_marks", cv.EQUAL_RATE, "perfect")][Key("recall", "tolerant")]
    assert ours.value is not None and ours.value > 0.7 and gap.value == pytest.approx(ours.value - 1)
    first, second = done.notes.rivals
    assert (first.chose_marked, second.chose_marked) == (fake.TRAIN + fake.VAL, fake.VAL)
    assert 0 < second.chose_negative <= fake.VAL and second.images == nodules + fake.VAL + fake.TEST - 1
    subsets = set(done.table["subset"].to_pylist())
    assert all(subset.startswith("leave_one_patient_out") for subset in subsets)
    assert measures.headline(done.measures) == {}
    assert pc.sum(pc.is_null(done.table["low"])).as_py() < done.table.num_rows


def test_the_section_says_that_it_is_the_exception_and_which_images_chose_for_a_rival(tmp_path):
    rows = fake.images()
    run(tmp_path, rows, [rival(tmp_path, "perfect", rows)], rivals=["perfect"])
    document = {
        "zoo": {"localizer_cv": CV | {"rivals": ["perfect"]}, "localizers": {"heatmap": ROW | {"label": "Heat"}}},
        "nodules": {"localizers": {"perfect": {"label": "A perfect one"}}},
        "data": {"ingest": {"root": "results/data/simulate"}},
    }
    files = [part for name in ("measures", "curves") for part in (f"--{name}", str(tmp_path / f"{name}.parquet"))]
    files += ["--notes", str(tmp_path / "notes.json"), "--section", str(tmp_path / "section.json")]
    localizer_cv_section.main(["--params", json.dumps(document), *files])
    section = documents.read(tmp_path / "section.json", Section)
    blocks = section.parts[0].blocks
    assert localizer_cv_section.EXCEPTION in [text for one in blocks if isinstance(one, Note) for text in one.text]
    table = next(one for one in blocks if isinstance(one, Table))
    assert [row.title for row in table.groups[0].rows] == [
        "Heat, by marks",
        "Heat, by labels of images alone",
        "A perfect one",
    ]
    assert all(cell.value is not None for group in table.groups[:2] for row in group.rows for cell in row.cells)
    assert any("12 of the annotated" in str(one.text) for one in blocks if isinstance(one, Note))
    assert "simulated" in section.warnings[0] and "leave" not in section.title
    html = page.render("Title", [section])
    assert "A perfect one" in html and "FROC" in html


def test_one_annotated_patient_and_a_row_of_another_name_are_refused(tmp_path):
    one = [row for row in fake.images() if not row[3] or row[0] == "test_p0"]
    with pytest.raises(MarksError, match="1 marked images of one patient"):
        run(tmp_path, one)
    with pytest.raises(MarksError, match="no image with marked nodules"):
        run(tmp_path, fake.images(), sources=["nih"])
    with pytest.raises(ParamsError, match="did you mean 'heatmap'"):
        run(tmp_path, fake.images(), localizer="heatmaps")
    with pytest.raises(MarksError, match=r"cutoff_images: found 999, which leaves none of the \d+ negative images"):
        run(tmp_path, fake.images(), cutoff_images=999)


def test_rivals_without_files_or_without_a_common_image_and_failed_tokens_are_refused(tmp_path):
    rows = fake.images()
    with pytest.raises(ParamsError, match="--rivals: found none, wanted that of attribution too"):
        run(tmp_path, rows, rivals=["attribution"])
    deaf = rival(tmp_path, "deaf", rows, asked=["test_n0"])
    with pytest.raises(TableError, match="no annotated or no negative image that all of"):
        run(tmp_path, rows, [deaf], rivals=["deaf"], supervision=["marks"])
    with pytest.raises(TableError, match="found no tokens, as tokens failed: gated"):
        run(tmp_path, rows, embedded=vars(failed(Failure(stage="tokens", error="ModelError", reason="gated"))))


def test_the_bench_fits_once_for_each_patient_and_keeps_its_bound():
    found = localizer_cv_bench.bench(patients=3, negatives=4)["localizer_cv.seconds"]
    assert found.kept and "3 fits" in found.note and f"{7 * 256:,} cells" in found.note

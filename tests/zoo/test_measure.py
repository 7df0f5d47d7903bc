"""Claims about what is measured of the rows of the zoo."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import zoo_tables as fake

from stages.lib.core import documents, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.lib.metrics import measures
from stages.lib.metrics.binary import average_precision
from stages.lib.metrics.bootstrap import resamples, two_sided_p
from stages.lib.metrics.comparison import holm
from stages.lib.metrics.measures import Key, Subject
from stages.zoo.notes import Notes
from stages.zoo.rows import costs, models

FAILURES = {"small": fake.failed("fit", "small: NaN in the loss")}


def study(folder, document=fake.DOCUMENT, **changes):
    fake.write(folder, document, **changes)
    fake.choose(folder, document)
    fake.measured(folder, document)
    return folder


def read(folder):
    found = measures.from_table(tables.read(folder / "measure/measures.parquet", tables.MEASURES))["zoo"]
    return found, documents.read(folder / "measure/notes.json", Notes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return study(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return study(tmp_path_factory.mktemp("broken"), failures=FAILURES)


def of_test(folder, row):
    """Labels, patients and scores of a row on test images."""
    patients = tables.mapping(tables.read(folder / "manifest.parquet", tables.MANIFEST), "patient_id")
    sources = tables.mapping(tables.read(folder / "manifest.parquet", tables.MANIFEST), "source")
    rows = tables.read(folder / f"infer/{row}.parquet", tables.INFER).to_pylist()
    rows = [one for one in rows if one["split"] == "test" and sources[one["image_id"]] in fake.SOURCES]
    labels, scores = (np.array([one[name] for one in rows]) for name in ("label", "score"))
    return labels, np.array([patients[one["image_id"]] for one in rows]), scores


def test_each_row_is_measured_on_validation_and_test_images_of_the_cohort(whole):
    found, _ = read(whole)
    for row in fake.ROWS:
        for split in ("val", "test"):
            area = found[Subject("classification", row, split)][Key("pr_auc")]
            assert (area.n, area.n_positive, area.n_patients) == (59, 20, 30)
    labels, _, scores = of_test(whole, "probe")
    value = found[Subject("classification", "probe", "test")][Key("pr_auc")].value
    assert value == average_precision(labels, scores)


def test_each_row_is_compared_with_the_reference_on_the_same_resamples(whole):
    found, notes = read(whole)
    labels, patients, scores = of_test(whole, "probe")
    reference = of_test(whole, "qlora")[2]
    drawn = []
    for block in resamples(patients, draws=99, seed=1):
        for weights in block:
            both = (average_precision(labels, one, weights) for one in (scores, reference))
            drawn.append(np.subtract(*both))
    measured = found[Subject("comparison", "probe", "test", "qlora")]
    assert measured[Key("pr_auc")].low == pytest.approx(np.quantile(drawn[:40], 0.025))
    assert measured[Key("pr_auc_p")].value == pytest.approx(two_sided_p(np.array(drawn)))
    assert "qlora" not in notes.compared
    assert len(notes.compared) == len(fake.ROWS) - 1


def test_p_values_are_corrected_for_all_rows_that_were_compared(whole):
    found, notes = read(whole)
    of = [found[Subject("comparison", row, "test", "qlora")] for row in notes.compared]
    plain, corrected = ([one[Key(name)].value for one in of] for name in ("pr_auc_p", "pr_auc_p_holm"))
    assert corrected == holm(plain)
    assert corrected != plain


def test_what_a_row_alone_finds_is_counted_by_hand(whole):
    found, notes = read(whole)
    called = {}
    for one in notes.alone:
        rows = tables.read(whole / "measure/outcomes.parquet", tables.OUTCOMES).to_pylist()
        called[one.model] = {
            row["image_id"]
            for row in rows
            if (row["system"], row["at"], row["split"], row["label"]) == (one.model, "specificity_95", "test", 1)
            and row["positive"]
        }
    for one in notes.alone:
        others = set().union(*(images for name, images in called.items() if name != one.model))
        assert set(one.images) == called[one.model] - others
        assert one.found == len(called[one.model])
        measured = found[Subject("classification", one.model, "test")][Key("found_alone", "specificity_95")]
        assert measured.value == len(one.images)
    assert sum(notes.found_by) == 20
    assert len(notes.found_by_none) == notes.found_by[0]
    assert set(called) == {"qlora", "probe", "small"}


def test_the_front_rises_in_cost_and_worth_and_holds_choosable_rows_alone(whole):
    _, notes = read(whole)
    operations = [step.operations for step in notes.front]
    precisions = [step.average_precision for step in notes.front]
    assert operations == sorted(operations)
    assert precisions == sorted(precisions)
    assert {step.model for step in notes.front} <= {"qlora", "probe", "small", "both"}
    assert notes.front[0].price is None
    assert notes.front[0].reason.startswith("the cheapest row")
    for before, step in zip(notes.front, notes.front[1:], strict=False):
        gain = step.average_precision - before.average_precision
        assert step.gain == pytest.approx(gain)
        assert step.price == pytest.approx((step.operations - before.operations) * 0.01 / gain)


def test_all_that_was_tried_is_counted(whole):
    assert read(whole)[1].tried == 2 * len(fake.ROWS)


def test_a_failed_row_has_a_reason_and_no_number_and_the_others_are_measured(broken):
    found, notes = read(broken)
    of = {one.model: one for one in notes.rows}
    assert of["small"].failure.reason == "small: NaN in the loss"
    assert of["small"].cost is None
    assert not any("small" in (one.system, one.other) for one in found)
    assert Subject("classification", "probe", "test") in found
    assert notes.warnings[0].startswith("1 of 6 rows failed and have no number: Small CNN.")


def test_without_the_reference_nothing_is_compared_and_that_is_told(tmp_path):
    found, notes = read(study(tmp_path, failures={"qlora": fake.failed("infer")}))
    assert not any(one.task == "comparison" for one in found)
    assert "The reference QLoRA failed, so no row is compared with it." in notes.warnings


def test_random_weights_are_told(tmp_path):
    _, notes = read(study(tmp_path, fits={"small": {"random_weights": True}}))
    assert any(text.startswith("Random weights, not pretrained: Small CNN.") for text in notes.warnings)


def test_a_reference_that_is_no_row_is_refused(tmp_path):
    document = deepcopy(fake.DOCUMENT)
    document["zoo"]["measure"]["reference"] = "qlorra"
    with pytest.raises(ParamsError, match=r"qlorra: unknown; did you mean 'qlora'\?"):
        study(tmp_path, document)


def test_labels_that_are_not_those_of_the_split_are_refused(tmp_path):
    fake.write(tmp_path)
    fake.choose(tmp_path)
    fake.write(tmp_path, tamper=lambda rows: [{**row, "label": 1 - row["label"]} for row in rows])
    with pytest.raises(TableError, match=r"^prevalence: 59 images of the val split with another label"):
        fake.measured(tmp_path)


def test_costs_count_passes_and_members_and_are_unknown_where_a_part_is():
    rows = models(fake.DOCUMENT)
    fits = {
        "qlora": fake.fit("qlora", operations=7.0, passes=4),
        "probe": fake.fit("probe", operations=5.0, features="features/siglip"),
        "both": fake.fit("both", operations=None, seconds=0.5),
    }
    inferred = {name: fake.inferred(name) for name in fits}
    found = costs(rows, fits, inferred, {"features/siglip": fake.embedded()})
    assert found["qlora"].whole == 28.0
    assert found["both"].whole == 33.0
    assert found["both"].passes == 5
    assert found["probe"].feature_bytes == 4096
    assert found["probe"].image_seconds == pytest.approx(0.075)
    assert found["both"].image_seconds == pytest.approx(0.125)
    shared = {**fits, "qlora": fake.fit("qlora", operations=5.0, features="features/siglip")}
    assert costs(rows, shared, inferred, {"features/siglip": fake.embedded()})["both"].whole == 5.0
    unknown = costs(rows, {**fits, "qlora": fake.fit("qlora", operations=None)}, inferred, {})
    assert unknown["both"].whole is None
    assert unknown["probe"].image_seconds is None


def test_an_ensemble_of_an_ensemble_costs_what_is_within_it_once_and_one_within_itself_ends():
    rows = models(fake.DOCUMENT)
    more = {
        "all": replace(rows["both"], name="all", members=("both", "small", "probe")),
        "ring": replace(rows["both"], name="ring", members=("ring", "probe")),
    }
    values = {"qlora": 7.0, "probe": 5.0, "small": 2.0, "both": None, "all": None, "ring": None}
    fits = {name: fake.fit(name, operations=value) for name, value in values.items()}
    found = costs({**rows, **more}, fits, {}, {})
    assert found["all"].whole == 14.0
    assert found["ring"].whole == 5.0


def test_a_soup_costs_what_one_network_costs_also_within_an_ensemble():
    rows = models(fake.DOCUMENT)
    soup = replace(rows["both"], name="soup", kind="soup", members=("qlora", "small"))
    within = replace(rows["both"], name="within", members=("soup", "probe"))
    values = {"qlora": 7.0, "small": 7.0, "probe": 5.0, "soup": 7.0, "within": None}
    fits = {name: fake.fit(name, operations=value) for name, value in values.items()}
    found = costs({**rows, "soup": soup, "within": within}, fits, {}, {})
    assert found["soup"].whole == 7.0
    assert found["within"].whole == 12.0


def test_no_time_is_told_of_scores_that_are_read_from_a_table():
    rows = models(fake.DOCUMENT)
    read = {**rows, "qlora": replace(rows["qlora"], read=True)}
    fits = {name: fake.fit(name) for name in ("qlora", "probe", "both")}
    found = costs(read, fits, {name: fake.inferred(name) for name in fits}, {})
    assert found["qlora"].image_seconds is None
    assert found["both"].image_seconds is None
    assert found["probe"].image_seconds == 0.025


def test_a_row_whose_scores_are_all_1_is_measured_and_compared_by_its_logits(whole, tmp_path):
    """With logits that rank its images as its scores did, every number that is made of ranks is as it was."""
    fake.write(tmp_path, fake.DOCUMENT)
    path = tmp_path / "infer/raw/probe.parquet"
    tables.write(path, fake.saturated(tables.read(path, tables.INFER)), tables.INFER)
    fake.choose(tmp_path, fake.DOCUMENT)
    fake.measured(tmp_path, fake.DOCUMENT)
    (was, _), (found, notes) = read(whole), read(tmp_path)
    of_ranks = ("roc_auc", "pr_auc", "pr_auc_p", "delong_p")
    for subject in (Subject("classification", "probe", "test"), Subject("comparison", "probe", "test", "qlora")):
        keys = [key for key in was[subject] if key.metric in of_ranks]
        assert len(keys) >= 2
        for key in keys:
            assert found[subject][key] == was[subject][key], key
    assert found[Subject("classification", "probe", "test")][Key("sensitivity", "half")].value == 1.0
    assert not next(row for row in notes.rows if row.model == "probe").constant


def test_rows_that_share_a_label_have_their_names_behind_it() -> None:
    row = {"kind": "prevalence", "seen": "no", "licence": "none", "commercial": True}
    found = models(
        {"zoo": {"models": {"a": row | {"label": "X"}, "b": row | {"label": "X"}, "c": row | {"label": "Y"}}}}
    )
    assert [one.label for one in found.values()] == ["X (a)", "X (b)", "Y"]

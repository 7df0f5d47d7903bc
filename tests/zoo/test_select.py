"""Claims about the choice of a row."""

from copy import deepcopy

import pytest
import zoo_tables as fake

from stages.lib.core import documents, tables
from stages.lib.core.errors import ParamsError, TableError
from stages.zoo.choice import Choice


def chosen(folder, document=fake.DOCUMENT, **changes):
    fake.write(folder, document, **changes)
    fake.choose(folder, document)
    return documents.read(folder / "select.json", Choice)


def test_the_choice_tells_the_rule_and_where_each_row_stands(tmp_path):
    found = chosen(tmp_path)
    of = {one.model: one for one in found.rows}
    assert list(of) == list(fake.ROWS)
    assert found.chosen in ("probe", "qlora")
    assert found.rule.startswith("The row with the highest average precision on validation images")
    assert (found.images, found.positive_images, found.patients) == (59, 20, 30)
    assert all(one.f1 is not None for name, one in of.items() if name != "prevalence")
    assert of[found.best].behind == 0.0
    assert found.outcome.endswith("is chosen.")


def test_an_ensemble_costs_what_its_members_cost(tmp_path):
    of = {one.model: one for one in chosen(tmp_path).rows}
    assert of["both"].operations == fake.OPERATIONS["qlora"] + fake.OPERATIONS["probe"]


def test_rows_that_have_seen_the_labels_and_constants_are_shown_and_not_chosen(tmp_path):
    of = {one.model: one for one in chosen(tmp_path).rows}
    assert of["published"].average_precision > of["qlora"].average_precision
    assert of["published"].reason == "its weights have seen ChestX-ray14 (with its labels)"
    assert of["prevalence"].reason.startswith("it gives every image the same score")
    assert not of["published"].choosable
    assert not of["published"].tied
    assert not of["prevalence"].choosable


def test_a_non_commercial_row_is_barred_from_a_commercial_study_alone(tmp_path):
    document = deepcopy(fake.DOCUMENT)
    for name in ("qlora", "both"):
        document["zoo"]["models"][name]["commercial"] = False
    assert {one.model for one in chosen(tmp_path, document).rows if one.choosable} >= {"qlora"}
    document["study"] = {"commercial": True}
    of = {one.model: one for one in chosen(tmp_path, document).rows}
    assert "forbids commercial use" in of["qlora"].reason
    assert of["probe"].choosable


def test_a_failed_row_is_shown_with_the_stage_and_the_others_stand(tmp_path):
    found = chosen(tmp_path, failures={"probe": fake.failed("embed")})
    of = {one.model: one for one in found.rows}
    assert of["probe"].reason == "it failed in embed"
    assert of["probe"].average_precision is None
    assert found.chosen == "qlora"


def test_wrong_labels_of_test_images_change_nothing(tmp_path):
    def tamper(rows):
        return [{**row, "label": 1 - row["label"]} if row["split"] == "test" else row for row in rows]

    chosen(tmp_path / "as they are")
    chosen(tmp_path / "wrong", tamper=tamper)
    assert (tmp_path / "as they are/select.json").read_bytes() == (tmp_path / "wrong/select.json").read_bytes()


def test_wrong_labels_of_validation_images_change_the_choice(tmp_path):
    """Otherwise the claim above would hold of a choice that reads nothing."""

    def tamper(rows):
        return [{**row, "label": 1 - row["label"]} if row["split"] == "val" else row for row in rows]

    chosen(tmp_path / "as they are")
    chosen(tmp_path / "wrong", tamper=tamper)
    assert (tmp_path / "as they are/select.json").read_bytes() != (tmp_path / "wrong/select.json").read_bytes()


def test_without_both_classes_nothing_is_chosen_and_the_reason_is_told(tmp_path):
    def tamper(rows):
        return [{**row, "label": 0} if row["split"] == "val" else row for row in rows]

    found = chosen(tmp_path, tamper=tamper)
    assert found.chosen is None
    assert found.outcome == "No row is chosen: on validation no image has a nodule."
    assert {one.reason for one in found.rows if one.model == "qlora"} == {"on validation no image has a nodule"}


def test_a_row_without_the_score_of_an_image_is_refused_by_name(tmp_path):
    fake.write(tmp_path)
    path = tmp_path / "infer/raw/probe.parquet"
    tables.write(path, tables.read(path, tables.INFER).slice(70), tables.INFER)
    with pytest.raises(TableError, match=r"^probe: \d+ of 59 validation images have no score"):
        fake.choose(tmp_path)


def test_a_row_that_does_not_say_what_it_has_seen_is_refused(tmp_path):
    document = deepcopy(fake.DOCUMENT)
    fake.write(tmp_path, document)
    del document["zoo"]["models"]["probe"]["seen"]
    with pytest.raises(ParamsError, match=r"zoo\.models\.probe\.seen: missing"):
        fake.choose(tmp_path, document)


def test_a_row_whose_scores_are_all_1_is_ranked_by_its_logits_and_is_no_constant(tmp_path):
    of = {one.model: one for one in chosen(tmp_path).rows}
    path = tmp_path / "infer/raw/probe.parquet"
    table = fake.saturated(tables.read(path, tables.INFER))
    assert set(table["score"].to_pylist()) == {1.0}
    tables.write(path, table, tables.INFER)
    fake.choose(tmp_path, fake.DOCUMENT)
    found = {one.model: one for one in documents.read(tmp_path / "select.json", Choice).rows}
    assert found["probe"].choosable
    assert found["probe"].average_precision == of["probe"].average_precision
    assert found["qlora"] == of["qlora"]
    assert found["probe"].f1 == pytest.approx(2 * 20 / (59 + 20))  # 0.5 is a score: all images reach it

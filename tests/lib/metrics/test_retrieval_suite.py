"""Claims about stages.lib.metrics.retrieval_suite, on three images and five texts by hand."""

import numpy as np
import pytest

from stages.lib.core import sentence_tables, tables
from stages.lib.core.errors import MetricInputError
from stages.lib.metrics import measures, retrieval_suite
from stages.lib.metrics.bootstrap import resamples, wilson
from stages.lib.metrics.measures import Key, Subject
from stages.lib.metrics.retrieval_suite import Settings

SETTINGS = Settings(draws=150, seed=3, confidence=0.9, ks=(1, 2))
IMAGES, TEXTS = "test/image_to_text", "test/text_to_image"


def row(image, part, rank, lenient=None, tied=0, n_right=1, n_right_lenient=None, n_pool=None, patient=None):
    return {
        "direction": "image_to_text" if part is None else "text_to_image",
        "image_id": image,
        "part": part,
        "patient_id": patient or f"p{image}",
        "study_id": None,
        "rank": rank,
        "rank_lenient": lenient or rank,
        "tied": tied,
        "n_right": n_right,
        "n_right_lenient": n_right_lenient or n_right,
        "n_pool": n_pool or (5 if part is None else 3),
        "found": [],
        "similarities": [],
    }


ROWS = [
    row("a", None, 1, n_right=2),
    row("b", None, 3, lenient=2, tied=1, n_right=2, n_right_lenient=3),
    row("c", None, 2, n_right=1, patient="pa"),
    row("a", 0, 1),
    row("a", 1, 3),
    row("b", 0, 2, lenient=1, n_right_lenient=2),
    row("b", 1, 2, tied=1),
    row("c", 0, 3, tied=2, patient="pa"),
]


def asked(rows):
    return retrieval_suite.of_table(tables.from_rows(rows, sentence_tables.RANKS))


MEASURED = retrieval_suite.measure(asked(ROWS), SETTINGS)


def value(subset, metric, at=None):
    return MEASURED[subset][Key(metric, at)].value


def test_each_direction_by_hand():
    assert [value(IMAGES, "recall_at_k", k) for k in "12"] == pytest.approx([1 / 3, 2 / 3])
    assert [value(TEXTS, "recall_at_k", k) for k in "12"] == pytest.approx([1 / 5, 3 / 5])
    assert [value(IMAGES, "recall_at_k_lenient", k) for k in "12"] == pytest.approx([1 / 3, 1])
    assert [value(TEXTS, "recall_at_k_lenient", k) for k in "12"] == pytest.approx([2 / 5, 3 / 5])
    assert value(IMAGES, "median_rank") == 2
    assert (value(TEXTS, "median_rank"), value(TEXTS, "median_rank_lenient")) == (2, 2)
    assert value(IMAGES, "reciprocal_rank") == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    assert value(IMAGES, "reciprocal_rank_lenient") == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert (value(IMAGES, "pool_size"), value(TEXTS, "pool_size")) == (5, 3)


def test_chance_stands_beside_with_the_number_of_right_items_of_each_query():
    assert value(IMAGES, "chance_at_k", "1") == pytest.approx((2 / 5 + 2 / 5 + 1 / 5) / 3)
    assert value(IMAGES, "chance_at_k", "2") == pytest.approx((0.7 + 0.7 + 0.4) / 3)
    assert value(IMAGES, "chance_at_k_lenient", "1") == pytest.approx((2 / 5 + 3 / 5 + 1 / 5) / 3)
    assert value(TEXTS, "chance_at_k", "2") == pytest.approx(2 / 3)
    assert value(TEXTS, "over_chance_at_k", "2") == pytest.approx((3 / 5) / (2 / 3))


def test_ties_are_shown():
    assert value(IMAGES, "tied_pairs") == 1 / (3 + 3 + 4)
    assert (value(IMAGES, "tied_queries"), value(TEXTS, "tied_queries")) == pytest.approx((1 / 3, 2 / 5))
    assert value(TEXTS, "tied_pairs") == 3 / 10


def test_the_headline_is_the_mean_of_both_directions_and_not_of_all_queries():
    assert value("test", "recall_at_k_mean", "1") == pytest.approx((1 / 3 + 1 / 5) / 2)
    assert value("test", "chance_at_k_mean", "2") == pytest.approx((0.6 + 2 / 3) / 2)
    one = MEASURED["test"][Key("recall_at_k_mean", "1")]
    assert (one.n, one.n_patients) == (8, 2)
    ten = retrieval_suite.measure(asked(ROWS), Settings(draws=9, seed=0, confidence=0.9, ks=(10,)))
    found = {Subject("retrieval", "lofi", subset): found for subset, found in ten.items()}
    assert measures.headline(found) == {"lofi": {"recall_at_k_mean_at_10": 1.0}}


def test_intervals_are_over_patients_of_both_directions_together():
    """Second implementation: the rows of drawn patients are written out, and measured."""
    patients = np.array([one["patient_id"] for one in ROWS])
    order = [0, 1, 2, 3, 4, 5, 6, 7]
    values = []
    for block in resamples(patients[order], draws=SETTINGS.draws, seed=SETTINGS.seed):
        for counts in block:
            drawn = [one for one, count in zip(ROWS, counts, strict=True) for _ in range(count)]
            both = [[one["rank"] <= 1 for one in drawn if (one["part"] is None) == looks] for looks in (True, False)]
            values.append((np.mean(both[0]), np.mean(both[1]), np.mean([np.mean(one) for one in both])))
    wanted = np.quantile(np.array(values), [0.05, 0.95], axis=0).T
    for (subset, metric), ends in zip(
        [(IMAGES, "recall_at_k"), (TEXTS, "recall_at_k"), ("test", "recall_at_k_mean")], wanted, strict=True
    ):
        one = MEASURED[subset][Key(metric, "1")]
        assert (one.low, one.high) == pytest.approx(tuple(ends))
    one = MEASURED[IMAGES][Key("recall_at_k", "1")]
    assert (one.n, one.n_patients) == (3, 2)
    assert (one.wilson_low, one.wilson_high) == wilson(1, 3, 0.9)


def test_two_encoders_differ_by_the_paired_interval_on_the_queries_that_both_have():
    better = [{**one, "rank": 1, "rank_lenient": 1} for one in ROWS[1:]]
    found = retrieval_suite.compare(asked(better), asked(ROWS), SETTINGS)
    one = found[IMAGES][Key("recall_at_k", "1")]
    assert (one.value, one.low, one.high) == (1.0, 1.0, 1.0)  # of b and c, which only the first finds first
    assert one.n == 2
    assert found[TEXTS][Key("median_rank")].value == -1
    assert found["test"][Key("recall_at_k_mean", "1")].value == pytest.approx((1 + 4 / 5) / 2)
    assert not any("chance" in key.metric.split("_")[0] for subset in found.values() for key in subset)


def test_an_encoder_does_not_differ_from_itself():
    for found in retrieval_suite.compare(asked(ROWS), asked(ROWS), SETTINGS).values():
        assert {(one.value, one.low, one.high) for one in found.values()} == {(0.0, 0.0, 0.0)}


def test_all_of_them_become_rows_of_the_catalog():
    found = {"lofi": asked(ROWS), "base": asked(ROWS)}
    made = retrieval_suite.measure_all(found, SETTINGS, [("lofi", "base")])
    assert {subject[1:] for subject in made} == {
        (system, subset, other)
        for subset in ("test", IMAGES, TEXTS)
        for system, other in (("lofi", None), ("base", None), ("lofi", "base"))
    }
    rows = measures.table("lofi", made).to_pylist()
    assert {one["task"] for one in rows} == {"retrieval"}
    assert all((one["value"] is None) == (one["reason"] is not None) for one in rows)


def test_without_a_query_there_is_a_reason_instead_of_a_number():
    found = retrieval_suite.measure(asked(ROWS[:3]), SETTINGS)
    assert found[TEXTS][Key("recall_at_k", "1")].reason == "there is no query"
    assert found[TEXTS][Key("median_rank")].reason == "there is no query"
    assert found[TEXTS][Key("pool_size")].value == 0
    assert found["test"][Key("recall_at_k_mean", "1")].reason == "there is no query"
    assert found[IMAGES][Key("recall_at_k", "1")].value == pytest.approx(1 / 3)


def test_without_any_query_nothing_is_drawn():
    found = retrieval_suite.measure(asked([]), SETTINGS)
    one = found[IMAGES][Key("recall_at_k", "1")]
    assert (one.value, one.low, one.n, one.n_patients, one.skipped_draws) == (None, None, 0, 0, 0)


def test_queries_of_one_direction_in_two_pools_are_refused():
    with pytest.raises(MetricInputError, match=r"image_to_text: found pools of the sizes \[5, 6\]"):
        asked([*ROWS, row("d", None, 1, n_pool=6)])

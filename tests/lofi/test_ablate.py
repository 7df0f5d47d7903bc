"""Claims about stages.lofi.ablate and its page: variants by seed, their means, and what lies between them."""

import json

import pyarrow.compute as pc
import pytest

from stages.lib.core import documents, tables
from stages.lib.core.errors import ParamsError
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report.blocks import Charts, Section, Table
from stages.lofi import ablate, ablation_section, ablations

RECALL, PLACE = Key("recall_at_k", "10"), Key("rodeo_localization")
WAYS = ("test/image_to_text", "test/text_to_image")
PARAMS = {
    "lofi": {
        "ablations": {"seeds": [0, 1, 2], "grounder": "tuned", "variants": {"heads": {"pooling": "heads"}}},
    }
}


def run(recall, place):
    found = {Subject("retrieval", "encoder", way): {RECALL: Estimate(value=recall, n=40)} for way in WAYS}
    found[Subject("grounding", "tuned", "test")] = {PLACE: Estimate(value=place, n=30)}
    found[Subject("grounding", "tuned", "test", "tuned/shuffled")] = {PLACE: Estimate(value=place / 10, n=30)}
    return found


RUNS = {
    **{("as_is", seed): run(value, 20.0 + seed) for seed, value in enumerate((0.2, 0.3, 0.4))},
    **{("heads", seed): run(value, 30.0 - 8 * seed) for seed, value in enumerate((0.3, 0.5, 0.7))},
}


def joined():
    return measures.by_seed(ablate.ablate(RUNS), "lofi")


def test_each_variant_is_a_system_with_its_mean_and_spread_over_the_seeds():
    found = joined()
    mean = found[None][Subject("retrieval", "heads", WAYS[0])][RECALL]
    assert (mean.value, mean.sd, mean.n_seeds) == (pytest.approx(0.5), pytest.approx(0.2), 3)
    assert mean.low is None
    assert found[1][Subject("retrieval", "heads", WAYS[0])][RECALL].value == 0.5


def test_a_difference_is_taken_seed_by_seed():
    mean = joined()[None][Subject("retrieval", "heads", WAYS[0], "as_is")][RECALL]
    assert mean.value == pytest.approx(0.2)
    assert mean.sd == pytest.approx(0.1)  # of .1, .2, .3
    assert not any(subject.other == "as_is" and subject.system == "as_is" for subject in joined()[None])


def test_the_blind_row_of_a_variant_is_its_own():
    assert joined()[0][Subject("grounding", "heads", "test", "heads/shuffled")][PLACE].value == 3.0


def test_one_seed_has_no_mean():
    found = ablate.ablate({key: value for key, value in RUNS.items() if key[1] == 0})
    assert pc.sum(pc.is_null(found["seed"])).as_py() == 0


def test_each_run_needs_its_name(tmp_path):
    with pytest.raises(ParamsError, match="found 2, wanted 1"):
        ablate.main(["--measures", "a", "--runs", "as_is/0", "heads/0", "--ablations", "x", "--notes", "y"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"variants": {"as_is": {}}}, "without 'as_is'"),
        ({"seeds": [1, 1]}, "none of them twice"),
    ],
)
def test_no_variant_has_the_name_of_no_change_and_no_seed_stands_twice(changed, named):
    with pytest.raises(ValueError, match=named):
        ablations.Params(**{**PARAMS["lofi"]["ablations"], **changed})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablations")
    tables.write(folder / "a", ablate.ablate(RUNS), tables.MEASURES)
    ablation_section.main(
        ["--params", json.dumps(PARAMS), "--ablations", str(folder / "a"), "--section", str(folder / "s")]
    )
    return documents.read(folder / "s", Section)


def test_a_variant_is_told_apart_if_it_lies_on_one_side_with_every_seed(page):
    (said,) = page.finding
    assert "R@10, image to text: Heads above" in said
    assert "RoDeO localization, of 100: none" in said  # above with the first seed, below with the last


def test_the_page_has_one_table_and_one_point_for_each_seed(page):
    table = next(block for block in page.parts[0].blocks if isinstance(block, Table))
    assert [[row.title for row in group.rows] for group in table.groups] == [["As is", "Heads"], ["Heads"]]
    assert table.groups[1].rows[0].cells[0].text == "+0.200"
    charts = next(block for block in page.parts[1].blocks if isinstance(block, Charts))
    assert [len(series.points) for series in charts.charts[0].series] == [3, 3]

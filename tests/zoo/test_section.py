"""Claims about the page "Which model?": what stands on it, in red, and apart."""

import json
from copy import deepcopy

import numpy as np
import pyarrow as pa
import pytest
import zoo_tables as fake

from stages import report
from stages.lib.core import documents, tables
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report import page
from stages.lib.report.blocks import Charts, Fold, Number, Section, Table

REASON = "small: found 3 missing keys (<script>), wanted none"


def made(folder, document=fake.DOCUMENT, more=(), **changes):
    fake.write(folder, document, **changes)
    fake.choose(folder, document)
    fake.measured(folder, document)
    fake.shown(folder, document, *more)
    return documents.read(folder / "section.json", Section)


@pytest.fixture(scope="module")
def section(tmp_path_factory):
    """Page of six rows of which one failed and one starts from random weights."""
    fits = {
        "probe": {"random_weights": True, "passes": 4, "features": "features/siglip"},
        "small": {"notes": ("A note of the fit.",)},
    }
    folder = tmp_path_factory.mktemp("zoo")
    return made(folder, failures={"small": fake.failed("fit", REASON)}, fits=fits)


def blocks(section, kind):
    """All blocks of a kind, those that are folded away too."""

    def walk(found):
        for one in found:
            yield one
            if isinstance(one, Fold):
                yield from walk(one.blocks)

    return [one for part in section.parts for one in walk(part.blocks) if isinstance(one, kind)]


def table(section, name):
    return next(one for one in blocks(section, Table) if one.name == name)


def keys(found):
    return {group.title: [row.key for row in group.rows] for group in found.groups}


def test_rows_stand_by_whether_they_may_be_chosen_and_seen_ones_in_a_table_of_their_own(section):
    assert {title: set(rows) for title, rows in keys(table(section, "zoo.rows")).items()} == {
        "May be chosen": {"qlora", "probe", "both"},
        "Shown, and may not be chosen": {"prevalence"},
        "Failed": {"small"},
    }
    assert keys(table(section, "zoo.seen")) == {"": ["published"]}


def test_published_rows_on_other_data_stay_in_a_table_of_their_own(section):
    (aside,) = [one for one in blocks(section, Table) if one.style == "aside"]
    published, ours = (
        {row.title for group in found.groups for row in group.rows} for found in (aside, table(section, "zoo.rows"))
    )
    assert published == {"Published, zero-shot", "Published, tuned"}
    assert ours and not published & ours


def test_a_failed_row_is_red_with_its_reason_and_escaped(section):
    row = next(row for group in table(section, "zoo.rows").groups for row in group.rows if row.key == "small")
    assert row.failed == f"fit: {REASON}"
    html = page.render("A zoo", [section])
    assert 'data-key="small" class="failed"' in html
    assert "&lt;script&gt;), wanted none" in html
    assert "<script>" not in html


def test_random_weights_are_said_in_the_row_in_a_warning_and_among_the_conclusions(section):
    row = next(row for group in table(section, "zoo.rows").groups for row in group.rows if row.key == "probe")
    assert "random weights, not pretrained" in row.hint
    assert any(text.startswith("Random weights, not pretrained: Probe.") for text in section.warnings)
    assert "not/random" in keys(table(section, "conclusions"))[""]


def test_every_measured_number_of_the_rows_has_an_interval_and_its_n(section):
    numbers = [cell for group in table(section, "zoo.rows").groups for row in group.rows for cell in row.cells]
    numbers = [cell for cell in numbers if isinstance(cell, Number) and cell.value is not None]
    assert len(numbers) >= 12
    assert all("before 0." in one.beside and "[" in one.beside for one in numbers[3::4])
    assert all(one.interval and "59 images, 20 positive, 30 patients" in one.note for one in numbers)


def test_the_rule_and_its_outcome_stand_above_where_each_row_stands(section):
    part = next(one for one in section.parts if one.name == "rule")
    assert part.blocks[0].text[0].startswith("The row with the highest average precision")
    assert part.blocks[1].text[0].endswith("is chosen.")
    rows = {row.key: row for group in table(section, "zoo.rule").groups for row in group.rows}
    assert set(rows) == set(fake.ROWS)
    chosen = [row for row in rows.values() if row.selected]
    assert len(chosen) == 1
    assert chosen[0].cells[-1].endswith("chosen")
    assert rows["published"].cells[-1].startswith("not to be chosen: its weights have seen ChestX-ray14")


def test_the_front_is_drawn_over_logarithms_with_intervals(section):
    chart = next(
        chart
        for one in blocks(section, Charts)
        for chart in one.charts
        if chart.title == "Operations and average precision"
    )
    points = {series.label: series.points[0] for series in chart.series if series.points}
    assert set(points) == {"QLoRA", "Probe", "Both", "XRV (seen)"}
    assert points["QLoRA"].x == pytest.approx(np.log10(7.0e12), abs=1e-3)
    assert points["Probe"].x == pytest.approx(np.log10(4 * 5.0e12), abs=1e-3)
    assert all(point.low < point.y < point.high for point in points.values())
    assert points["XRV (seen)"].open


def test_differences_come_with_p_after_holm_and_the_number_tried(section):
    found = table(section, "zoo.differences")
    assert [column.title for column in found.columns][-2:] == ["p", "p after Holm"]
    part = next(one for one in section.parts if one.name == "differences")
    assert "after Holm for the 4 rows" in part.blocks[0].text[0]
    assert "12 options of 6 rows" in part.blocks[0].text[0]


def test_all_that_was_tried_is_folded_away_with_what_was_chosen(section):
    fold = next(one for one in blocks(section, Fold) if one.title == "Every option")
    groups = fold.blocks[0].groups
    assert len(groups) == len(fake.ROWS)
    assert [row.title for row in groups[0].rows if row.selected] == ["strength 1"]


def test_times_on_a_card_are_called_computed(section):
    found = table(section, "zoo.costs")
    assert found.columns[-1].title == "Image, RTX 4090, computed"
    row = next(row for group in found.groups for row in group.rows if row.key == "probe")
    assert row.cells[-1] == "121 ms"
    assert row.cells[4] == "4.1 kB"


def test_the_learning_curve_is_drawn_where_there_is_one(tmp_path, section):
    assert "learning" not in {part.name for part in section.parts}
    parts = []
    for seed in (0, 1, None):
        facts = {"value": 0.5} if seed is not None else {"value": 0.5, "sd": 0.1, "n_seeds": 2}
        found = {
            Subject("learning_curve", "probe", f"test/{count}"): {Key("pr_auc"): Estimate(**facts)}
            for count in (10, 100)
        }
        parts.append(measures.table("zoo", found, seed))
    whole = pa.concat_tables(parts).sort_by([(name, "ascending") for name in tables.MEASURES.key])
    tables.write(tmp_path / "curve.parquet", whole, tables.MEASURES)
    drawn = made(tmp_path, more=("--learning", str(tmp_path / "curve.parquet")))
    chart = next(one for one in blocks(drawn, Charts) if one.charts[0].title == "Learning curve").charts[0]
    assert chart.series[0].x == (1.0, 2.0)
    assert (chart.series[0].points[0].low, chart.series[0].points[0].high) == (0.4, 0.6)


def test_a_study_whose_rows_all_failed_has_a_page(tmp_path):
    failed = dict.fromkeys(fake.ROWS, fake.failed("embed"))
    found = made(tmp_path, failures=failed)
    assert "No row is chosen" in found.finding[0]
    assert page.render("A zoo", [found]).count('class="failed"') >= len(fake.ROWS)


def test_the_report_joins_it_with_its_measures(tmp_path):
    document = deepcopy(fake.DOCUMENT)
    made(tmp_path, document)
    names = ("report", "metrics", "summary")
    written = [part for name in names for part in (f"--{name}", str(tmp_path / f"{name}.out"))]
    read = {"sections": "section.json", "measures": "measure/measures.parquet", "notes": "measure/notes.json"}
    given = [part for name, path in read.items() for part in (f"--{name}", str(tmp_path / path))]
    report.main(["--params", json.dumps(document), *given, *written])
    metrics = json.loads((tmp_path / "metrics.out").read_text())
    assert set(metrics["zoo"]["classification"]) == set(fake.ROWS)
    assert metrics["zoo"]["reference"] == "qlora"
    assert "pr_auc" in json.loads((tmp_path / "summary.out").read_text())["zoo"]["probe"]

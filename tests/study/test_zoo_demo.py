"""What the demo of the chapter shows as shipped: every row stands, what gains, what is at chance, and the page of it.

Figures differ in last digits between types of processors, so what is held is what the documents say of them.
"""

import json
import re
from pathlib import Path
from typing import Any

import checkout as checkouts
import pytest
import yaml
from chromium import Browser

pytestmark = pytest.mark.slow

RANDOM = ("dinov3", "dinov2", "siglip", "efficientnet", "resnet", "convnext", "qwen")
SHIFTED = ("qlora", "zero_shot", "probe_largest", "probe_mean")
LEARNED = ("attention", "soft_maximum")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo of the chapter, and what of the study it stands on, run once."""
    folder = checkouts.copy(tmp_path_factory.mktemp("zoo_demo") / "checkout", {})
    checkouts.run(folder, "snakemake", "--cores", "2", "--nocolor", "--", "zoo")
    return folder


@pytest.fixture(scope="module")
def rows(demo: Path) -> dict[str, dict[str, Any]]:
    """Rows of zoo.models."""
    return yaml.safe_load((demo / "params.yaml").read_text())["zoo"]["models"]


@pytest.fixture(scope="module")
def shown(demo: Path) -> dict[str, Any]:
    """Its numbers."""
    return json.loads((demo / "results/zoo/metrics.json").read_text())["zoo"]


def on_test(shown: dict[str, Any], row: str, metric: str) -> dict[str, Any]:
    entry: dict[str, Any] = shown["classification"][row]["test"][metric]
    return entry


def behind(shown: dict[str, Any], row: str) -> dict[str, Any]:
    """Average precision of a row less that of the reference, on the same images."""
    entry: dict[str, Any] = shown["comparison"][row][shown["reference"]]["test"]["pr_auc"]
    return entry


def test_every_row_stands_and_is_measured_on_the_same_images(
    demo: Path, rows: dict[str, dict[str, Any]], shown: dict[str, Any]
) -> None:
    assert json.loads((demo / "results/zoo/check.json").read_text())["rows"] == list(rows)
    assert set(shown["classification"]) == set(rows) and len(rows) == 20
    assert {on_test(shown, row, "roc_auc")["n"] for row in rows} == {on_test(shown, "qlora", "roc_auc")["n"]}
    assert shown["reference"] == "qlora_shifted"


def test_random_weights_are_at_chance_and_a_row_without_a_model_is_exactly_there(shown: dict[str, Any]) -> None:
    for row in RANDOM:
        area = on_test(shown, row, "roc_auc")
        assert area["low"] < 0.5 < area["high"], row
        assert behind(shown, row)["high"] < 0, row
    area, precision = (on_test(shown, "prevalence", metric) for metric in ("roc_auc", "pr_auc"))
    assert area["value"] == 0.5
    assert precision["value"] == pytest.approx(area["n_positive"] / area["n"])


def test_four_places_gain_in_every_kind_and_what_is_pooled_decides(shown: dict[str, Any]) -> None:
    value = {row: one["test"]["pr_auc"]["value"] for row, one in shown["classification"].items()}
    for row in SHIFTED:
        assert value[f"{row}_shifted"] > value[row] + 0.05, row
    assert value["probe_largest_shifted"] > value["probe_mean_shifted"] + 0.05


def test_a_head_on_frozen_features_is_not_shown_to_be_worse_than_tuning(shown: dict[str, Any]) -> None:
    for row in ("probe_largest_shifted", "neighbours", *LEARNED):
        assert behind(shown, row)["high"] > 0, row
    assert behind(shown, "zero_shot_shifted")["high"] < 0
    assert behind(shown, "qlora")["high"] < 0


def test_the_choice_is_the_cheapest_of_those_tied_on_validation(demo: Path) -> None:
    choice = json.loads((demo / "results/zoo/select.json").read_text())
    standings = [one for one in choice["rows"] if one["choosable"]]
    best = max(standings, key=lambda one: one["average_precision"])
    tied = [one for one in standings if one["behind"] <= one["standard_error"] or one is best]
    assert choice["best"] == best["model"]
    assert not {one["model"] for one in tied} & {*RANDOM, "zero_shot", "prevalence"}
    chosen = next(one for one in tied if one["model"] == choice["chosen"])
    assert chosen["operations"] == min(one["operations"] for one in tied)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_window_and_the_browser_has_no_complaint(browser: Browser, demo: Path, width: int) -> None:
    session = browser.show(demo / "results/zoo/report.html", width=width)
    assert browser.value(session, "document.documentElement.scrollWidth") <= width
    assert browser.value(session, "document.querySelectorAll('tr').length") > 40
    assert not browser.complaints()


def test_the_page_says_which_rows_have_random_weights_and_what_not_to_conclude(demo: Path) -> None:
    page = re.sub(r"<[^>]+>", " ", (demo / "results/zoo/report.html").read_text())
    assert page.count("random weights") >= len(RANDOM)
    assert re.search(r"(?i)not (to )?conclude", page)


def test_a_second_run_makes_nothing(demo: Path) -> None:
    assert checkouts.planned(demo, "--", "zoo") == set()

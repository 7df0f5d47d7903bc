"""The page: nothing from outside, nothing unescaped, no number but the measured ones."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import fake_study
import numpy as np
import pytest
from chromium import Browser

from stages import report
from stages.lib.core import documents, tables
from stages.lib.core.errors import DocumentError, ParamsError, TableError
from stages.lib.metrics import catalog, measures
from stages.lib.metrics.measures import Estimate, Key, Subject
from stages.lib.report import blocks, numbers
from stages.nodules import section

LOADS = {"src", "href", "srcset", "xlink:href", "data", "poster", "action", "background", "formaction"}


class Page(HTMLParser):
    """A page as a browser would take it: its tags, its text, and the numbers of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.numbers: list[tuple[dict[str, str], str, str | None, str]] = []
        self.rows: list[list[str]] = []
        self._table: dict[str, str] = {}
        self._row = ""
        self._cell: list[str] | None = None
        self._value: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "table":
            self._table = {key: str(value) for key, value in given.items() if key.startswith("data-")}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag == "tr":
            self._row = given.get("data-key") or ""
        if tag == "td" and given.get("class") == "number":
            self._cell, self._value = [], given.get("data-value")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows.append([])
        if tag == "td" and self._cell is not None:
            self.numbers.append((self._table, self._row, self._value, "".join(self._cell)))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()
        if self._cell is not None:
            self._cell.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_study.write(tmp_path_factory.mktemp("study"))


def draw(results: Path, changes: Mapping[tuple[Subject, Key], Estimate] | None = None, **parameters: Any) -> str:
    """The page of a study, some of its measures and parameters changed."""
    arguments = fake_study.section_options(results)
    elsewhere = results / "changed"
    if changes:
        found = measured(results)
        for (subject, key), estimate in changes.items():
            found[subject][key] = estimate
        tables.write(elsewhere / "measures.parquet", measures.table("nodules", found), tables.MEASURES)
        arguments[arguments.index("--measures") + 1] = str(elsewhere / "measures.parquet")
    if parameters:
        document = json.loads(json.dumps(fake_study.PARAMETERS))
        for name, value in parameters.items():
            chapter, part, key = name.split("__")
            document[chapter][part][key] = value
        arguments[1] = json.dumps(document)
    arguments[arguments.index("--section") + 1] = str(elsewhere / "section.json")
    section.main(arguments)
    options = fake_study.report_options(results)
    options[options.index("--sections") + 1] = str(elsewhere / "section.json")
    options[options.index("--pages") + 1] = str(elsewhere / "nodules/report.html")
    for name in ("report", "metrics", "summary"):
        options[options.index(f"--{name}") + 1] = str(elsewhere / name)
    report.main(options)
    return (elsewhere / "report").read_text()


def measured(results: Path) -> dict[Subject, dict[Key, Estimate]]:
    return measures.from_table(tables.read(results / "measures.parquet", tables.MEASURES))["nodules"]


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    report.main(fake_study.report_options(results))
    return (results / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_loads_nothing_and_runs_nothing(page: Page, html: str) -> None:
    loaded = [value for _, attrs in page.tags for key, value in attrs.items() if key in LOADS]
    assert loaded
    assert all(value and value.startswith(("data:", "#")) for value in loaded)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "base", "form"}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert not re.search(r"@import|url\(|@font-face", html)
    policy = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_hostile_names_and_words_are_shown_as_text(page: Page) -> None:
    assert fake_study.HOSTILE.removesuffix(".png") in page.text
    assert fake_study.HOSTILE_USED.removesuffix(".png") in page.text
    assert "I see <b>something" in page.text
    assert "Nodule? </script>" in page.text
    assert {attrs["alt"] for tag, attrs in page.tags if tag == "img"} >= {
        f"image {fake_study.HOSTILE_USED.removesuffix('.png')}"
    }
    assert all(set(attrs) == {"src", "alt", "width", "height"} for tag, attrs in page.tags if tag == "img")


def test_every_number_of_the_classification_tables_was_measured(page: Page, results: Path) -> None:
    found = measured(results)
    rows: dict[tuple[str, str], list[tuple[str | None, str]]] = {}
    for table, key, value, text in page.numbers:
        name, _, split = table.get("data-table", "").partition(".")
        if name == "classification":
            rows.setdefault((split, key), []).append((value, text))
    assert {split for split, _ in rows} == {"test", "val"}
    shown = known = 0
    for split in ("test", "val"):
        wanted = found[Subject("classification", "tuned", split)]
        differences = found[Subject("comparison", "tuned", split, "zero_shot")]
        counts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
        assert {key for s, key in rows if s == split} == {key.text for key in wanted if key.metric not in counts}
        for key in wanted:
            if key.metric in counts:
                continue
            truth = [found[Subject("classification", model, split)][key] for model in fake_study.MODELS]
            truth += [differences[key]] if key in differences else []
            cells = rows[split, key.text]
            assert len(cells) == len(truth)
            for (value, text), estimate in zip(cells, truth, strict=True):
                if estimate.value is None:
                    assert value is None
                    assert estimate.reason and estimate.reason in text
                    continue
                assert float(str(value)) == estimate.value
                printed = [
                    float(part.replace(numbers.MINUS, "-"))
                    for part in re.findall(rf"[+{numbers.MINUS}]?\d+\.\d+", text)
                ]
                ends = [estimate.low, estimate.high]
                ends += [estimate.wilson_low, estimate.wilson_high] if estimate.flat else []
                if estimate.known_low is not None:
                    ends += [estimate.known_low, estimate.known_high]
                    assert numbers.KNOWN in text
                    known += 1
                assert printed == pytest.approx([estimate.value, *ends], abs=5.1e-4)
                shown += 1
    assert shown > 100
    assert known > 50


def test_every_subgroup_has_its_images_and_its_measured_numbers_on_the_page(page: Page, results: Path) -> None:
    found = measured(results)
    cells: dict[tuple[str, str], list[float | None]] = {}
    for table, key, value, _ in page.numbers:
        name, _, system = table.get("data-table", "").partition(".")
        if name == "subgroups":
            cells.setdefault((system, key), []).append(None if value is None else float(value))
    subsets = {s.subset for s in found if s.task == "classification" and s.subset.startswith("test/")}
    assert {"test/sex/F", "test/age/from_65", "test/view/PA", "test/source/nih", "test/size/from_20"} < subsets
    columns = [Key("roc_auc"), Key("roc_auc_gap"), Key("roc_auc_gap_p_holm")]
    columns += [Key("sensitivity", "youden"), Key("specificity", "youden")]
    shown = 0
    for system in fake_study.MODELS:
        assert {subset for name, subset in cells if name == system} == {*subsets, "test"}
        for subset in subsets:
            wanted = [found[Subject("classification", system, subset)][key].value for key in columns]
            assert cells[system, subset] == wanted
            shown += sum(value is not None for value in wanted)
    assert shown > 40
    assert "too few: " in page.text
    text = " ".join(page.text.split())
    assert "across sources: sized nodules are of lidc, negative images of nih" in text
    assert "not known of 11 images" in text


def test_every_number_of_the_localization_tables_was_measured(page: Page, results: Path) -> None:
    measures_ = measured(results)
    found: dict[tuple[str, str], list[tuple[str | None, str]]] = {}
    for table, key, value, text in page.numbers:
        name, _, subset = table.get("data-table", "").partition(".")
        if name == "localization":
            found.setdefault((subset, key), []).append((value, text))
    by_text = {key.text: key for measured_ in measures_.values() for key in measured_}
    shown = 0
    for (subset, text_key), cells in found.items():
        assert len(cells) == len(fake_study.LOCALIZERS)
        for localizer, (value, text) in zip(fake_study.LOCALIZERS, cells, strict=True):
            first, _, last = text_key.rpartition("/")
            if first.startswith(subset):  # a stratum
                estimate = measures_[Subject("localization", localizer, first)].get(Key("recall", last))
            elif first in fake_study.MODELS:
                estimate = measures_[Subject("joint", localizer, subset, first)].get(by_text[last])
            else:
                key = by_text[text_key]
                estimate = measures_[Subject("localization", localizer, subset)].get(key)
                negatives = measures_.get(Subject("localization", localizer, f"{subset}/negatives"), {})
                estimate = estimate or negatives.get(key)
            if estimate is None or estimate.value is None:
                assert value is None
                assert (estimate.reason if estimate and estimate.reason else "not measured") in text
            else:
                assert float(str(value)) == estimate.value
                shown += 1
    assert shown > 200
    for wanted in ("precision_at_tight", "f1_at_tolerant", "count_exact"):
        assert {(subset, wanted) for subset in ("test", "test/positives", "all")} <= set(found)
    assert ("test/positives", "recall_at_tight") not in found  # it is as that of all test images
    assert "A point on a negative image is a false point" in page.text
    assert "so precision and F1 are of images with nodules alone" in page.text
    for subset in ("test", "all"):
        for wanted in (
            "recall_at_tight",
            "median_radial_error_mm_at_tolerant",
            "nearest_point_mm",
            f"{subset}/size/from_20/tolerant",
        ):
            assert (subset, wanted) in found
    assert ("test", "fraction_with_point") in found
    assert ("all", "fraction_with_point") not in found
    assert "Radial errors are over matched pairs only" in page.text
    assert "The points of that baseline lie in the lung field on " in page.text
    title = "Label of Tuned at the threshold for specificity 0.95, as submitted, and point together, tight distance"
    assert title in page.text
    joint = measures_[Subject("joint", "attribution", "test", "tuned")][Key("joint_right", "tight")]
    assert joint.threshold == 0.62
    assert "left half is taken for the patient's right" in page.text


def test_what_compares_images_of_different_sources_says_so_and_numbers_within_one_stand_beside(
    page: Page, results: Path
) -> None:
    text = re.sub(r"\s+", " ", page.text)
    assert "Across sources: marked nodules are on images of LIDC (" in text
    for title in ("FROC, tight distance, across sources", "Tolerant distance, all test images, across sources"):
        assert title in text
    assert "FROC, within 0.02 of the diagonal (tight), across sources" in text
    assert "Chosen across sources: marked nodules on images of LIDC (3), negative images of NIH (3)." in text
    assert "Within one source, NIH: no number, as no marked image is of the source nih." in text
    one = Estimate(value=0.321, low=0.1, high=0.6, n=9)
    subject = Subject("localization", "attribution", "test/source/nih")
    within = Page(draw(results, {(subject, Key("cpm", "tight")): one}))
    assert ({"data-table": "localization.test/source/nih"}, "cpm_at_tight", "0.321") in [
        (table, key, value) for table, key, value, _ in within.numbers
    ]
    assert "FROC, tight distance, within NIH" in within.text


def test_an_interval_without_width_has_wilsons_beside_it(results: Path) -> None:
    subject, key = Subject("localization", "chexagent", "test"), Key("precision", "tolerant")
    sure = Estimate(value=1.0, low=1.0, high=1.0, n=9, n_patients=9, wilson_low=0.7225, wilson_high=1.0)
    changes = {(subject, key): sure, (subject._replace(system="medgemma"), key): replace(sure, value=0.9, low=0.8)}
    rows = [row[1:3] for row in Page(draw(results, changes)).rows if row[:1] == ["Precision"]]
    assert ["0.900[0.800, 1.000]", "1.000[1.000, 1.000], Wilson [0.723, 1.000]"] in rows


def test_without_any_confidence_there_is_no_froc_chart_and_the_page_says_why(page: Page, results: Path) -> None:
    assert "MedGemma has no FROC curve: not every point has a confidence" in page.text
    assert "FROC, within 0.02" in page.text
    without = fake_study.section_options(results)
    empty = results / "no_curves.parquet"
    tables.write(empty, tables.CURVES.arrow.empty_table(), tables.CURVES)
    without[without.index("--curves") + 1] = str(empty)
    without[without.index("--section") + 1] = str(results / "no_curves.json")
    section.main(without)
    titles = [
        chart.title
        for part in documents.read(results / "no_curves.json", blocks.Section).parts
        for block in part.blocks
        if isinstance(block, blocks.Charts)
        for chart in block.charts
    ]
    assert not [title for title in titles if "FROC" in title]
    assert "Loss" in titles


def test_the_points_of_all_localizers_are_on_an_image_each_with_its_own_mark(results: Path) -> None:
    shown = documents.read(results / "section.json", blocks.Section)
    images = next(part for part in shown.parts if part.name == "images")
    title, cards = "", []
    for block in images.blocks:
        if isinstance(block, blocks.Heading):
            title = block.title
        if isinstance(block, blocks.Gallery) and title == "Localization: CheXagent-2":
            cards += [card for album in block.albums for card in album.cards]
    looks = {mark.look for card in cards for mark in card.marks}
    assert looks == {2, 3, 4}  # after the two classifiers
    assert {mark.look for card in cards for mark in card.marks if mark.box} == {3}


def test_the_page_tells_how_answers_change_with_the_form_of_the_weights(results: Path, page: Page) -> None:
    found = measured(results)
    change = found[Subject("adapter", "unmerged", "val", "merged")]
    assert change[Key("margin_change_largest")].value == pytest.approx(0.6)
    assert "by 0.300 in the median and by 0.600 at most" in page.text
    for form, words in (
        ("unmerged", "Unmerged adapter, on the base as it was trained"),
        ("merged", "unquantized base"),
    ):
        assert words in page.text
        assert f"{found[Subject('adapter', form, 'val')][Key('brier')].value:.3f}" in page.text


def test_every_prompt_of_a_bank_is_listed_with_what_it_found_and_the_cutoff_is_told(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text)
    assert "<b>?" in text
    assert [row for row in page.rows if row[:1] and row[0] in ("Where?", "<b>?")] == [
        ["Where?", "3 of 4", "8", "0.500", "none", "0.200", "0.167", "0.333", "chosen"],
        ["<b>?", "3 of 4", "8", "0.250", "0.125", "0.200", "0.167", "0.333", ""],
    ]
    assert "Each prompt at its own least confidence, on 6 images of the val split, 3 of them negative" in text
    assert (
        "Points of 0.250 or more are shown. On the 6 images that choose, 3 of them negative, they find 3 of 4 nodules "
        "with 4 points, F1 0.750. Wanted: the least confidence with at most 0.5 false points per negative image; there "
        "are 0.125." in text
    )


def test_the_first_sentence_states_the_finding_with_its_interval(page: Page, results: Path) -> None:
    area = measured(results)[Subject("classification", "tuned", "test")][Key("roc_auc")]
    sentence = re.sub(r"\s+", " ", page.text)
    wanted = f"On {area.n} test images ({area.n_positive} with a nodule), the ROC AUC is "
    assert f"{wanted}{area.value:.3f} [{area.low:.3f}, {area.high:.3f}] (Tuned); " in sentence


def test_a_sensitivity_at_a_specificity_stands_beside_the_specificity_that_came_out(page: Page, results: Path) -> None:
    found = measured(results)[Subject("classification", "tuned", "test")][Key("specificity", "specificity_95")]
    assert "Sensitivity at the threshold for specificity 0.95, Tuned" in page.text
    assert f"specificity here {found.value:.3f}" in page.text


def test_an_undefined_metric_is_a_dash_with_its_reason_and_never_a_number(results: Path) -> None:
    undefined = Estimate(value=None, n=52, skipped_draws=0, reason="no image was called positive")
    tuned = Subject("classification", "tuned", "test")
    changes = {(tuned, Key("precision", "youden")): undefined, (tuned, Key("roc_auc")): undefined}
    changed = Page(draw(results, changes))
    cells = [(value, text) for _, key, value, text in changed.numbers if key == "precision_at_youden"]
    assert (None, "— no image was called positive") in [(value, text.strip()) for value, text in cells]
    assert "ROC AUC is undefined (no image was called positive)" in re.sub(r"\s+", " ", changed.text)


def test_every_rejected_image_is_listed_with_its_problem_and_their_count(page: Page, results: Path) -> None:
    manifest = tables.read(results / "manifest.parquet", tables.MANIFEST).to_pylist()
    rejected = [row for row in manifest if row["status"] == "rejected"]
    assert len(rejected) == 3
    assert sum(tag == "tr" and str(attrs.get("data-key")).startswith("rejected/") for tag, attrs in page.tags) == 3
    assert all(row["image_id"] in page.text and row["problem"] in page.text for row in rejected)
    kinds = {
        str(attrs["data-key"]).removeprefix("notice/")
        for tag, attrs in page.tags
        if tag == "tr" and str(attrs.get("data-key")).startswith("notice/")
    }
    assert kinds == {"unreadable", "patient"}
    assert "1 archive, 2 litter" in page.text and "an archive is not read" in page.text
    assert "3 of 109" in page.text


def test_every_response_that_could_not_be_read_or_was_cut_is_listed(page: Page, results: Path) -> None:
    parsed = [
        kind
        for localizer in fake_study.LOCALIZERS
        for kind in tables.read(results / f"localize/{localizer}_responses.parquet", tables.RESPONSES)[
            "parsed"
        ].to_pylist()
    ]
    assert min(parsed.count("malformed"), parsed.count("cut")) > 0
    listed = sum(str(attrs.get("data-key")).startswith("unread/") for _, attrs in page.tags)
    assert listed == parsed.count("malformed") + parsed.count("cut")


def limitations(page: Page) -> dict[str, str]:
    """Text of each limitation, by its title."""
    start = next(place for place, row in enumerate(page.rows) if row == ["", "In this study"])
    rows = page.rows[start + 1 :]
    return {row[0]: row[1] for row in rows[: rows.index([])]}


def test_limitations_state_the_counts_of_the_run(page: Page, results: Path) -> None:
    said = limitations(page)
    manifest = {row["image_id"]: row for row in tables.read(results / "manifest.parquet", tables.MANIFEST).to_pylist()}
    split = tables.read(results / "split.parquet", tables.SPLIT).to_pylist()
    test = [(manifest[row["image_id"]]["source"], row["label"]) for row in split if row["split"] == "test"]
    usable = sum(row["status"] == "ok" for row in manifest.values())
    assert said["Images"] == f"All {usable} images are simulated: no number here is about a patient."
    assert said["Spectrum"].startswith(f"{[label for _, label in test].count(0)} of {len(test)} labelled test images")
    assert f"NIH: {test.count(('nih', 1))} with a nodule and {test.count(('nih', 0))} negative" in said["Sources"]
    assert "Of LIDC there is one kind alone, so that the source tells the label." in said["Sources"]
    patients = {row["patient_id"] for row in split}
    assert f"{len(split)} images of {len(patients)} patients, split by image." in said["Patients"]
    found = measured(results)
    area, on_val = (found[Subject("classification", "tuned", part)][Key("roc_auc")] for part in ("test", "val"))
    assert f"{area.n} test images of {area.n_patients} patients, {area.n_positive} with" in said["Sample size"]
    assert (
        f"Estimated on {on_val.n} validation images of {on_val.n_patients} patients, of which "
        in (said["Thresholds and calibration"])
    )
    assert f"{on_val.n_positive} show a nodule" in said["Thresholds and calibration"]


def test_the_widest_interval_of_a_headline_metric_is_among_the_limitations(page: Page, results: Path) -> None:
    headline = [
        one.high - one.low
        for subject, found in measured(results).items()
        if subject.subset == "test" and subject.other is None
        for key, one in found.items()
        if key.headline and one.low is not None and not catalog.metric(key.metric).unit
    ]
    shown = re.search(r"is \[([\d.]+), ([\d.]+)\]", limitations(page)["Sample size"])
    assert shown is not None
    assert float(shown[2]) - float(shown[1]) == pytest.approx(max(headline), abs=0.002)
    wide = Estimate(value=0.5, low=0.0, high=1.0, n=9)
    changed = Page(draw(results, {(Subject("classification", "tuned", "test"), Key("pr_auc")): wide}))
    assert "is [0.000, 1.000]: PR AUC (average precision) of Tuned, 0.500." in limitations(changed)["Sample size"]


def test_limitations_say_what_is_not_known_and_change_with_the_study(page: Page, results: Path) -> None:
    said = limitations(page)
    assert "Whether the base model was trained on test images is not known" in said["Seen by the models before"]
    assert "Whether Somebody/CheXagent-2 was, is not known." in said["Seen by the models before"]
    assert said["Repeats"].startswith("1 split and 1 training")
    assert "the simulator's" in said["Source of the labels"]
    other = limitations(
        Page(
            draw(
                results,
                data__ingest__root="data",
                nodules__section__test_images_in_base="some",
                nodules__section__report_mined_labels=["nih"],
                data__split__unit="patient",
            )
        )
    )
    assert "simulat" not in " ".join(other.values())
    assert other["Images"].endswith("are those of data, which this study did not make.")
    assert re.search(r"LIDC: \d+ labels, not mined .*; NIH: \d+ labels, mined from", other["Source of the labels"])
    assert "was trained on some of the test images" in other["Seen by the models before"]
    assert "split by patient." in other["Patients"]


def test_a_localizer_with_an_adapter_is_said_to_have_chosen_on_validation_images_alone(page: Page) -> None:
    assert (
        "Attribution map: the adapter was trained on images of the train split, which may be among these" in page.text
    )
    assert page.text.count("the adapter was trained on images of the train split") == 1


def test_the_rates_of_malformed_and_cut_responses_are_on_the_page_per_localizer_and_prompt(
    page: Page, results: Path
) -> None:
    found = measured(results)
    for localizer in fake_study.LOCALIZERS:
        wanted = found[Subject("responses", localizer, "localized/Where?")]
        shown = [float(value) for _, key, value, _ in page.numbers if key == f"{localizer}/Where?" and value]
        assert shown == [one.value for one in wanted.values()]
        assert (Key("completeness_error") in wanted) == (localizer == "attribution")
        assert all(one.value > 0 and one.low <= one.value <= one.high for one in wanted.values())
    assert found[Subject("responses", "attribution", "choosing/<b>?")][Key("cut_fraction")].value == 2 / 6
    assert "The completeness error is how far it is from that" in page.text


def test_the_probes_are_on_the_page_with_what_they_mean_and_a_source_that_is_told_apart_is_a_warning(
    page: Page, results: Path
) -> None:
    found = measured(results)
    across, within = found[Subject("probe", "grey_values", "all")], found[Subject("probe", "grey_values", "cohort")]
    shown = [value for _, key, value, _ in page.numbers if key == "grey_values"]
    wanted = [across[Key("probe_source_auc")], across[Key("probe_label_auc")], within[Key("probe_label_auc")]]
    assert [float(value or "nan") for value in shown] == [one.value for one in wanted]
    assert wanted[0].value == 1.0
    assert all(one.low is not None and one.low <= one.value <= one.high for one in wanted)
    assert "A probe sees no anatomy" in page.text
    assert "16 of 16 images of lidc" in page.text


def test_a_split_by_image_and_simulated_images_are_said_in_red_and_only_then(page: Page, results: Path) -> None:
    assert "The images were split by image" in page.text
    assert "The images are simulated" in page.text
    text = Page(draw(results, data__split__unit="patient", data__ingest__root="data")).text
    assert "split by image" not in text
    assert "simulated" not in text


def test_the_same_study_gives_the_same_bytes(html: str, results: Path) -> None:
    assert draw(results) == html


def test_the_page_is_small_enough_to_be_sent(html: str) -> None:
    assert len(html.encode()) < 3e6


def test_a_study_without_localizer_training_and_calibration_still_has_a_page(results: Path, tmp_path: Path) -> None:
    missing = ("localize", "responses", "choice", "cutoff", "train", "curve", "fetch", "calibration")
    arguments = fake_study.section_options(results, without=missing)
    arguments[arguments.index("--section") + 1] = str(tmp_path / "bare.json")
    section.main(arguments)
    options = fake_study.report_options(results)
    options[options.index("--sections") + 1] = str(tmp_path / "bare.json")
    options[options.index("--report") + 1] = str(tmp_path / "bare.html")
    report.main(options)
    text = Page((tmp_path / "bare.html").read_text()).text
    assert "No localizer was run" in text
    assert "Nothing was trained" in text


def test_parameters_that_the_page_needs_and_lacks_are_named(results: Path) -> None:
    arguments = fake_study.section_options(results)
    document = json.loads(arguments[1])
    del document["nodules"]["tolerance"]
    arguments[1] = json.dumps(document)
    with pytest.raises(ParamsError, match="tolerance"):
        section.main(arguments)


def test_a_missing_image_is_named(results: Path, tmp_path: Path) -> None:
    arguments = fake_study.section_options(results)
    arguments[arguments.index("--results") + 1] = str(tmp_path)
    with pytest.raises(TableError, match=r"normalized/1-of-1/.*run normalize again"):
        section.main(arguments)


def test_a_file_that_is_no_section_is_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "section.json").write_text('{"chapter": "nodules", "titel": "x"}')
    options = fake_study.report_options(results)
    options[options.index("--sections") + 1] = str(tmp_path / "section.json")
    with pytest.raises(DocumentError, match=r"section\.title: missing"):
        report.main(options)


def test_an_unknown_operating_point_is_refused(results: Path) -> None:
    arguments = fake_study.section_options(results)
    arguments[1] = arguments[1].replace("youden", "yuoden")
    with pytest.raises(ParamsError, match="operating_point"):
        section.main(arguments)


def test_the_json_files_have_every_measure_and_the_headline_metrics(results: Path, html: str) -> None:
    document = json.loads((results / "metrics.json").read_text())["nodules"]
    found = measured(results)
    leaves = 0
    for subject, measured_ in found.items():
        place = document[subject.task][subject.system]
        place = place[subject.other] if subject.other else place
        for key, estimate in measured_.items():
            entry = place[subject.subset][key.text]
            assert entry["value"] == estimate.value
            assert entry.get("reason") == estimate.reason
            leaves += 1
    assert leaves == tables.read(results / "measures.parquet", tables.MEASURES).num_rows > 500
    assert document["warnings"] == list(documents.read(results / "notes.json", section.Notes).warnings)
    summary = json.loads((results / "summary.json").read_text())["nodules"]
    assert summary["tuned"]["roc_auc"] == found[Subject("classification", "tuned", "test")][Key("roc_auc")].value
    assert "recall_at_tolerant" in summary["attribution"] and "recall_at_tight" not in summary["attribution"]


def test_two_chapters_stand_on_one_page_and_each_has_its_own(results: Path, tmp_path: Path, html: str) -> None:
    first = documents.read(results / "section.json", blocks.Section)
    number = blocks.Number(text="0.5", interval="", value=0.5, low=None, high=None, note="3 images")
    part = blocks.Part(name="one", title="Part one", short="One", blocks=(blocks.Note(text=("It is ", number)),))
    other = replace(first, chapter="zoo", title="Which model?", warnings=(), tiles=(), parts=(part,))
    documents.write(tmp_path / "zoo.json", other)
    nested = {Subject("classification", "probe", "test"): {Key("roc_auc"): Estimate(value=0.75)}}
    tables.write(tmp_path / "zoo.parquet", measures.table("zoo", nested), tables.MEASURES)
    (tmp_path / "zoo_notes.json").write_text('{"warnings": []}')
    options = fake_study.report_options(results)
    for name, more in (("sections", "zoo.json"), ("measures", "zoo.parquet"), ("notes", "zoo_notes.json")):
        options.insert(options.index(f"--{name}") + 2, str(tmp_path / more))
    options[options.index("--pages") + 1] = str(tmp_path / "zoo/report.html")  # the other's is made apart
    for name in ("report", "metrics", "summary"):
        options[options.index(f"--{name}") + 1] = str(tmp_path / name)
    report.main(options)
    both = Page((tmp_path / "report").read_text())
    assert "Which model?" in both.text
    chapters = re.findall(r"<ul>.*?</ul>", (tmp_path / "report").read_text().partition("<nav")[2], re.DOTALL)
    assert ["#nodules-data" in chapters[0], "#zoo-one" in chapters[1]] == [True, True]  # a line of links for each
    assert first.title in both.text
    ids = [attrs["id"] for _, attrs in both.tags if attrs.get("id")]
    assert len(ids) == len(set(ids)) and {"nodules", "zoo", "zoo-one"} <= set(ids)
    alone = Page((tmp_path / "zoo/report.html").read_text()).text
    assert "Part one" in alone and "Does the image show a nodule" not in alone
    assert json.loads((tmp_path / "summary").read_text())["zoo"] == {"probe": {"roc_auc": 0.75}}
    options[options.index("--pages") + 1] = str(tmp_path / "lung/report.html")
    with pytest.raises(DocumentError, match="found the folder lung, wanted one of nodules, zoo"):
        report.main(options)


def test_the_image_on_the_page_is_the_image_on_disk(page: Page, results: Path) -> None:
    from PIL import Image

    sources = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    images = [Image.open(BytesIO(base64.b64decode(str(source).partition(",")[2]))) for source in sources]
    assert {image.size for image in images} == {(280, 280)}
    chosen = {attrs["alt"]: attrs["src"] for tag, attrs in page.tags if tag == "img"}
    on_page = Image.open(BytesIO(base64.b64decode(str(chosen["image 0009"]).partition(",")[2])))
    on_disk = Image.open(results / "normalized/1-of-1/0009.png")
    small = np.asarray(on_page.resize(on_disk.size), float)
    assert np.abs(small - np.asarray(on_disk, float)).mean() < 4


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page_without_error_or_overflow(
    browser: Browser, results: Path, html: str, width: int, scheme: str
) -> None:
    file = results / "shown.html"
    file.write_text(html)
    session = browser.show(file, width=width, scheme=scheme)
    script = """({
        wide: document.documentElement.scrollWidth,
        images: [...document.images].every(image => image.complete && image.naturalWidth > 0),
        count: document.images.length,
        page: getComputedStyle(document.body).backgroundColor,
        line: getComputedStyle(document.querySelector('path.line.c1')).stroke,
        marks: [...document.querySelectorAll('.image')].every(box => {
            const image = box.querySelector('img').getBoundingClientRect();
            const marks = box.querySelector('svg').getBoundingClientRect();
            return Math.abs(image.width - marks.width) < 1 && Math.abs(image.height - marks.height) < 1;
        }),
    })"""
    seen = browser.value(session, script)
    assert seen["wide"] <= width
    assert seen["images"]
    assert seen["count"] > 10
    assert seen["marks"]
    light = sum(int(part) for part in re.findall(r"\d+", seen["page"])[:3]) > 384
    assert light == (scheme == "light")
    assert seen["line"] == ("rgb(0, 103, 172)" if scheme == "light" else "rgb(94, 179, 240)")
    assert not browser.complaints()
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)

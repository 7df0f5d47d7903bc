"""The page: nothing from outside, nothing unescaped, no number but those of metrics.json."""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import fake_study
import numpy as np
import pytest

from stages import report
from stages.lib.core import documents, tables
from stages.lib.core.errors import ImageError, ParamsError, TableError
from stages.lib.detect.choice import BankRow, Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.images.geometry import Geometry
from stages.lib.metrics.binary import average_precision, roc_auc
from stages.lib.metrics.froc import RATES
from stages.lib.metrics.localization_suite import FROC_NAMES
from stages.lib.report import charts, figures, gallery, numbers, overlays
from stages.nodules import summary

APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
LOADS = {"src", "href", "srcset", "xlink:href", "data", "poster", "action", "background", "formaction"}


class Page(HTMLParser):
    """A page as a browser would take it: its tags, its text, and the numbers of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.numbers: list[tuple[dict[str, str], str, str | None, str]] = []
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
            self._row = given.get("data-metric") or ""
        if tag == "td" and given.get("class") == "number":
            self._cell, self._value = [], given.get("data-value")

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._cell is not None:
            self.numbers.append((self._table, self._row, self._value, "".join(self._cell)))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_study.write(tmp_path_factory.mktemp("study"))


def draw(results: Path, **changed: Any) -> str:
    """Return the page of a study, its metrics.json changed by `changed`."""
    arguments = fake_study.options(results)
    if changed:
        document = json.loads((results / "metrics.json").read_text())
        for path, value in changed.items():
            *parents, last = path.split("__")
            inner = document
            for parent in parents:
                inner = inner[parent]
            inner[last] = value
        elsewhere = results / "changed.json"
        elsewhere.write_text(json.dumps(document))
        arguments[arguments.index("--metrics") + 1] = str(elsewhere)
    report.main(arguments)
    return (results / "report.html").read_text()


def study_view(results: Path) -> dict[str, Any]:
    """Return what the page of a study shows."""
    seen: list[dict[str, Any]] = []
    page, report.page = report.page, lambda view, template: seen.append(dict(view)) or "<html></html>"
    try:
        report.main([*fake_study.options(results)[:-1], str(results / "unused.html")])
    finally:
        report.page = page
    return seen[0]


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    return draw(results)


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
    assert fake_study.HOSTILE in page.text
    assert fake_study.HOSTILE_USED.removesuffix(".png") in page.text
    assert "I see <b>something" in page.text
    assert "Nodule? </script>" in page.text
    assert {attrs["alt"] for tag, attrs in page.tags if tag == "img"} >= {
        f"image {fake_study.HOSTILE_USED.removesuffix('.png')}"
    }
    assert all(set(attrs) == {"src", "alt", "width", "height"} for tag, attrs in page.tags if tag == "img")


def test_every_number_of_the_classification_tables_is_that_of_metrics_json(page: Page, results: Path) -> None:
    metrics = json.loads((results / "metrics.json").read_text())
    rows: dict[tuple[str, str], list[tuple[str | None, str]]] = {}
    for table, metric, value, text in page.numbers:
        if "data-split" in table:
            rows.setdefault((table["data-split"], metric), []).append((value, text))
    assert {split for split, _ in rows} == {"test", "val"}
    shown = 0
    for split in ("test", "val"):
        wanted = metrics["classification"]["tuned"][split]
        assert {metric for s, metric in rows if s == split} == {key for key in wanted if "low" in wanted[key]}
    for (split, metric), cells in rows.items():
        truth = [metrics["classification"][model][split][metric] for model in fake_study.MODELS]
        truth += [metrics["comparison"][split][metric]] if metric in metrics["comparison"][split] else []
        assert len(cells) == len(truth)
        for (value, text), entry in zip(cells, truth, strict=True):
            if entry["value"] is None:
                assert value is None
                assert entry["reason"] in text
                continue
            assert float(str(value)) == entry["value"]
            printed = [
                float(part.replace(numbers.MINUS, "-")) for part in re.findall(rf"[+{numbers.MINUS}]?\d+\.\d+", text)
            ]
            assert printed == pytest.approx([entry["value"], entry["low"], entry["high"]], abs=5.1e-4)
            shown += 1
    assert shown > 100


def test_every_number_of_the_localization_tables_is_that_of_metrics_json(page: Page, results: Path) -> None:
    localization = json.loads((results / "metrics.json").read_text())["localization"]
    found: dict[tuple[str, str], list[tuple[str | None, str]]] = {}
    for table, metric, value, text in page.numbers:
        if "data-view" in table:
            found.setdefault((table["data-view"], metric), []).append((value, text))
    shown = 0
    for (view, key), cells in found.items():
        kind, *rest = key.split(".")
        path = ["strata", kind, "parts", *rest] if kind in summary.STRATA else [kind, *rest]
        assert len(cells) == len(fake_study.LOCALIZERS)
        for localizer, (value, text) in zip(fake_study.LOCALIZERS, cells, strict=True):
            entry = localization[localizer][view]
            for part in path:
                entry = entry.get(part, {})
            if entry.get("value") is None:
                assert value is None
                assert entry.get("reason", "not measured") in text
            else:
                assert float(str(value)) == entry["value"]
                shown += 1
    assert shown > 200
    for view in ("test", "all"):
        for key in (
            "tight.recall",
            "tolerant.median_radial_error_mm",
            "images.nearest_point_mm",
            "size.from_20.tolerant",
        ):
            assert (view, key) in found
    assert ("test", "negatives.fraction_with_point") in found
    assert ("all", "negatives.fraction_with_point") not in found
    assert "Radial errors are over matched pairs only" in page.text
    assert "left half is taken for the patient's right" in page.text


def test_the_froc_curve_of_the_page_goes_through_the_sensitivities_of_metrics_json(results: Path) -> None:
    view = study_view(results)
    measured = json.loads((results / "metrics.json").read_text())["localization"]["attribution"]["test"]["froc"]
    assert len(view["froc"]) == 2
    for chart, tolerance in zip(view["froc"], ("tight", "tolerant"), strict=True):
        x, y = corners(chart, overlays.style(2))
        x = chart.x.low + x * (chart.x.high - chart.x.low)
        for key, rate in zip(FROC_NAMES, RATES, strict=True):
            assert y[x <= np.log2(rate) + 0.01].max() == pytest.approx(measured[tolerance][key]["value"], abs=2e-3)
        assert [line.label for line in chart.lines[:2]] == [
            "MedGemma: no confidences, one operating point",
            "CheXagent-2: no confidences, one operating point",
        ]


def test_without_any_confidence_there_is_no_froc_chart_and_the_page_says_why(page: Page, results: Path) -> None:
    assert "MedGemma has no FROC curve: not every point has a confidence" in page.text
    localization = json.loads((results / "metrics.json").read_text())["localization"]
    localization["attribution"]["test"]["froc"] = {"reason": "no point was predicted"}
    text = Page(draw(results, localization=localization)).text
    assert "Attribution map has no FROC curve: no point was predicted" in text
    assert "FROC, within" not in text


def test_the_points_of_all_localizers_are_on_a_image_each_with_its_own_mark(results: Path) -> None:
    cards = [
        card
        for localizer, groups in study_view(results)["place_groups"].items()
        for group in groups
        for card in group["cards"]
        if localizer == "chexagent"
    ]
    styles = {finding.style for card in cards for finding in card["findings"]}
    assert styles == {"place-0", "place-1", "place-2"}
    marks = {overlays.mark(50, 50, place) for place in range(len(overlays.MARKS))}
    assert len(marks) == len(overlays.MARKS) == 5
    boxed = {finding.style for card in cards for finding in card["findings"] if finding.box}
    assert boxed == {"place-1"}


def test_the_page_tells_how_answers_change_with_the_form_of_the_weights(results: Path, html: str) -> None:
    facts = json.loads((results / "metrics.json").read_text())["weights"]
    assert facts["margin_change_largest"]["value"] == pytest.approx(0.6)
    assert "by 0.300 in the median and by 0.600 at most" in html
    for form, words in (("as_trained", "Adapter on the base as it was trained"), ("merged", "unquantized base")):
        assert words in html
        assert f"{facts['forms'][form]['brier']['value']:.3f}" in html


def test_every_request_of_a_bank_is_listed_with_what_it_found_and_the_cutoff_is_told() -> None:
    counts = {"f1": 0.5, "hits": 3, "points": 8, "nodules": 4, "images": 6, "malformed": 1, "cutoff": None}
    rows = BankRow(request="Where?", **counts), BankRow(request="<b>?", **{**counts, "f1": 0.25, "cutoff": 0.125})
    choice = documents.as_mapping(Choice(requests=("Where?",), splits=("val",), bank=rows))
    cutoffs = {
        "attribution": Cutoff(cutoff=0.25, f1=0.75, hits=3, points=4, nodules=4, images=6),
        "combined": Cutoff(cutoff=None),
    }
    found = summary.banks(
        {
            "choice": {"attribution": choice},
            "cutoff": {name: documents.as_mapping(cutoff) for name, cutoff in cutoffs.items()},
        }
    )
    assert [(r["request"], r["f1"], r["cutoff"], r["chosen"]) for r in found[0]["rows"]] == [
        ("Where?", "0.500", "none", True),
        ("<b>?", "0.250", "0.125", False),
    ]
    assert found[0]["sentence"] == (
        "Points of 0.250 or more are shown. On the 6 images that choose, they find 3 of 4 nodules with 4 points, F1 "
        "0.750."
    )
    assert (found[1]["localizer"], found[1]["rows"], found[1]["sentence"]) == (
        "combined",
        [],
        "All its points are shown.",
    )


def test_the_first_sentence_states_the_finding_with_its_interval(page: Page, results: Path) -> None:
    tuned = json.loads((results / "metrics.json").read_text())["classification"]["tuned"]["test"]["roc_auc"]
    sentence = re.sub(r"\s+", " ", page.text)
    wanted = (
        f"On {tuned['n']} test images ({tuned['n_positive']} with a nodule) the tuned model{APOSTROPHE}s ROC AUC is "
    )
    assert f"{wanted}{tuned['value']:.3f} [{tuned['low']:.3f}, {tuned['high']:.3f}]; zero-shot it was" in sentence


def test_an_undefined_metric_is_a_dash_with_its_reason_and_never_a_number(results: Path) -> None:
    undefined = {"value": None, "low": None, "high": None, "n": 52, "reason": "no image was called positive"}
    path = "classification__tuned__test__precision_at_youden"
    changed = Page(draw(results, **{path: undefined, "classification__tuned__test__roc_auc": undefined}))
    cells = [(value, text) for _, metric, value, text in changed.numbers if metric == "precision_at_youden"]
    assert (None, "— no image was called positive") in [(value, text.strip()) for value, text in cells]
    assert "ROC AUC is undefined (no image was called positive)" in re.sub(r"\s+", " ", changed.text)


def test_every_rejected_image_is_listed_with_its_problem_and_their_count(page: Page, results: Path) -> None:
    manifest = tables.read(results / "manifest.parquet", tables.MANIFEST).to_pylist()
    rejected = [row for row in manifest if row["status"] == "rejected"]
    assert len(rejected) == 3
    assert sum(tag == "tr" and attrs.get("class") == "rejected" for tag, attrs in page.tags) == 3
    assert all(row["file_name"] in page.text and row["problem"] in page.text for row in rejected)
    assert "3 of 109" in page.text


def test_every_unreadable_answer_is_listed(page: Page, results: Path) -> None:
    answers = [
        parsed
        for localizer in fake_study.LOCALIZERS
        for parsed in tables.read(results / f"localize/{localizer}_answers.parquet", tables.ANSWERS)[
            "parsed"
        ].to_pylist()
    ]
    assert answers.count("malformed") > 0
    assert sum(attrs.get("class") == "unread" for _, attrs in page.tags) == answers.count("malformed")


def test_a_split_by_image_and_simulated_images_are_said_in_red_and_only_then(page: Page, results: Path) -> None:
    assert "The images were split by image" in page.text
    assert "The images are simulated" in page.text
    parameters = json.loads((results / "metrics.json").read_text())["provenance"]["parameters"]
    honest = {**parameters, "data": {"split": {"unit": "patient"}, "ingest": {"root": "data"}}}
    text = Page(draw(results, provenance__parameters=honest)).text
    assert "split by image" not in text
    assert "simulated" not in text


def test_the_same_study_gives_the_same_bytes(html: str, results: Path) -> None:
    assert draw(results) == html


def test_the_page_is_small_enough_to_be_sent(html: str) -> None:
    assert len(html.encode()) < 3e6


def test_a_study_without_localizer_training_and_calibration_still_has_a_page(results: Path) -> None:
    arguments = fake_study.options(results)
    for option in ("--localize", "--answers", "--train", "--curve", "--fetch"):
        first = arguments.index(option)
        last = next(k for k in range(first + 1, len(arguments)) if arguments[k].startswith("--"))
        del arguments[first:last]
    elsewhere = results / "bare.json"
    document = json.loads((results / "metrics.json").read_text())
    elsewhere.write_text(json.dumps({**document, "localization": {}}))
    arguments[arguments.index("--metrics") + 1] = str(elsewhere)
    arguments[arguments.index("--report") + 1] = str(results / "bare.html")
    report.main(arguments)
    text = Page((results / "bare.html").read_text()).text
    assert "No localizer was run" in text
    assert "Nothing was trained" in text


def test_metrics_that_do_not_say_how_they_were_measured_are_refused(results: Path) -> None:
    with pytest.raises(TableError, match=r"lacks the parameter 'parameters'"):
        draw(results, provenance={})


def test_a_missing_image_is_named(results: Path, tmp_path: Path) -> None:
    arguments = fake_study.options(results)
    arguments[arguments.index("--results") + 1] = str(tmp_path)
    with pytest.raises(TableError, match=r"normalized/1-of-1/.*run normalize again"):
        report.main(arguments)


def test_an_unknown_operating_point_is_refused(results: Path) -> None:
    arguments = fake_study.options(results)
    arguments[1] = arguments[1].replace("youden", "yuoden")
    with pytest.raises(ParamsError, match="operating_point"):
        report.main(arguments)


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


def test_a_image_that_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="run normalize again"):
        overlays.embed(b"<html>", 64)


def test_marks_lie_where_geometry_says_on_a_padded_image() -> None:
    geometry = Geometry(width_px=100, height_px=200, side_px=50)
    ring = overlays.rings([{"point": 0, "x": 49.5, "y": 99.5}], geometry, 0.02, 0.05)[0]
    assert (ring.x, ring.y) == (50.0, 50.0)
    assert ring.tolerant == pytest.approx(100 * 0.05 * np.hypot(100, 200) / 200, abs=0.01)
    row = {"rank": 0, "x": 24.5, "y": 49.5, "x0": -0.5, "y0": -0.5, "x1": 49.5, "y1": 99.5}
    found = overlays.findings(
        [{**row, "phrase": "nodule", "confidence": None}], geometry, "MedGemma", place=0, boxed=True
    )[0]
    assert (found.x, found.y) == (37.5, 25.0)
    assert found.box == (25.0, 0.0, 25.0, 50.0)


def corners(chart: charts.Chart, style: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the line of a style, in data units."""
    line = next(line for line in chart.lines if line.style == style)
    drawn = np.array([[float(part) for part in corner.split()] for corner in re.split("[ML]", line.path)[1:]])
    x = (drawn[:, 0] - chart.left) / (chart.right - chart.left)
    return x, (chart.bottom - drawn[:, 1]) / (chart.bottom - chart.top)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_under_the_drawn_curves_is_the_metric(ties: bool) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    scores = 1 / (1 + np.exp(-(labels + rng.normal(0, 1, 300))))
    scores = np.round(scores, 1) if ties else scores
    curves = {"tuned": figures.Curve(labels, scores, {})}
    x, y = corners(figures.roc(curves, "youden"), "tuned")
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(labels, scores), abs=2e-3)
    x, y = corners(figures.precision_recall(curves, "youden"), "tuned")
    assert np.trapezoid(y, x) == pytest.approx(average_precision(labels, scores), abs=2e-3)


def test_leaving_out_corners_leaves_the_line_as_it_is() -> None:
    there_and_back = [(0.0, 0.0), (4.0, 0.0), (2.0, 0.0), (2.0, 0.0), (2.0, 3.0)]
    assert charts.path(there_and_back) == "M0 0L4 0L2 0L2 3"


@pytest.mark.parametrize("values", [[0.0, 9.3], [-3.2, 7.0], [0.71, 0.74], [5.0], [0.0, 0.0], [1e-9, 3e-9], [0, 63179]])
def test_an_axis_holds_its_values_between_round_ticks(values: list[float]) -> None:
    axis = charts.fitting_axis(values, "step")
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert (axis.ticks[0], axis.ticks[-1]) == (axis.low, axis.high)
    assert 2 <= len(axis.ticks) <= 8


def record(image_id: str, label: int, score: float, points: int = 0, found: int = 0) -> gallery.Record:
    geometry = Geometry(width_px=9, height_px=9, side_px=9)
    image = gallery.Record(image_id, "nih", label, "test", "", geometry, [{"x": 1, "y": 1}] * points)
    image.scores["tuned"] = score
    image.answers["medgemma"] = {"parsed": "ok"}
    image.findings["medgemma"] = [{"x": 1, "y": 1}] * found
    return image


def test_the_images_shown_are_the_clearest_successes_and_failures() -> None:
    images = [record("a", 1, 0.6), record("b", 1, 0.9), record("c", 0, 0.5), record("d", 1, 0.4), record("e", 1, 0.1)]
    groups = gallery.by_answer([*images, record("f", 0, 0.2)], "tuned", 0.5, 2)
    assert [[image.image_id for image in group.images] for group in groups] == [["b", "a"], ["c"], ["e", "d"]]
    assert gallery.by_answer(images, "tuned", 0.5, 1)[0].total == 2


def test_images_with_nodules_are_found_or_missed_and_negative_ones_shown_only_with_points() -> None:
    images = [record("a", 1, 0, 1, 1), record("b", 1, 0, 1, 0), record("c", 0, 0, 0, 1), record("d", 0, 0)]
    groups = gallery.by_place(images, "medgemma", lambda image: len(image.findings["medgemma"]), 5)
    assert [[image.image_id for image in group.images] for group in groups] == [["a"], ["b"], ["c"]]


def test_a_zero_is_not_taken_for_a_missing_number() -> None:
    assert numbers.cell({"value": 0.0, "low": 0.0, "high": 0.0}).interval == "[0.000, 0.000]"
    assert numbers.cell({"value": 0.0}).value == 0.0
    assert numbers.cell(None).text == numbers.DASH


def test_a_metric_that_the_page_does_not_know_is_shown_all_the_same() -> None:
    measured = {"tuned": {"test": {"roc_auc": {"value": 0.5}, "kappa_at_f1": {"value": 0.25}}}}
    table = summary.classification({"classification": measured}, "f1")["test"]
    assert [(group["title"], group["rows"][0]["name"]) for group in table["groups"]] == [
        ("Without a threshold", "ROC AUC"),
        ("At the threshold of the best F1", "Kappa"),
    ]


class Browser:
    """Chromium, spoken to over its debugging pipe; no network, no port."""

    def __init__(self, program: str, folder: Path) -> None:
        its_input, self._say = os.pipe()
        self._hear, its_output = os.pipe()
        switches = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            f"--disable-component-update --disable-sync --user-data-dir={folder} --remote-debugging-pipe"
        )
        command = f"exec {program} {switches} 3<&{its_input} 4>&{its_output} 2>/dev/null"
        self._process = subprocess.Popen(["bash", "-c", command], pass_fds=(its_input, its_output))
        os.close(its_input)
        os.close(its_output)
        self._stream = os.fdopen(self._hear, "rb")
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **given: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        os.write(self._say, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def wait(self, event: str) -> None:
        while not any(heard.get("method") == event for heard in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._stream.read(1)) != b"\0":
            assert byte, "Chromium ended"
            text += byte
        return dict(json.loads(text))

    def close(self) -> None:
        os.close(self._say)
        self._process.wait(timeout=30)
        self._stream.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("chromium is not installed: apt-get install chromium")
    started = Browser(program, tmp_path / "profile")
    yield started
    started.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page_without_error_or_overflow(
    browser: Browser, results: Path, html: str, width: int, scheme: str
) -> None:
    file = results / "shown.html"
    file.write_text(html)
    target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
    session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Log", "Runtime", "Network"):
        browser.ask(f"{domain}.enable", session)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.ask("Emulation.setDeviceMetricsOverride", session, **size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.ask("Emulation.setEmulatedMedia", session, features=[feature])
    browser.ask("Page.navigate", session, url=file.as_uri())
    browser.wait("Page.loadEventFired")
    script = """({
        wide: document.documentElement.scrollWidth,
        images: [...document.images].every(image => image.complete && image.naturalWidth > 0),
        count: document.images.length,
        page: getComputedStyle(document.body).backgroundColor,
        line: getComputedStyle(document.querySelector('path.line.tuned')).stroke,
        marks: [...document.querySelectorAll('.image')].every(box => {
            const image = box.querySelector('img').getBoundingClientRect();
            const marks = box.querySelector('svg').getBoundingClientRect();
            return Math.abs(image.width - marks.width) < 1 && Math.abs(image.height - marks.height) < 1;
        }),
    })"""
    seen = browser.ask("Runtime.evaluate", session, expression=script, returnByValue=True)["result"]["value"]
    assert seen["wide"] <= width
    assert seen["images"]
    assert seen["count"] > 10
    assert seen["marks"]
    light = sum(int(part) for part in re.findall(r"\d+", seen["page"])[:3]) > 384
    assert light == (scheme == "light")
    assert seen["line"] == ("rgb(0, 103, 172)" if scheme == "light" else "rgb(94, 179, 240)")
    complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed")
    assert not [event for event in browser.events if event.get("method") in complaints]
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked)

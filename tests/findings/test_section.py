"""The page of the findings benchmark: nothing from outside, texts as texts, every number as it was measured."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import findings_tables
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import report
from stages.findings import measure, section
from stages.findings.notes import Notes
from stages.findings.page import arms, browser
from stages.lib.core import documents, tables
from stages.lib.core.case_tables import ANSWERS, JUDGEMENTS, SAMPLE
from stages.lib.metrics import measures
from stages.lib.metrics.measures import Key, Subject
from stages.lib.report import blocks
from stages.lib.report import page as page_of


class Page(HTMLParser):
    """Tags, scripts and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.numbers: dict[tuple[str, str], list[str | None]] = {}
        self._inside = ""
        self._table = self._row = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._inside = tag
        if tag == "table":
            self._table = given.get("data-table") or ""
        if tag == "tr":
            self._row = given.get("data-key") or ""
        if tag == "td" and (given.get("class") or "").startswith("number"):
            self.numbers.setdefault((self._table, self._row), []).append(given.get("data-value"))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self._inside == "script" else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = findings_tables.write(tmp_path_factory.mktemp("findings"))
    measure.main(findings_tables.measure_options(made))
    section.main(findings_tables.section_options(made))
    report.main(findings_tables.report_options(made))
    return made


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    return (results / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_one_script_is_allowed_by_its_hash_and_nothing_is_loaded(page: Page, html: str) -> None:
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    found = re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-([^']+)'", str(policy)
    )
    assert found and len(page.scripts) == 1
    assert base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode() == found[1]
    sources = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert sources and all(str(one).startswith(("data:", "#")) for one in sources)
    assert not [key for _, a in page.tags for key in a if key.startswith("on")]
    assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "base", "form", "link rel=stylesheet"}
    assert not re.search(r"https?://", page.scripts[0])


def test_hostile_texts_are_shown_as_text(page: Page) -> None:
    assert " ".join(findings_tables.HOSTILE.split()) in page.text
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "taken" not in page.scripts[0]


def test_every_number_of_the_table_of_arms_was_measured(page: Page, results: Path) -> None:
    found = measures.from_table(tables.read(results / "measure/measures.parquet", tables.MEASURES))["findings"]
    shown = 0
    for kind, metrics in (("ratings", arms.JUDGED), ("texts", arms.TEXTS), ("answers", arms.ANSWERS)):
        for name, subset in (("arms", "test"), ("arms.without_looping", "test/without_looping")):
            for arm in findings_tables.ARMS:
                measured = found[Subject("description", arm, subset)]
                values = page.numbers[f"{name}.{kind}", arm]
                kept = [metric for metric in metrics if metric not in ("truncated_fraction", "refused_fraction")]
                for metric, value in zip(kept, values, strict=True):
                    wanted = measured[Key(metric)].value
                    assert (None if value is None else float(value)) == wanted
                    shown += wanted is not None
    assert shown > 100


def test_each_declared_comparison_has_its_verdict_and_its_sentence(page: Page, results: Path) -> None:
    notes = documents.read(results / "measure/notes.json", Notes)
    primary = [one for one in notes.verdicts if one.judge == "rules"]
    assert len(primary) == 3
    assert page.text.count("percentage points: undecided") == sum(one.better is None for one in primary) > 0
    assert "Tuned is better than Most frequent finding." in page.text


def test_the_page_says_what_not_to_conclude_from_the_run(page: Page) -> None:
    keys = {key for _, a in page.tags if (key := a.get("data-key")) and key.startswith("not/")}
    assert {"not/size", "not/scope", "not/radiographs", "not/rules", "not/failures/strict", "not/leaks"} <= keys
    assert "30 cases are a pilot" in page.text


def test_a_case_shows_its_images_texts_and_findings_aligned(results: Path) -> None:
    made = documents.read(results / "section.json", blocks.Section)
    (shown,) = (block for part in made.parts for block in part.blocks if isinstance(block, blocks.Browser))
    assert [case.name for case in shown.cases] == [f"MPX{1000 + k}" for k in range(30)]
    case = shown.cases[0]
    golds = {row["case_id"]: row["gold"] for row in tables.read(results / "sample.parquet", SAMPLE).to_pylist()}
    assert all("".join(span.text for span in one.gold) == golds[one.name] for one in shown.cases)
    assert any(span.outcome == "gold" for span in case.gold)
    assert len(case.answers) == 4
    outcomes = {one.outcome for case in shown.cases for answer in case.answers for one in answer.findings}
    assert {"found", "missed", "invented", "wrong_side"} <= outcomes
    assert all(shot.image.startswith("data:image/jpeg") for case in shown.cases for shot in case.shots)
    lost = [r for case in shown.cases for answer in case.answers for r in answer.ratings if r.failed]
    assert lost and all(r.rating == "no rating, timeout" and "30 s" in r.reason for r in lost)


def test_an_image_that_is_gone_is_said_and_stops_nothing(tmp_path: Path) -> None:
    made = findings_tables.write(tmp_path, cases=6)
    for file in (tmp_path / "data/images").glob("MPX1000*"):
        file.unlink()
    parameters = json.loads(json.dumps(findings_tables.PARAMETERS))
    parameters["findings"]["measure"]["draws"] = 5
    measure.main(findings_tables.measure_options(made, parameters))
    section.main(findings_tables.section_options(made, parameters))
    assert "cannot be read" in (made / "section.json").read_text()


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45)), max_size=6))
def test_a_marked_text_is_the_text_whatever_the_marks(text: str, marks: list[tuple[int, int]]) -> None:
    marked: list[tuple[dict[str, int], blocks.Outcome, str]] = [
        ({"start": min(ends), "end": max(ends)}, "found", "title") for ends in marks
    ]
    assert "".join(span.text for span in browser.spans(text, marked)) == text


def test_a_page_without_a_block_that_wants_it_has_no_script(results: Path) -> None:
    made = documents.read(results / "section.json", blocks.Section)
    kept = tuple(part for part in made.parts if part.name != "cases")
    assert "<script" not in page_of.render("Without cases", [replace(made, parts=kept)])
    folded = blocks.Fold(title="Folded", blocks=next(p for p in made.parts if p.name == "cases").blocks)
    one = blocks.Part(name="one", title="One", short="One", blocks=(folded,))
    assert "<script>" in page_of.render("Folded", [replace(made, parts=(one,))])


def test_an_arm_that_is_asked_about_images_is_measured_against_captions_and_shown_per_case(tmp_path: Path) -> None:
    """Its items are images, so that it is compared with no arm whose items are cases."""
    made = findings_tables.write(tmp_path, cases=10)
    by_image(made / "answer/frequent.parquet", ANSWERS)
    for judge in findings_tables.JUDGES:
        by_image(made / f"judge/{judge}.parquet", JUDGEMENTS)
    measure.main(findings_tables.measure_options(made))
    section.main(findings_tables.section_options(made))
    found = measures.from_table(tables.read(made / "measure/measures.parquet", tables.MEASURES))["findings"]
    words = found[Subject("description", "frequent", "test")][Key("words")]
    assert (words.n, words.n_patients) == (sum(1 + k % 3 for k in range(10)), 10)
    assert ("tuned", "frequent") not in {(subject.system, subject.other) for subject in found}
    notes = documents.read(made / "measure/notes.json", Notes)
    assert any("tuned and frequent were asked about different items" in one for one in notes.warnings)
    (shown,) = (
        block
        for part in documents.read(made / "section.json", blocks.Section).parts
        for block in part.blocks
        if isinstance(block, blocks.Browser)
    )
    third = "".join(span.text for span in shown.cases[2].answers[3].text)
    assert all(f"image {k}: There is a large mass" in third for k in (1, 2, 3))
    assert len(shown.cases[2].answers[3].ratings) == 6  # two judges on each image


def by_image(path: Path, schema: tables.Schema) -> None:
    """Turn each row about a case of the arm `frequent` into one about each image of it."""
    rows = []
    for row in tables.read(path, schema).to_pylist():
        numbers = range(1 + (int(row["case_id"][3:]) - 1000) % 3) if row["arm"] == "frequent" else [None]
        rows += [{**row, "item": row["item"] if k is None else f"{row['item']}/{k}"} for k in numbers]
    tables.write(path, tables.from_rows(rows, schema), schema)


def drawn(folder: Path, parameters: dict[str, Any], **left_out: Sequence[str]) -> str:
    """Page of a small study with other parameters, some files left out."""
    made = findings_tables.write(folder, cases=12)
    for options, main in (
        (findings_tables.measure_options(made, parameters), measure.main),
        (findings_tables.section_options(made, parameters), section.main),
        (findings_tables.report_options(made, parameters), report.main),
    ):
        for name, paths in left_out.items():
            if f"--{name}" in options:
                at = options.index(f"--{name}") + 1
                while at < len(options) and not options[at].startswith("--"):
                    if any(path in options[at] for path in paths):
                        del options[at]
                    else:
                        at += 1
                if options[options.index(f"--{name}") + 1].startswith("--"):
                    options.remove(f"--{name}")
        main(options)
    return Page((made / "report.html").read_text()).text


def test_a_study_of_one_judge_without_comparison_clock_or_people_has_its_page(tmp_path: Path) -> None:
    parameters = json.loads(json.dumps(findings_tables.PARAMETERS))
    parameters["findings"]["measure"] |= {"comparisons": [], "draws": 5}
    text = drawn(tmp_path, parameters, judgements=["strict"], timings=["timing"], ratings=["ratings"])
    assert "No comparison was declared." in text
    assert "There is one pass of ratings" not in text  # the rules have rated twice
    assert "Nobody rated an answer by hand." in text
    assert "By Strict judge" not in text and "Rules · Strict judge" not in text


def test_a_judge_of_an_arms_family_is_named(tmp_path: Path) -> None:
    parameters = json.loads(json.dumps(findings_tables.PARAMETERS))
    parameters["findings"]["measure"]["draws"] = 5
    parameters["findings"]["judges"]["strict"]["family"] = "other, Pretrain"
    parameters["findings"]["ingest"] = {"root": "results/findings/simulate"}
    text = drawn(tmp_path, parameters)
    assert "That Strict judge is fair to every arm" in text
    assert "It is of the family of Tiny base, Tiny base, reworded prompt, Tuned, and judges favour their own." in text
    assert "The cases are drawn, and every number here with them" in text

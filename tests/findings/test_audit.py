"""Claims about the audit of judges: it names what a judge does wrong, and no judge that does nothing wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stub_judges
from chat_stub import Body, Stub, texts
from judged import ENDPOINT, GIVEN, RULES, answer, answers
from stub_judges import said

from stages.findings import audit, audit_measure, audit_section, audits, judge
from stages.findings.audits import Audits
from stages.lib.core import documents, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, JUDGEMENTS, SAMPLE
from stages.lib.models.chat import ledger
from stages.lib.report import page
from stages.lib.report.blocks import Section

ASKED = {
    "cases": 24,
    "seed": 1,
    "rubrics": ["short", "long"],
    "padding_factor": 3.0,
    "min_padded_words": 80,
    "vocabulary": "none",
}
MEASURED = {
    "draws": 60,
    "seed": 1,
    "confidence": 0.95,
    "min_cases": 6,
    "min_agreement": 0.8,
    "min_expected": 0.9,
    "max_grade_change": 0.1,
    "max_length_excess": 0.2,
}
INGEST = {
    "root": "cases",
    "terms": "open",
    "accept": [],
    "max_rejected": 0,
    "max_pixels": 1000,
    "same_correlation": 0.9,
}
NORMAL = "There is no mass, cyst, calcification or collection."


def gold_text(rng: np.random.Generator) -> str:
    if rng.random() < 0.15:
        return NORMAL
    kind, side = rng.choice(["mass", "cyst", "collection"]), rng.choice(["left", "right"])
    return f"There is a {rng.choice(['large', 'small'])} {kind} in the {side} abdomen. There are no other findings."


class Study:
    """Drawn gold texts, two arms of which one is sometimes right, and judges behind the stub or by rules."""

    def __init__(self, folder: Path, url: str, cases: int = 16) -> None:
        self.folder, self.url = folder, url
        rng = np.random.default_rng(5)
        golds = {f"c{n:02}": gold_text(rng) for n in range(cases)}
        rows = [
            {
                "case_id": case,
                "role": "test",
                "region": "abdomen",
                "modality": "CT",
                "numbers": [0],
                "history": None,
                "gold": gold,
                "gold_scope": "imaged_only",
                "flags": [],
            }
            for case, gold in golds.items()
        ]
        tables.write(folder / "sample.parquet", tables.from_rows(rows, SAMPLE), SAMPLE)
        tables.write(folder / "images.parquet", tables.from_rows([], CASE_IMAGES), CASE_IMAGES)
        said_ = []
        for case, gold in golds.items():
            mine = gold if rng.random() < 0.5 else gold_text(rng)
            said_.append(answer("finder", case, findings=mine, model="medgemma-tiny"))
            said_.append(answer("guess", case, findings="There is a mass in the right abdomen.", model=None))
        tables.write(folder / "answers.parquet", answers(said_), ANSWERS)

    def paths(self, *names: str) -> list[str]:
        files = {"sample": "sample.parquet", "case-images": "images.parquet", "answers": "answers.parquet"}
        return [part for name in names or files for part in (f"--{name}", str(self.folder / files[name]))]

    def run(self, **rows: dict[str, Any]) -> Audits:
        judges = {
            name: row if row.get("kind") == "rules" else {**GIVEN, **ENDPOINT, "base_url": self.url, **row}
            for name, row in rows.items()
        }
        given = {"judges": judges, "audit": ASKED, "audit_measure": MEASURED, "ingest": INGEST}
        document = json.dumps({"findings": given})
        for name in judges:
            for stage, place in ((judge, "judged"), (audit, "audited")):
                shard = ["--shard", "1-of-1"] if stage is judge else []
                stage.main(
                    [
                        "--params",
                        document,
                        "--judge",
                        name,
                        *self.paths(),
                        *shard,
                        "--judgements",
                        str(self.folder / f"{place}_{name}.parquet"),
                        "--timing",
                        str(self.folder / f"{place}_{name}.json"),
                    ]
                )
        many = [
            option
            for place in ("judged", "audited")
            for option in (f"--{place}", *(str(self.folder / f"{place}_{name}.parquet") for name in judges))
        ]
        out = ["--measures", str(self.folder / "measures.parquet"), "--audits", str(self.folder / "audits.json")]
        audit_measure.main(["--params", document, *self.paths(), *many, *out])
        audited = many[many.index("--audited") :]
        section = ["--section", str(self.folder / "section.json")]
        audit_section.main(["--params", document, *self.paths("sample"), *audited, *out, *section])
        return documents.read(self.folder / "audits.json", Audits)

    def page(self) -> str:
        return page.render("Audits", [documents.read(self.folder / "section.json", Section)])


def failed(found: Audits, name: str) -> set[str]:
    return {one.audit for one in found.audits if one.judge == name and one.outcome == "fail"}


@pytest.fixture
def stub(monkeypatch, tmp_path):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "ledger"))
    with Stub() as running:
        yield running


def test_no_audit_fails_for_rules_and_each_has_a_line_with_an_outcome(stub, tmp_path):
    study = Study(tmp_path, stub.url)
    found = study.run(rules=RULES)
    assert "No judge fails." in study.page()
    assert {one.audit for one in found.audits} == set(audits.TITLES)
    outcomes = {one.audit: (one.outcome, one.reason) for one in found.audits}
    assert {name for name, (outcome, _) in outcomes.items() if outcome == "fail"} == set()
    assert {name for name, (outcome, _) in outcomes.items() if outcome == "null"} == {
        audits.RUBRIC,
        audits.JUDGES,
        audits.FAMILY,
    }
    assert all(reason for _, reason in outcomes.values())
    assert {one.n for one in found.audits if one.audit == audits.GOLD} == {16}


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (stub_judges.fair, set()),
        pytest.param(stub_judges.likes_length, {audits.PADDED}, marks=pytest.mark.slow),
        pytest.param(stub_judges.swaps_sides, {audits.GOLD, audits.SWAPPED}, marks=pytest.mark.slow),
        pytest.param(stub_judges.obeys, {audits.INSTRUCTED}, marks=pytest.mark.slow),
        pytest.param(stub_judges.deaf_to_no, {audits.NEGATED, audits.GOLD}, marks=pytest.mark.slow),
        (stub_judges.wrong, {audits.PADDED, audits.GOLD, audits.SWAPPED}),
    ],
)
def test_a_judge_that_is_wrong_in_a_known_way_is_named_for_it_and_rules_are_not(stub, tmp_path, wrong, names):
    stub.scripts["judge"] = [said(wrong)]
    study = Study(tmp_path, stub.url)
    found = study.run(rules=RULES, model={"label": "A <b>model</b>"})
    assert failed(found, "rules") == set()
    html = study.page()
    assert "A <b>model</b>" not in html
    assert all(audits.TITLES[name] in html for name in names)
    assert ("examples.swapped.model" in html) == (audits.SWAPPED in names)
    assert failed(found, "model") - {audits.JUDGES} == names


def test_what_was_judged_already_is_not_asked_again_by_the_audit(stub, tmp_path):
    asked: list[str] = []

    def fair(body: Body) -> str:
        asked.append(texts(body))
        return said(stub_judges.fair)(body)

    stub.scripts["judge"] = [fair]
    study = Study(tmp_path, stub.url)
    first = study.run(model={})
    sent = stub.count("judge")
    rows = tables.read(tmp_path / "audited_model.parquet", JUDGEMENTS).to_pylist()
    assert sent < len(rows) + 32
    assert study.run(model={}) == first
    assert stub.count("judge") == sent
    assert len(set(asked)) < sent, "a repeat is a request of its own"


@pytest.mark.slow
def test_a_judge_of_an_arms_family_has_a_line_with_the_difference_from_another_judge(stub, tmp_path):
    def kind(gold: str, text: str) -> Any:
        return stub_judges.likes_length(gold, f"{text} " * 10)

    scripts: dict[str, Callable[[Body], str]] = {"gemini-x": said(kind), "gpt-5": said(stub_judges.fair)}
    stub.scripts |= {name: [step] for name, step in scripts.items()}
    found = Study(tmp_path, stub.url, cases=24).run(rules=RULES, own={"model": "gemini-x"}, strange={"model": "gpt-5"})
    lines = {(one.judge, one.other): one for one in found.audits if one.audit == audits.FAMILY}
    assert lines["own", "finder"].outcome == "fail"
    assert "Google (against strange)" in lines["own", "finder"].reason
    assert lines["strange", None].outcome == "pass"


def test_too_few_cases_have_no_outcome(stub, tmp_path):
    found = Study(tmp_path, stub.url, cases=5).run(rules=RULES)
    assert {one.outcome for one in found.audits} == {"null"}
    assert {one.reason for one in found.audits if one.audit == audits.GOLD} == {"fewer than 6 cases"}

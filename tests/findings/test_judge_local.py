"""Claims about a judge that is a model in this process."""

import json
from pathlib import Path

import pytest
from judged import GIVEN, RULES, answer, answers
from tiny_cases import LOCAL

from stages.findings import judge
from stages.findings.timing import Timing
from stages.lib.core import documents, tables
from stages.lib.core.case_tables import ANSWERS, CASE_IMAGES, JUDGEMENTS, SAMPLE
from stages.lib.core.errors import ParamsError
from stages.lib.models.chat import ledger


@pytest.fixture
def options(tmp_path: Path, tiny_base, monkeypatch):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "ledger"))
    sample = {"case_id": "c1", "role": "test", "region": "head", "modality": "CT", "numbers": [0], "history": None}
    sample |= {"gold": "A left mass.", "gold_scope": "imaged_only", "flags": []}
    tables.write(tmp_path / "sample.parquet", tables.from_rows([sample], SAMPLE), SAMPLE)
    tables.write(tmp_path / "images.parquet", tables.from_rows([], CASE_IMAGES), CASE_IMAGES)
    said = [answer(arm, "c1", findings=text) for arm, text in (("a", "A left mass."), ("b", "A cyst."))]
    tables.write(tmp_path / "answers.parquet", answers(said), ANSWERS)
    documents.write(tmp_path / "fetched.json", tiny_base)
    paths = {"sample": "sample.parquet", "case-images": "images.parquet", "answers": "answers.parquet"}
    paths |= {"judgements": "out.parquet", "timing": "out.json", "fetched": "fetched.json"}
    return {f"--{name}": str(tmp_path / path) for name, path in paths.items()} | {"--shard": "1-of-1"}


def run(options: dict[str, str], **changes) -> list[dict]:
    own = {**GIVEN, **LOCAL, "model": "judge", "max_tokens": 6, "max_reprompts": 1, **changes}
    document = json.dumps({"findings": {"judges": {"local": own, "rules": RULES}}})
    given = [part for pair in options.items() for part in pair]
    judge.main(["--params", document, "--judge", "local", *given])
    return tables.read(options["--judgements"], JUDGEMENTS).to_pylist()


def test_a_small_model_that_says_no_verdict_has_rows_without_a_rating_or_with_that_of_its_fallback(options):
    alone = run(options)
    assert {row["status"] for row in alone} <= {"invalid", "error"}
    assert {row["rating"] for row in alone} == {None}
    assert all(row["problem"] for row in alone)
    together = run(options, fallback="rules")
    assert [(row["status"], row["rating"]) for row in together] == [("fallback", "good"), ("fallback", "poor")]
    assert documents.read(options["--timing"], Timing).name == "local"


def test_a_local_judge_without_the_record_of_its_model_says_what_is_missing(options):
    options.pop("--fetched")
    with pytest.raises(ParamsError, match="--fetched"):
        run(options)

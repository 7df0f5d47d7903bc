"""Claims about stages.findings.judge with judges behind a real connection: the stub on loopback."""

import json
import subprocess
import sys
import time

import chat_stub
import pytest
from chat_stub import Said, Status, Stub
from judged import Study, verdict

from stages.findings.timing import Timing
from stages.lib.core import documents, tables
from stages.lib.core.case_tables import ANSWERS
from stages.lib.core.errors import BudgetError, EndpointError, ParamsError, ReplayError
from stages.lib.models.chat import client_params, ledger


@pytest.fixture
def stub(monkeypatch, tmp_path):
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "ledger"))
    with Stub({"judge": [verdict]}) as running:
        yield running


def test_an_endpoint_rates_every_answer_and_a_second_run_sends_nothing(stub, tmp_path):
    study = Study(tmp_path, stub.url)
    found = study.run()
    assert {(row["arm"], row["rating"]) for row in found} == {("a", "good"), ("b", "poor"), ("c", None)}
    assert len(found) == 7
    assert {row["status"] for row in found if row["arm"] != "c"} == {"ok"}
    assert stub.count("judge") == 2, "answers of the same words are one request"
    before = (tmp_path / "one.parquet").read_bytes()
    assert study.run() == found
    assert (tmp_path / "one.parquet").read_bytes() == before
    assert stub.count("judge") == 2
    timing = documents.read(tmp_path / "one.json", Timing)
    assert len(timing.clocked) == 6
    assert all(one.dollars is not None and one.dollars > 0 for one in timing.clocked)


def test_what_was_judged_is_replayed_without_a_connection_and_a_change_is_named(stub, tmp_path, monkeypatch):
    study = Study(tmp_path, stub.url)
    found = study.run()
    replay = {"network": "replay", "max_dollars": 0.0, "max_requests": 0, "prices": "shipped"}
    monkeypatch.setenv(client_params.VARIABLE, json.dumps(replay))
    study.url = "http://127.0.0.1:9/v1"
    assert study.run() == found
    with pytest.raises(ReplayError, match="another max_tokens"):
        study.run(one={"max_tokens": 7})
    assert stub.count("judge") == 2


@pytest.mark.parametrize(
    ("script", "sent", "status", "said"),
    [
        ([chat_stub.FENCED, verdict], 3, "invalid", "no rationale"),
        ([chat_stub.WRONG_SCHEMA], 3, "invalid", "no rationale"),
        ([Said(None, "length")], 3, "invalid", "reasoning may have used them up"),
        ([Status(500)], 2, "error", "500"),
        ([chat_stub.HTML], 2, "error", "no JSON"),
        ([Status(400, "response_format unsupported")], 3, "error", "400: "),
        ([Status(429, headers={"Retry-After": "0"}), verdict], 2, "ok", None),
        ([Status(500), verdict], 2, "ok", None),
    ],
)
def test_each_fault_of_a_judge_has_its_status_and_its_count_of_requests(stub, tmp_path, script, sent, status, said):
    study = Study(tmp_path, stub.url)
    table = tables.read(tmp_path / "answers.parquet", ANSWERS).slice(0, 1)
    tables.write(tmp_path / "answers.parquet", table, ANSWERS)
    stub.scripts["judge"] = script
    found = study.run()[0]
    assert (found["status"], stub.count("judge")) == (status, sent)
    assert (found["problem"] is None) == (said is None)
    assert said is None or said in found["problem"]


def test_a_judge_that_wants_no_schema_is_asked_in_words(stub, tmp_path):
    def says(body: chat_stub.Body) -> str:
        return verdict(body) if "response_format" not in body else "Good."

    stub.scripts["judge"] = [says]
    found = Study(tmp_path, stub.url).run()
    assert {row["status"] for row in found if row["arm"] != "c"} == {"repaired"}
    assert {row["asked"] for row in found if row["arm"] != "c"} == {3}
    kinds = [one.body.get("response_format", {}).get("type", "text") for one in stub.asked]
    assert sorted(kinds) == ["json_object"] * 2 + ["json_schema"] * 2 + ["text"] * 2


def test_the_fallback_judge_rates_by_the_same_rubric_what_the_judge_could_not(stub, tmp_path):
    stub.scripts |= {"judge": ["Hm."], "second": [verdict]}
    study = Study(tmp_path, stub.url)
    found = study.run(one={"rubric": "long", "fallback": "two"}, two={"model": "second"})
    assert {row["status"] for row in found if row["arm"] != "c"} == {"fallback"}
    assert {row["judged_by"] for row in found if row["arm"] != "c"} == {"second"}
    assert all(row["problem"].startswith("invalid: ") for row in found if row["arm"] != "c")
    assert {row["rubric"] for row in found} == {"long-1"}
    assert "secondary" in chat_stub.texts(next(one.body for one in stub.asked if one.model == "second"))


def test_single_failures_of_a_judge_go_to_its_fallback_and_a_dead_one_ends_the_run_until_it_is_back(stub, tmp_path):
    """What failed satisfies no later request: another run asks the judge itself again."""
    stub.scripts |= {"judge": [Status(500)], "second": [verdict]}
    study = Study(tmp_path, stub.url)
    rows = {"one": {"fallback": "two", "stop_after": 2, "concurrency": 1}, "two": {"model": "second"}}
    with pytest.raises(EndpointError, match=r"no answer to 2 .*run again when the server is back"):
        study.run(**rows)
    assert not (tmp_path / "one.parquet").exists()
    assert stub.count("second") == 0
    rows["one"]["stop_after"] = 3
    assert {(row["status"], row["judged_by"]) for row in study.run(**rows) if row["arm"] != "c"} == {
        ("fallback", "second")
    }
    stub.scripts["judge"] = [verdict]
    assert {row["status"] for row in study.run(**rows) if row["arm"] != "c"} == {"ok"}


def test_a_judge_and_its_fallback_share_one_budget_and_a_second_run_goes_on(stub, tmp_path, monkeypatch):
    stub.scripts |= {"judge": ["Hm."], "second": [verdict]}
    study = Study(tmp_path, stub.url)
    rows = {"one": {"fallback": "two", "max_reprompts": 0}, "two": {"model": "second"}}
    limited = {"network": "live", "max_dollars": 0.0, "max_requests": 3, "prices": "shipped"}
    monkeypatch.setenv(client_params.VARIABLE, json.dumps(limited))
    with pytest.raises(BudgetError, match="max_requests 3"):
        study.run(**rows)
    assert len(stub.asked) == 3
    assert {row["status"] for row in study.run(**rows) if row["arm"] != "c"} == {"fallback"}
    assert len(stub.asked) == 4


def test_rules_ask_nobody_and_can_stand_in_for_a_judge(stub, tmp_path):
    rules = {"kind": "rules", "max_invented": 0, "vocabulary": "none"}
    stub.scripts["judge"] = [Status(500)]
    study = Study(tmp_path, stub.url)
    found = study.run("rules", rules=rules)
    assert {(row["arm"], row["rating"]) for row in found} == {("a", "good"), ("b", "poor"), ("c", None)}
    assert {row["judged_by"] for row in found if row["arm"] != "c"} == {"rules"}
    assert not stub.asked
    assert not documents.read(tmp_path / "rules.json", Timing).clocked
    second = study.run(one={"fallback": "rules"}, rules=rules)
    assert {row["status"] for row in second if row["arm"] != "c"} == {"fallback"}
    assert [row["rating"] for row in second] == [row["rating"] for row in found]


def test_problems_of_the_judges_are_said_before_anything_is_sent(stub, tmp_path):
    study = Study(tmp_path, stub.url)
    with pytest.raises(ParamsError, match="fallback two: unknown"):
        study.run(one={"fallback": "two"})
    with pytest.raises(ParamsError, match="found no file"):
        study.run(one={"rubric": "short_one"})
    with pytest.raises(ParamsError, match="tiny is the model of the arm a"):
        study.run(one={"model": "tiny"})
    with pytest.raises(ParamsError, match="did you mean 'one'"):
        study.run("won", one={})
    assert not stub.asked


def test_what_is_sent_holds_no_key_arm_or_model_of_an_arm(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sesame-123")
    Study(tmp_path, stub.url).run(one={"key_variable": "JUDGE_KEY"})
    text = (tmp_path / "ledger/judge/one/1-of-1.jsonl").read_text()
    assert "sesame" not in text
    assert all("tiny" not in json.dumps(one.body) for one in stub.asked)


@pytest.mark.slow
def test_killed_at_four_moments_a_judge_ends_with_the_same_bytes_and_asks_little_twice(stub, tmp_path, monkeypatch):
    def hesitant(body: chat_stub.Body) -> str:
        return verdict(body) if len(body["messages"]) > 2 else "Let me think."

    stub.scripts["judge"] = [hesitant]
    kinds = [(f"arm{number}", f"{number} mm {'mass' if number % 2 else 'cyst'}") for number in range(30)]
    study = Study(tmp_path, stub.url, kinds)
    study.run()
    whole, wanted = (tmp_path / "one.parquet").read_bytes(), stub.count("judge")
    assert wanted == 60
    (tmp_path / "one.parquet").unlink()
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "killed"))
    stub.forget()
    stub.wait = 0.03
    for moment in range(1, 5):
        process = subprocess.Popen([sys.executable, "-m", "stages.findings.judge", *study.options()])
        while process.poll() is None and stub.count("judge") < 12 * moment:
            time.sleep(0.005)
        process.kill()
        process.wait()
    study.run()
    assert (tmp_path / "one.parquet").read_bytes() == whole
    assert stub.count("judge") <= wanted + 4 * 4

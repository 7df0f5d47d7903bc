"""Arms and judges behind endpoints in whole runs of the chapter: a real server, and one that fails in every way."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import checkout as checkouts
import findings_study
import pytest
import stub_judges
import yaml
from chat_stub import HTML, Answer, Body, Said, Status, Stub
from chats import ENDPOINT
from findings_study import CASES, SMALL_FINDINGS
from real_server import free_port, serve

from stages.lib.core import tables
from stages.lib.core.case_tables import ANSWERS, JUDGEMENTS

pytestmark = pytest.mark.slow
SAME = ("item", "text", "status", "findings", "finish_reason", "images", "prompt_sha256", "prompt_tokens")
SEEN = "There is a large mass in the right abdomen. There are no other findings."
LOOP = "There is a large mass in the right abdomen. " * 30
ODD: tuple[Answer, ...] = (
    *(SEEN, Said(SEEN, "length"), "", "I am sorry, but I cannot help with medical images.", Said(LOOP, "length")),
    *(Status(500, "out of memory"), HTML, SEEN),
)
COUNTED = {"ok": 2, "truncated": 1, "empty": 1, "refused": 1, "looping": 1, "error": 2}


@dataclass
class Eyes:
    """A model behind the stub that answers each case, the first it is asked about with the first of `said`."""

    said: tuple[Answer, ...] = (SEEN,)
    cases: dict[str, int] = field(default_factory=dict)

    def __call__(self, body: Body) -> Answer:
        """What it says to a request."""
        case = sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        return self.said[self.cases.setdefault(case, len(self.cases)) % len(self.said)]


@dataclass
class Study:
    """A study with a local arm, the same behind a real server, and an arm and a judge behind a stub.

    Attributes:
        folder: The checkout.
        port: Of the stub, whether it runs or not.
        eyes: The stub's model that is an arm.
    """

    folder: Path
    port: int
    eyes: Eyes = field(default_factory=Eyes)

    def stub(self) -> Stub:
        """The stub, to be entered."""
        return Stub({"eyes": [self.eyes], "judge": [stub_judges.said(stub_judges.fair)]}, port=self.port)

    def change(self, section: str, **values: Any) -> None:
        """Change parameters of a section."""
        checkouts.change(self.folder, {section: values})

    def run(self, *targets: str, fails: bool = False) -> str:
        """Run the chapter or some files of it."""
        return findings_study.snakemake(self.folder, *targets, fails=fails)

    def again(self) -> str:
        """Run the chapter, and ask again about what failed."""
        command = ("snakemake", "--cores", "2", "--quiet", "host", "--forcerun", "findings_answer_shard")
        return checkouts.run(self.folder, *command, "findings_judge_shard", "--", "findings")

    def answers(self, arm: str) -> list[dict[str, Any]]:
        """Rows of an arm."""
        return tables.read(self.folder / f"results/findings/answer/{arm}.parquet", ANSWERS).to_pylist()

    def page(self) -> str:
        """The report."""
        return (self.folder / "results/findings/report.html").read_text()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study that nothing has been run of; the tests of this file go on with it one after the other."""
    few = {**SMALL_FINDINGS, "findings.arms.tuned": None}
    few["findings.measure"] = {**(few["findings.measure"] or {}), "comparisons": [["remote", "all_images"]]}
    made = Study(checkouts.copy(tmp_path_factory.mktemp("endpoints") / "checkout", few), free_port())
    path = made.folder / "params.yaml"
    document = yaml.safe_load(path.read_text())
    arms, judges = document["findings"]["arms"], document["findings"]["judges"]
    own = {"batch_size", "adapter", "dtype", "attention", "quantization", "kind", "model", "revision", "label"}
    asked = {name: value for name, value in arms["all_images"].items() if name not in own}
    url = f"http://127.0.0.1:{made.port}/v1"
    quick = {**asked, **ENDPOINT, "kind": "endpoint", "base_url": url, "max_tries": 2, "max_wait_s": 0.1}
    arms["remote"] = {**quick, "label": "Remote", "model": "eyes", "concurrency": 2}
    arms["served"] = {**quick, "label": "Served", "timeout_s": 60.0, "total_timeout_s": 400.0}
    rows = {**judges["rules"], **{name: quick[name] for name in ENDPOINT}, "kind": "endpoint", "model": "judge"}
    judges["model"] = {**rows, "label": "Model", "max_tokens": 200, "max_reprompts": 1}
    for name in ("max_invented", "vocabulary"):
        del judges["model"][name]
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    yield made


def test_the_same_arm_in_process_and_behind_a_real_server_gives_the_same_answers(study: Study, tmp_path: Path) -> None:
    with serve(study.folder / "workflow/demo_findings_base", tmp_path / "log.txt") as served:
        study.change("findings.arms.served", base_url=served.url, model=served.model)
        study.run(*(f"results/findings/answer/{arm}.parquet" for arm in ("all_images", "served")))
    ours, theirs = ([{key: row[key] for key in SAME} for row in study.answers(arm)] for arm in ("all_images", "served"))
    assert ours == theirs
    assert len(ours) == CASES
    assert all(row["text"] for row in ours)


def test_a_dead_endpoint_ends_the_run_and_the_same_command_goes_on_when_it_is_back(study: Study) -> None:
    said = study.run(fails=True)
    assert "no answer to 3 request(s) in a row" in said
    assert "run again when the server is back" in said
    assert not (study.folder / "results/findings/answer/remote.parquet").exists()
    study.change("findings.client", max_requests=5)
    with study.stub() as stub:
        said = study.run(fails=True)
        assert "5 of findings.client.max_requests 5 are sent" in said
        assert stub.count("eyes") == 5
        study.change("findings.client", max_requests=0)
        study.run()
        assert stub.count("eyes") == CASES
        assert stub.count("judge") <= 3 * CASES
    assert {row["status"] for row in study.answers("remote")} == {"ok"}
    judged = tables.read(study.folder / "results/findings/judge/model.parquet", JUDGEMENTS)
    assert judged.num_rows == 4 * CASES
    assert set(judged["status"].to_pylist()) <= {"ok", "rules"}
    rated = {
        judge: tables.read(study.folder / f"results/findings/judge/{judge}.parquet", JUDGEMENTS)["rating"].to_pylist()
        for judge in ("rules", "model")
    }
    assert rated["rules"] == rated["model"]


def test_what_became_of_each_request_has_a_row_and_is_on_the_page_and_only_failures_are_asked_again(
    study: Study,
) -> None:
    study.eyes = Eyes(ODD)
    study.change("findings.arms.remote", max_tokens=30)
    with study.stub() as stub:
        study.run()
        assert stub.count("eyes") == CASES + COUNTED["error"]
    rows = study.answers("remote")
    assert len(rows) == CASES
    shown = findings_study.metrics(study.folder)
    assert {name: n for name, n in shown["counts"]["statuses"]["remote"].items() if n} == COUNTED
    rated = shown["description"]["remote"]["test"]
    assert rated["good_fraction"]["n"] == CASES - COUNTED["error"]
    assert rated["good_failures_poor"]["n"] == CASES
    assert rated["good_most"]["value"] >= rated["good_failures_poor"]["value"] + COUNTED["error"] / CASES
    assert "500: " in study.page()
    assert "--forcerun findings_answer_shard" in study.page()
    study.eyes.said = (SEEN,)
    with study.stub() as stub:
        study.again()
        assert stub.count("eyes") == COUNTED["error"]
    assert findings_study.metrics(study.folder)["counts"]["statuses"]["remote"].get("error", 0) == 0


def test_all_is_replayed_without_a_server(study: Study) -> None:
    study.change("findings.client", network="replay")
    files = sorted(study.folder.glob("results/findings/**/*.parquet"))
    before = {path: path.read_bytes() for path in files}
    asked = findings_study.ledger(study.folder)
    study.again()
    assert {path: path.read_bytes() for path in files} == before
    assert findings_study.ledger(study.folder) == asked

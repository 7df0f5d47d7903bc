"""The chapter findings as a whole: the same DAG for both engines, and no request that was answered is sent again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import checkout as checkouts
import findings_study
import pytest
from findings_study import ARMS, CASES, MODELS, SMALL_FINDINGS, TABLES

from stages.lib.core import tables

pytestmark = pytest.mark.slow

MEASURED = {"findings_measure", "findings_section", "findings_report", "report"}
JUDGED = {"findings_judge_shard", "findings_judge", *MEASURED}
ANSWERED = {"findings_answer_shard", "findings_answer", *JUDGED}
SECTION = {"findings_section"}  # which shows the parameters too
CHANGES: tuple[tuple[Mapping[str, Mapping[str, Any]], set[str], set[str]], ...] = (
    # of these parameters, what Snakemake runs again, and the stages of DVC that it begins with
    ({"findings.sample": {"seed": 2}}, {"findings_sample", *ANSWERED}, {"findings_sample", *SECTION}),
    ({"findings.arms.all_images": {"max_tokens": 20}}, ANSWERED, {"findings_answer-all_images", *SECTION}),
    ({"findings.judges.rules": {"max_invented": 1}}, JUDGED, {"findings_judge-rules", *SECTION}),
    (
        {"findings.section": {"max_cases": 3}, "findings.report": {"title": "Another"}},
        {*SECTION, "findings_report", "report"},
        {*SECTION, "findings_report"},
    ),
    (
        {
            "findings.client": {"network": "replay", "max_requests": 3},
            "findings.audit": {"cases": 5},
            "findings.train": {"max_steps": 1},
        },
        set(),
        set(),
    ),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that `dvc repro` has run."""
    folder = checkouts.copy(tmp_path_factory.mktemp("findings") / "checkout", SMALL_FINDINGS)
    checkouts.run(folder, "python", "-m", "workflow.dvc_sync")
    checkouts.run(folder, "git", "commit", "-qam", "stages of the chapter alone")
    checkouts.run(folder, "dvc", "repro")
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study by Snakemake in another folder, killed ten times on the way."""
    folder = checkouts.copy(tmp_path_factory.mktemp("killed") / "checkout", SMALL_FINDINGS)
    for moment in MOMENTS:
        kill_at(folder, moment)
    findings_study.snakemake(folder, "all", "findings")
    return folder


def logged(stage: str) -> Callable[[Path], bool]:
    """The moment when a stage is about to begin."""
    return lambda folder: (folder / f"results/logs/findings_{stage}.log").exists()


def answered(wanted: int) -> Callable[[Path], bool]:
    """The moment when so many answers are there."""
    files = "results/findings/ledger/answer/*/*.jsonl"
    return lambda folder: sum(file.read_bytes().count(b"\n") for file in folder.glob(files)) >= wanted


MOMENTS: tuple[Callable[[Path], bool], ...] = (
    logged("simulate"),
    logged("ingest"),
    logged("sample"),
    *(answered(wanted) for wanted in (2, 5)),
    logged("judge/rules/1-of-1"),
    logged("judge/rules"),
    logged("measure"),
    logged("section"),
    logged("report"),
)


def kill_at(folder: Path, moment: Callable[[Path], bool]) -> None:
    """Run the chapter, and kill Snakemake and all its jobs at once as soon as `moment` is there."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "gpu=1", "--rerun-incomplete"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        [*command, "--nolock", "--", "findings"],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not moment(folder):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def plan(folder: Path, *targets: str) -> set[str]:
    """Rules that would run, without those that only name what is wanted."""
    return checkouts.planned(folder, *targets) - {"findings"}


def test_every_artifact_is_there_and_every_table_reads(study: Path) -> None:
    results = study / "results/findings"
    for name, schema in TABLES.items():
        assert tables.read(results / f"{name}.parquet", schema).num_rows, name
    for arm in ARMS:
        answers = tables.read(results / f"answer/{arm}.parquet", TABLES[f"answer/{arm}"])
        assert answers.num_rows == CASES
        assert len(json.loads((results / f"answer/{arm}_timing.json").read_text())["clocked"]) == CASES
    assert tables.read(results / "judge/rules.parquet", TABLES["judge/rules"]).num_rows == CASES * len(ARMS)
    assert {arm: len(lines) for arm, lines in findings_study.ledger(study).items()} == dict.fromkeys(MODELS, CASES)
    for name in ("report.html", "metrics.csv", "sample.json", "summary.json"):
        assert (results / name).stat().st_size, name
    shown = findings_study.metrics(study)
    assert {arm: shown["description"][arm]["test"]["good_fraction"]["n"] for arm in ARMS} == dict.fromkeys(ARMS, CASES)
    record = json.loads((results / "sample.json").read_text())
    assert shown["sample_sha256"] == record["sample_sha256"]


def test_snakemake_has_nothing_to_do_after_dvc_repro(study: Path) -> None:
    assert plan(study, "all", "findings") == set()


@pytest.mark.parametrize(("changes", "rules", "stages"), CHANGES, ids=[next(iter(one)) for one, *_ in CHANGES])
def test_a_changed_parameter_reruns_what_depends_on_it(study: Path, changes: Mapping, rules: set, stages: set) -> None:
    before = (study / "params.yaml").read_text()
    try:
        checkouts.change(study, changes)
        assert plan(study, "all", "findings") == rules
        assert set(json.loads(checkouts.run(study, "dvc", "status", "--json"))) == stages
    finally:
        (study / "params.yaml").write_text(before)


def test_what_an_arm_or_judge_is_called_is_on_the_page_alone(study: Path) -> None:
    before = (study / "params.yaml").read_text()
    try:
        labels = {"findings.arms.all_images": {"label": "Every one"}, "findings.judges.rules": {"label": "By rule"}}
        checkouts.change(study, labels)
        assert plan(study, "findings") == {"findings_section", "findings_report"}
    finally:
        (study / "params.yaml").write_text(before)


def test_the_plan_of_a_cluster_asks_for_a_gpu_where_a_model_is_loaded_and_nowhere_else(study: Path) -> None:
    text = checkouts.run(study, "snakemake", "-n", "--profile", "slurm", "--forceall", "--nocolor", "--", "findings")
    jobs = [job for job in text.split("rule findings_") if "output: " in job]
    on_gpu = {job.partition("wildcards: arm=")[2].partition(",")[0] for job in jobs if "gpu=1" in job}
    assert on_gpu == set(MODELS)
    assert len([job for job in jobs if "gpu=1" in job]) == len(MODELS)


def test_ten_kills_end_with_the_same_bytes_and_nothing_was_asked_twice(study: Path, killed: Path) -> None:
    assert len(MOMENTS) == 10
    found = sorted(path.relative_to(killed) for path in killed.glob("results/findings/**/*.parquet"))
    assert {f"results/findings/{name}.parquet" for name in TABLES} == set(map(str, found))
    for path in found:
        assert (killed / path).read_bytes() == (study / path).read_bytes(), path
    for arm, lines in findings_study.ledger(killed).items():
        assert findings_study.asked_once(lines), arm
        assert len(lines) == CASES, arm
    assert plan(killed, "findings") == set()


def test_dvc_is_clean_after_snakemake_and_what_contributing_says_to_type(study: Path, killed: Path) -> None:
    shutil.copy(study / "dvc.yaml", killed)  # of the same parameters
    checkouts.run(killed, "dvc", "commit", "-f")
    assert "up to date" in checkouts.run(killed, "dvc", "status")
    assert plan(killed) == set()


def test_new_scores_come_from_the_answers_on_disk_without_a_model(killed: Path, tmp_path: Path) -> None:
    """Where torch cannot be imported no model can be loaded. Last of those on the killed study, which it changes."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('a model was loaded')\n")
    without = {"PYTHONPATH": str(tmp_path)}
    before, asked, shown = (killed / "params.yaml").read_text(), findings_study.ledger(killed), scores(killed)
    checkouts.change(killed, {"findings.arms.all_images": {"max_tokens": 23}})
    for target, network in (("findings_rescore", "live"), ("findings", "replay")):
        checkouts.change(killed, {"findings.client": {"network": network}})
        said = findings_study.snakemake(killed, target, fails=True, **without)
        case = next(iter(asked["all_images"]))["item"]
        assert f"{case}: asked before with another max_tokens" in said
    assert ANSWERED - {"report"} <= plan(killed, "findings")  # a failed shard is no reason to keep the old answers
    assert findings_study.ledger(killed) == asked
    (killed / "params.yaml").write_text(before)
    changes: Mapping[str, Mapping] = {
        "findings.measure": {"confidence": 0.8},
        "findings.judges.rules": {"max_invented": 3},
        "findings.arms.all_images": {"dollars_per_gpu_hour": 1.0},  # its answers are made again
    }
    checkouts.change(killed, changes)
    findings_study.snakemake(killed, "findings_rescore", **without)
    assert plan(killed, "findings") == set()
    assert findings_study.ledger(killed) == asked
    assert scores(killed) != shown


def scores(folder: Path) -> dict:
    """Measures of a study."""
    return findings_study.metrics(folder)["description"]


def test_an_experiment_in_a_folder_of_its_own_asks_nothing_again_and_is_compared(study: Path) -> None:
    asked = findings_study.ledger(study)
    checkouts.run(study, "git", "add", "-A")
    checkouts.run(study, "git", "commit", "-qm", "results", "--allow-empty")
    ledger = {"NODULEFLOW_LEDGER": str(study / "results/findings/ledger")}
    hour = "findings.arms.all_images.dollars_per_gpu_hour=1.0"  # the answers are made again, the requests are the same
    draws = "findings.measure.draws=60"
    text = checkouts.run(study, "dvc", "exp", "run", "--temp", "-n", "paid", "-S", hour, "-S", draws, **ledger)
    ran = set(re.findall("Running stage '(.*?)'", text))
    again = {"findings_answer-all_images", "findings_measure", "findings_section", "findings_report", "report"}
    assert again <= ran <= {*again, "findings_judge-rules"}
    assert findings_study.ledger(study) == asked
    table = checkouts.run(study, "python", "-m", "workflow.compare", "HEAD", "paid")
    assert "findings.measure.draws" in table
    assert "good_fraction" in table

"""One command compares two experiments: parameters, metrics with intervals, and the difference."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.core import tables
from stages.lib.core.errors import ExperimentError
from workflow import compare


def leaf(value, low=None, high=None, n=60):
    return {"value": value, "low": low, "high": high, "n": n, "n_positive": 12}


def experiment(value=0.8, lr=0.1, **more):
    return {
        "params": {"train": {"learning_rate": lr, "sources": ["nih"]}, "split": {"seed": 1}},
        "metrics": {
            "nodules": {
                "classification": {"tuned": {"test": {"roc_auc": leaf(value, value - 0.05, value + 0.05), **more}}},
                "provenance": {"git": "abc", "seed": 3},
            }
        },
    }


def test_only_the_parameters_that_differ_are_listed():
    found = compare.compare(experiment(lr=0.1), experiment(lr=0.5))
    assert found["params"] == [{"key": "train.learning_rate", "a": 0.1, "b": 0.5}]
    assert compare.compare(experiment(), experiment())["params"] == []


def test_a_parameter_that_only_one_side_has_is_listed():
    other = experiment()
    other["params"]["train"]["lora_r"] = 16
    assert compare.compare(experiment(), other)["params"] == [{"key": "train.lora_r", "a": None, "b": 16}]
    assert compare.compare(other, experiment())["params"] == [{"key": "train.lora_r", "a": 16, "b": None}]


def test_the_difference_is_the_second_minus_the_first():
    (entry,) = compare.compare(experiment(0.80), experiment(0.83))["metrics"]
    assert entry["metric"] == "nodules.classification.tuned.test.roc_auc"
    assert entry["difference"] == pytest.approx(0.03)


@pytest.mark.parametrize(("value", "apart"), [(0.95, True), (0.65, True), (0.85, False), (0.80, False)])
def test_the_mark_stands_where_the_intervals_do_not_overlap(value, apart):
    found = compare.compare(experiment(0.80), experiment(value))
    assert found["metrics"][0]["apart"] is apart
    text = compare.show(found, "a", "b").split(compare.NOTE)[0]
    assert ("*" in text) is apart


def test_touching_intervals_overlap():
    one, other = experiment(), experiment()
    one["metrics"]["nodules"]["classification"]["tuned"]["test"]["roc_auc"] = leaf(0.5, 0.4, 0.6)
    other["metrics"]["nodules"]["classification"]["tuned"]["test"]["roc_auc"] = leaf(0.7, 0.6, 0.8)
    assert compare.compare(one, other)["metrics"][0]["apart"] is False


def test_an_undefined_metric_has_no_difference_and_is_not_zero():
    other = experiment()
    other["metrics"]["nodules"]["classification"]["tuned"]["test"]["roc_auc"] = leaf(None)
    found = compare.compare(experiment(), other)
    assert found["metrics"][0]["difference"] is found["metrics"][0]["apart"] is None
    assert "undefined" in compare.show(found, "a", "b")


def test_a_metric_that_only_one_side_has_is_shown():
    found = compare.compare(experiment(), experiment(pr_auc=leaf(0.4, 0.3, 0.5)))
    assert [entry["metric"].rpartition(".")[2] for entry in found["metrics"]] == ["roc_auc", "pr_auc"]
    assert found["metrics"][1]["a"] is None


def test_only_the_main_metrics_are_shown_unless_all_are_asked_for():
    one = experiment(brier=leaf(0.1, 0.05, 0.2))
    assert len(compare.compare(one, one)["metrics"]) == 1
    assert len(compare.compare(one, one, every=True)["metrics"]) == 2


def test_different_images_are_pointed_out():
    other = experiment()
    other["metrics"]["nodules"]["classification"]["tuned"]["test"]["roc_auc"]["n"] = 61
    assert "Not the same images" in compare.show(compare.compare(experiment(), other), "a", "b")
    assert "Not the same images" not in compare.show(compare.compare(experiment(), experiment()), "a", "b")


def test_the_table_reads_as_one_would_write_it():
    text = compare.show(compare.compare(experiment(0.8, lr=0.1), experiment(0.95, lr=0.5)), "first", "workspace")
    assert text.splitlines()[:7] == [
        "Parameters that differ",
        "                       first  workspace",
        "  train.learning_rate  0.1    0.5",
        "",
        "Metrics, value [interval]",
        "                                                            first             workspace  difference",
        "  nodules.classification.tuned.test.roc_auc  0.800 [0.750, 0.850]  0.950 [0.900, 1.000]      +0.150 *",
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A DVC repository with a committed run, the experiment `faster`, and a changed working folder."""
    root = tmp_path_factory.mktemp("repository")

    def call(*command):
        environment = {"PATH": _path(), "HOME": str(root), "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)

    (root / "run.py").write_text(
        "import json, pathlib, yaml\n"
        "lr = yaml.safe_load(open('params.yaml'))['train']['learning_rate']\n"
        "leaf = {'value': 0.8 + lr / 10, 'low': 0.7, 'high': 0.9, 'n': 9}\n"
        "pathlib.Path('results').mkdir(exist_ok=True)\n"
        "text = json.dumps({'nodules': {'classification': {'tuned': {'test': {'roc_auc': leaf}}}}})\n"
        "pathlib.Path('results/metrics.json').write_text(text)\n"
    )
    (root / "params.yaml").write_text("train:\n  learning_rate: 0.1\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  metrics:\n    cmd: python run.py\n    deps: [run.py]\n    params: [train]\n"
        "    metrics: [results/metrics.json]\n"
    )
    call("git", "init", "-q", "-b", "main")
    call("git", "config", "user.email", "a@example.org")
    call("git", "config", "user.name", "A")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").touch()
    (root / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    call("git", "add", "--all")
    call("git", "commit", "-qm", "before any run")
    call("git", "tag", "empty")
    call("dvc", "repro", "-q")
    call("git", "add", "--all")
    call("git", "commit", "-qm", "a run")
    call("dvc", "exp", "run", "-q", "-n", "faster", "-S", "train.learning_rate=0.5")
    return root


def _path():
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def test_an_experiment_is_found_by_its_name_and_compared_with_a_revision(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    compare.main(["main", "faster", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["params"] == [{"key": "train.learning_rate", "a": 0.1, "b": 0.5}]
    assert found["metrics"][0]["difference"] == pytest.approx(0.04)


def test_the_second_is_the_working_folder_if_left_out(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    (repository / "params.yaml").write_text("train:\n  learning_rate: 0.7\n")
    compare.main(["main"])
    assert "train.learning_rate  0.1   0.7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("revision", "wanted"),
    [
        ("fastre", "did you mean 'faster'"),
        ("qqqq", "known are workspace, faster"),
        ("empty", "did not end"),
    ],
)
def test_a_revision_that_cannot_be_compared_is_a_sentence(repository, revision, wanted):
    with pytest.raises(ExperimentError, match=wanted):
        compare.load(revision, repository)


def test_metrics_that_are_not_in_the_cache_are_a_sentence(repository, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns("cache", "tmp"))
    with pytest.raises(ExperimentError, match="cache of another machine"):
        compare.load("faster", copy)


def test_a_folder_without_results_or_without_git_is_a_sentence(tmp_path):
    with pytest.raises(ExperimentError, match=r"there is no params\.yaml"):
        compare.load(compare.WORKSPACE, tmp_path)
    with pytest.raises(ExperimentError, match="main"):
        compare.load("main", tmp_path)


def outcomes(right, at="rules", split="test"):
    common = {"chapter": "findings", "task": "description", "system": "base", "at": at, "split": split}
    rows = [{**common, "image_id": f"MPX{k}", "correct": one == "g"} for k, one in enumerate(right)]
    return tables.from_rows(rows, tables.OUTCOMES)


def test_the_same_cases_of_two_experiments_are_set_against_each_other():
    one, other = experiment() | {"outcomes": outcomes("ggpp")}, experiment() | {"outcomes": outcomes("gpggg")}
    found = compare.compare(one, other)
    (pair,) = found["paired"]
    assert pair == {
        "name": "findings.description.base.rules", "n": 4, "a": 2, "b": 3, "only_a": 1, "only_b": 2, "p": 1.0
    }  # fmt: skip
    text = compare.show(found, "old", "new")
    assert "old alone" in text and "findings.description.base.rules" in text
    same = compare.show(compare.compare(one, one), "old", "new")
    assert "1 systems are right on the same images or cases in both." in same and "old alone" not in same
    elsewhere = experiment() | {"outcomes": outcomes("gggg", at="strict")}
    assert compare.compare(one, elsewhere)["paired"] == []
    assert compare.compare(one, experiment())["paired"] == []


def test_the_working_folder_of_findings_alone_is_compared(tmp_path):
    (tmp_path / "results/findings/measure").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("a: 1\n")
    (tmp_path / "results/findings/metrics.json").write_text("{}")
    tables.write(tmp_path / "results/findings/measure/outcomes.parquet", outcomes("gp"), tables.OUTCOMES)
    found = compare.load("workspace", tmp_path)
    assert found["metrics"] == {} and found["outcomes"].num_rows == 2

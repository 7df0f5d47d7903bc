"""A small study through the chapter zoo: rows that stand, one that fails, rows that come, go and are renamed."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import checkout as checkouts
import pytest
import yaml
import zoo_study
from chromium import Browser

from stages.lib.core import files, tables

pytestmark = pytest.mark.slow

COLLECT = {"zoo_calibrate", "zoo_select", "zoo_measure", "zoo_section", "zoo_report", "zoo_check", "zoo"}
RUN = ("snakemake", "--cores", "2", "--resources", "gpu=2", "--nocolor", "--keep-going")


def run(folder: Path, *targets: str, fails: bool = False) -> str:
    return checkouts.run(folder, *RUN, "--", *(targets or ("zoo",)), fails=fails)


def ran(text: str) -> set[str]:
    """Rules of the jobs that were run."""
    return {line.split()[1].rstrip(":") for line in text.splitlines() if re.match(r"(local)?rule \w+:$", line)}


def commands(folder: Path, target: str) -> list[tuple[str, list[str]]]:
    """Stages that Snakemake would run for a file, in order, with their arguments, to run them in one process."""
    text = checkouts.run(folder, "snakemake", "-n", "-p", "--nocolor", "--", target)
    found = re.findall(r"^Shell command: python -m (stages\..*) 2>&1 \| tee", text, re.MULTILINE)
    return [(stage, arguments) for stage, *arguments in map(shlex.split, found)]


def here(stages: list[tuple[str, list[str]]]) -> None:
    """Run stages in this process: most of a stage of a small study is the start of a process of its own."""
    for stage, arguments in stages:
        import_module(stage).main(arguments)


def models(folder: Path, change: Any) -> None:
    """Change the rows of a checkout."""
    path = folder / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["zoo"]["models"] = change(document["zoo"]["models"])
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def added(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A row beside one: the same model at four places."""
    return {"added": {**row, "shifts": 2, "places": ["features"]}}


def fits(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "results/zoo/fit").glob("*.json")}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = checkouts.copy(tmp_path_factory.mktemp("zoo") / "checkout", zoo_study.small())
    return folder, run(folder, fails=True)


def test_a_row_that_fails_is_told_with_its_reason_and_what_tries_it_again_and_the_others_stand(
    study: tuple[Path, str],
) -> None:
    folder, said = study
    found = fits(folder)
    assert found["lost"]["failure"]["stage"] == "embed"
    assert "no/folder/here" in found["lost"]["failure"]["reason"]
    assert not [name for name, one in found.items() if one["failure"] and name != "lost"]
    assert "1 row of zoo.models failed, 7 stand" in said
    again = re.search(r"snakemake --cores 2 --forcerun (.*) -- zoo_check", said)
    assert again and all((folder / path).exists() for path in again[1].split())
    page = (folder / "results/zoo/report.html").read_text()
    assert "no/folder/here" in page
    choice = json.loads((folder / "results/zoo/select.json").read_text())
    standings = {one["model"]: one for one in choice["rows"]}
    assert not standings["lost"]["choosable"]
    assert choice["chosen"] in set(found) - {"lost", "prevalence"}
    assert not (folder / "results/zoo/check.json").exists()


def test_every_row_has_scores_of_the_same_images_and_each_measure_its_n_and_interval(study: tuple[Path, str]) -> None:
    folder, _ = study
    infer = {path.stem: tables.read(path, tables.INFER) for path in (folder / "results/zoo/infer").glob("*.parquet")}
    assert infer["lost"].num_rows == 0
    ids = {tuple(table["image_id"].to_pylist()) for name, table in infer.items() if name != "lost"}
    assert len(ids) == 1 and len(next(iter(ids))) > 20
    metrics = json.loads((folder / "results/zoo/metrics.json").read_text())["zoo"]["classification"]
    assert "lost" not in metrics
    for name, found in metrics.items():
        entry = found["test"]["pr_auc"]
        assert entry["n"] > 0 and (entry["low"] <= entry["value"] <= entry["high"]), name


def test_a_mended_row_one_taken_out_an_added_and_a_renamed_one_run_their_own_steps_alone(
    study: tuple[Path, str], tmp_path: Path
) -> None:
    source, said = study
    folder = tmp_path / "checkout"
    checkouts.run(source.parent, "cp", "-a", str(source), str(folder))
    before = {path: files.sha256_file(path) for path in (folder / "results/zoo/fit").glob("*.json")}
    fitted = {"zoo_fit", "zoo_infer_shard", "zoo_infer"}
    gone = {"lost", "qwen", "soft_maximum"}  # rows that are called otherwise at the end, or are not there
    [command] = re.findall(r"^ *(snakemake --cores 2 --forcerun .* -- zoo_check)$", said, re.MULTILINE)
    (folder / "no/folder").mkdir(parents=True)
    checkouts.run(folder, "cp", "-a", "results/weights/pretrain/tiny_dinov2", "no/folder/here")
    done = ran(checkouts.run(folder, *command.split()))  # as it was printed, once the model is there
    assert fitted | {"zoo_weights", "zoo_embed_shard", "zoo_check"} <= done
    assert "lost" in json.loads((folder / "results/zoo/check.json").read_text())["rows"]
    assert not fits(folder)["lost"]["failure"]
    models(folder, lambda rows: {name: row for name, row in rows.items() if name != "lost"})
    assert checkouts.planned(folder, "--", "zoo") == COLLECT
    names = {"soft_maximum": "renamed", "qwen": "asked"}
    raw = folder / "results/zoo/infer/raw"
    scores = {now: tables.read(raw / f"{name}.parquet", tables.INFER) for name, now in names.items()}
    kept = folder / "results/zoo/kept"
    asked, tokens = set((kept / "asked").rglob("*.bin")), set(kept.rglob("*_tokens.bin"))
    assert len(asked) > 1 and tokens  # what was asked of validation images, and of each shard
    models(folder, lambda rows: {names.get(name, name): row for name, row in rows.items()} | added(rows["dinov2"]))
    assert ran(run(folder)) == COLLECT | fitted | {"zoo_embed_shard", "zoo_embed"}
    told = [json.loads(path.read_text()) for path in (folder / "results/zoo/features").glob("*.json")]
    [record] = [one for one in told if one["places"] == 4]
    assert record["images"] == record["computed"] > 0  # the added row's, and the renamed ones make no pass
    assert (asked, tokens) == (set((kept / "asked").rglob("*.bin")), set(kept.rglob("*_tokens.bin")))
    assert all(tables.read(raw / f"{name}.parquet", tables.INFER).equals(table) for name, table in scores.items())
    now = {path: files.sha256_file(path) for path in before if path.stem not in gone}
    assert now == {path: digest for path, digest in before.items() if path.stem not in gone}
    assert "Nothing to be done" in run(folder)


def test_the_pages_on_demand_have_the_curve_and_the_patients_left_out(study: tuple[Path, str]) -> None:
    folder, _ = study
    done = ran(run(folder, "zoo_curve", "zoo_localizer_cv"))
    assert {"zoo_curve_row", "zoo_localizer_cv_measure"} <= done and not {"zoo_fit", "zoo_infer", "zoo_select"} & done
    curve = tables.read(folder / "results/zoo/curve/probe_largest.parquet", tables.MEASURES)
    assert set(curve["task"].to_pylist()) == {"learning_curve"} and len(set(curve["subset"].to_pylist())) == 2
    found = json.loads((folder / "results/zoo/localizer_cv/notes.json").read_text())
    assert found["images"] > 1 < found["patients"]
    for name in ("curve", "localizer_cv"):
        assert "<svg" in (folder / f"results/zoo/{name}/report.html").read_text()


def test_a_wrong_test_label_changes_no_fit_no_score_and_no_choice(
    study: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = study
    folder = tmp_path / "checkout"
    checkouts.run(source.parent, "cp", "-a", str(source), str(folder))
    path = folder / "results/data/split.parquet"
    rows = tables.read(path, tables.SPLIT).to_pylist()
    for row in rows:
        if row["split"] == "test" and row["label"] is not None:
            row["label"] = 1 - row["label"]
    tables.write(path, tables.from_rows(rows, tables.SPLIT), tables.SPLIT)
    kept = [*(folder / "results/zoo/fit").glob("*/*.json"), folder / "results/zoo/select.json"]
    before = {one: files.sha256_file(one) for one in kept}
    scores = {
        one: tables.read(one, tables.INFER)["score"].to_pylist()
        for one in (folder / "results/zoo/infer").glob("*.parquet")
    }
    measured = folder / "results/zoo/measure/measures.parquet"
    numbers = files.sha256_file(measured)
    monkeypatch.chdir(folder)
    stages = commands(folder, "results/zoo/measure/measures.parquet")
    assert {f"stages.zoo.{name}" for name in ("fit", "infer", "select", "measure")} <= {stage for stage, _ in stages}
    here(stages)
    assert files.sha256_file(measured) != numbers
    assert {one: files.sha256_file(one) for one in kept} == before
    assert {one: tables.read(one, tables.INFER)["score"].to_pylist() for one in scores} == scores


def test_a_killed_run_comes_to_the_same_features_and_fits(study: tuple[Path, str], tmp_path: Path) -> None:
    source, _ = study
    folder = tmp_path / "checkout"
    checkouts.run(source.parent, "cp", "-a", str(source), str(folder))
    targets = [f"results/zoo/fit/{name}.json" for name in ("probe_largest", "dinov2")]
    parts = [
        *(folder / "results/zoo/features").glob("*/*.parquet"),
        *(path for target in targets for path in (folder / target).with_suffix("").glob("*")),
    ]
    for name in ("features", "fit", "kept", "work"):
        if name in ("features", "fit"):
            checkouts.run(folder, "cp", "-a", f"results/zoo/{name}", f"results/before_{name}")
        checkouts.run(folder, "rm", "-rf", f"results/zoo/{name}")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*RUN, "--", *targets],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((folder / "results/zoo").glob("kept/*/*")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((folder / "results/zoo").glob("kept/*/*"))
    assert not any((folder / target).exists() for target in targets)
    checkouts.run(folder, "snakemake", "--unlock")
    checkouts.run(folder, *RUN, "--rerun-incomplete", "--", *targets)
    made = [path for path in parts if path.exists()]
    assert len(made) >= 4  # features of two backbones, and what two heads were fitted to
    for path in made:
        _, kind, *rest = path.relative_to(folder / "results").parts
        assert files.sha256_file(path) == files.sha256_file(folder / "results" / f"before_{kind}" / Path(*rest))


def test_a_row_of_the_zoo_scores_other_images(
    study: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = study
    folder = tmp_path / "checkout"
    checkouts.run(source.parent, "cp", "-a", str(source), str(folder))
    path = folder / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["predict"]["model"] = "both"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    monkeypatch.chdir(folder)
    stages = commands(folder, "results/predict/infer.parquet")
    names = {stage for stage, _ in stages}
    assert "stages.zoo.infer" in names and not {"stages.zoo.fit", "stages.nodules.train"} & names
    here(stages)
    table = tables.read(folder / "results/predict/infer.parquet", tables.INFER)
    assert table.num_rows == 4
    assert table["score_calibrated"].null_count == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_window_and_the_browser_has_no_complaint(
    browser: Browser, study: tuple[Path, str], width: int
) -> None:
    folder, _ = study
    session = browser.show(folder / "results/zoo/report.html", width=width)
    assert browser.value(session, "document.documentElement.scrollWidth") <= width
    assert browser.value(session, "document.querySelectorAll('tr').length") > 20
    assert not browser.complaints()

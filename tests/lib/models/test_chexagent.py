"""CheXagent-2's client and worker, with a stand-in under transformers 4.40.0, in an environment that is built here.

The stand-in (tests/fakes/standin.py, tests/fakes/standin_model/) goes the ways that the real model goes: code of its
own through trust_remote_code, from_list_format with the path of an image, the path read out of the tokens of the
prompt, a vision encoder from a second repository, generate, special tokens around the boxes in its words.

What it does not prove: that the real weights load and the real code runs in this environment, that the real code takes
an attention mask and left padding, that its words have the form that the parser reads, what a run costs, and anything
about how well nodules are found.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import huggingface_hub
import numpy as np
import pytest
import standin
from tiny_base import MODEL

from stages.lib.core import documents, files, tables
from stages.lib.core.errors import (
    BlindModelError,
    DocumentError,
    EnvironmentBuildError,
    ModelError,
    ParamsError,
    WorkerError,
)
from stages.lib.core.params import parse
from stages.lib.detect.chexagent import boxes
from stages.lib.images.geometry import Geometry
from stages.lib.models import isolation
from stages.lib.models.chexagent import client, worker
from stages.lib.models.chexagent.client import FAILED, TRUNCATED, Question
from stages.lib.models.chexagent.records import Parts
from stages.lib.models.own_environment import Environment
from stages.lib.models.own_process import RefusalError
from stages.nodules import localize
from stages.weights import fetch_chexagent
from workflow import chexagent_env, own_env

REQUEST = "Locate areas in the chest X-ray where nodule/mass is present, using bounding box coordinates"
PLACES = [(0.2, 0.3), (0.7, 0.25), (0.35, 0.8), (0.8, 0.75), (0.5, 0.5), (0.15, 0.6), (0.6, 0.9)]
TOKEN = "hf_SecretSecretSecret"
VALUES = {
    "revision": "none",
    "code_revision": "none",
    "encoder_revision": "none",
    "prompts": [REQUEST],
    "max_new_tokens": 64,
    "batch_size": 3,
    "dtype": "float32",
    "probe_images": 3,
    "start_timeout_s": 120.0,
    "batch_timeout_s": 60.0,
}


def section(**changes: Any) -> client.ChexagentParams:
    document = {"chexagent": {"model": "model", "encoder": "encoder", **VALUES, **changes}}
    return parse(document, {"chexagent": client.ChexagentParams}).chexagent


@pytest.fixture
def ask(chexagent_environment, tmp_path) -> Callable[..., Any]:
    """Return a function that builds a stand-in with a fault and gives what `answer` wants."""

    def make(fault: Any = None, seconds: float = 0.0, *, whole: bool = True, **changes: Any) -> tuple[Any, ...]:
        folder = tmp_path / f"standin{len(list(tmp_path.iterdir()))}"
        model, encoder = standin.build(folder, fault, seconds, whole=whole)
        params = section(model=str(model), encoder=str(encoder), **changes)
        return params, client.Setting(fetch_chexagent.fetch_chexagent(params, None, True), chexagent_environment)

    return make


def queries(places: Sequence[tuple[float, float]] = PLACES, prompt: str = REQUEST) -> list[Question]:
    return [
        Question(f"image{number}", lambda number=number, place=place: standin.image(*place, seed=number), prompt)
        for number, place in enumerate(places)
    ]


def journal(checkpoints: Path) -> list[dict[str, Any]]:
    (path,) = checkpoints.glob("*/answers.jsonl")
    return worker.read_journal(path)[0]


def starts(checkpoints: Path) -> list[dict[str, Any]]:
    return [line for line in journal(checkpoints) if line["kind"] == "start"]


def near(words: str, place: tuple[float, float]) -> bool:
    parsed = boxes.read(words)
    (detection,) = parsed.detections
    return parsed.parsed == "ok" and np.hypot(detection.u - place[0], detection.v - place[1]) < 0.05


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
def test_the_stand_in_finds_a_bright_disc_on_every_image_and_the_journal_says_how(ask, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    params, where = ask()
    asked = queries()
    said = list(client.answer(asked, params, where, tmp_path / "journals"))
    assert [near(words, place) for words, place in zip(said, PLACES, strict=True)] == [True] * len(PLACES)
    assert boxes.read(said[0]).detections[0].phrase == "nodule/mass"
    (start,) = starts(tmp_path / "journals")
    assert start["versions"]["transformers"] == "4.40.0"
    assert start["code"] == {path.name: files.sha256_file(path) for path in standin.CODE.glob("*.py")}
    assert (start["probe"], start["batches"]) == ("the answers differ", "equal to single runs")
    assert (start["network"] == "none") is (isolation.without_network() is not None)
    assert all(digest in caplog.text for digest in start["code"].values())
    assert f"{len(asked)} of {len(asked)} images" in caplog.text
    everything = b"".join(path.read_bytes() for path in (tmp_path / "journals").rglob("*") if path.is_file())
    assert TOKEN.encode() not in everything
    nobody = replace(where, built=replace(where.built, python="/nowhere/python"))
    assert list(client.answer(asked, params, nobody, tmp_path / "journals")) == said


@pytest.mark.slow
def test_the_stage_writes_the_stand_in_s_findings_in_pixels_of_images_that_are_not_square(
    ask, chexagent_environment, tmp_path
):
    params, where = ask()
    geometry = Geometry(width_px=400, height_px=300, side_px=len(standin.image(*PLACES[0], seed=0)))
    images, squares = [], []
    for number, place in enumerate(PLACES[:4]):
        name = f"image{number}"
        cv2.imwrite(str(tmp_path / f"{name}.png"), standin.image(*place, seed=number))
        images.append(
            {"image_id": name, "file_name": name, "path": name, "source": "lidc", "patient_id": name, "status": "ok"}
            | {"width_px": geometry.width_px, "height_px": geometry.height_px}
        )
        squares.append(
            {
                "image_id": name,
                "png": f"{name}.png",
                "low": 0.0,
                "high": 1.0,
                "scale": geometry.scale,
                "preprocessing_hash": "c",
            }
            | {"pad_x_px": 0, "pad_y_px": 50, "side_px": geometry.side_px}
        )
    for name, rows in (("manifest", images), ("normalized", squares)):
        schema = tables.SCHEMAS[name]
        tables.write(tmp_path / f"{name}.parquet", tables.from_rows(rows, schema), schema)
    documents.write(tmp_path / "fetched.json", where.fetched)
    documents.write(tmp_path / "environment.json", chexagent_environment)
    sections = {
        "localize": {"views": ["whole", "mirrored"], "images": "all"},
        "select": {"splits": ["val"], "max_prompts": 1, "negative_images": 1, "false_points_per_image": 1.0, "seed": 0},
        "model": MODEL,
        "localizers": {"own": {"kind": "chexagent", **asdict(params)}},
    }
    options = {"params": json.dumps({"nodules": sections}), "localizer": "own", "shard": "1-of-1", "results": tmp_path}
    options |= {name: tmp_path / f"{name}.parquet" for name in ("manifest", "normalized", "detections", "responses")}
    options |= {name: tmp_path / f"{name}.json" for name in ("fetched", "environment")}
    options |= {"journals": tmp_path / "journals"}
    localize.main([text for name, value in options.items() for text in (f"--{name}", str(value))])
    detections = tables.read(tmp_path / "detections.parquet", tables.DETECTIONS).to_pylist()
    assert len(detections) == 8
    for row in detections:
        x, y = geometry.from_unit(*PLACES[int(row["image_id"][-1])])
        assert np.hypot(row["x"] - x, row["y"] - y) < 0.05 * geometry.square_px
        assert row["x0"] < row["x"] < row["x1"]


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_goes_on_to_the_same_answers(ask, tmp_path):
    params, where = ask(seconds=0.3, batch_size=2)
    asked = queries()
    whole = list(client.answer(asked, params, where, tmp_path / "whole"))
    broken = tmp_path / "broken"
    coming = client.answer(asked, params, where, broken)
    first = [next(coming), next(coming)]
    pid = starts(broken)[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="signal 9"):
        first += list(coming)
    assert first == whole[: len(first)]
    assert len(first) < len(whole)
    (path,) = broken.glob("*/answers.jsonl")
    with path.open("ab") as handle:
        handle.write(b'{"kind": "answer", "key": "image6", "wor')
    assert list(client.answer(asked, params, where, broken)) == whole
    keys = [line["key"] for line in journal(broken) if line["kind"] == "answer"]
    assert sorted(keys) == sorted(query.key for query in asked)
    assert len(starts(broken)) == 2


@pytest.mark.slow
def test_the_worker_ends_and_clears_the_images_away_when_its_client_is_killed(ask, tmp_path):
    params, where = ask(seconds=1.0, batch_size=1)
    fetched, built = str(tmp_path / "fetched.json"), str(tmp_path / "built.json")
    documents.write(fetched, where.fetched)
    documents.write(built, where.built)
    here = Path(__file__)
    program = f"""
import sys
sys.path[:0] = {[str(here.parents[2] / "fakes"), str(here.parent), str(here.parents[3])]!r}
import test_chexagent as t
where = t.client.setting({fetched!r}, {built!r})
params = t.section(model={params.model!r}, encoder={params.encoder!r}, batch_size=1)
list(t.client.answer(t.queries(t.PLACES * 9)[:40], params, where, {str(tmp_path / "journals")!r}))
"""
    (tmp_path / "private").mkdir()
    client = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path / "private")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 100
    while not (lines := list((tmp_path / "journals").glob("*/answers.jsonl"))) or not starts(tmp_path / "journals"):
        assert time.monotonic() < deadline and client.poll() is None
        time.sleep(0.5)
    pid = starts(tmp_path / "journals")[0]["pid"]
    assert len(list((tmp_path / "private").glob("*/images/*.png"))) > 40
    client.kill()
    client.wait()
    while not gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert lines
    assert list((tmp_path / "private").iterdir()) == []


@pytest.mark.slow
def test_a_model_that_ignores_the_image_is_refused_and_nothing_is_written(ask, tmp_path):
    params, where = ask("blind")
    with pytest.raises(BlindModelError, match=r"3 different images and a grey square all get the answer"):
        list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert journal(tmp_path / "journals") == []


@pytest.mark.slow
def test_a_model_that_denies_everywhere_is_not_blind_if_its_scores_follow_the_image(ask, tmp_path):
    params, where = ask("denies")
    said = list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert {boxes.read(words).parsed for words in said} == {"empty"}
    assert "scores behind them differ" in starts(tmp_path / "journals")[0]["probe"]


@pytest.mark.slow
def test_an_answer_that_never_ends_is_recorded_and_read_as_cut(ask, tmp_path):
    params, where = ask("endless")
    said = list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert all(words.endswith(TRUNCATED) for words in said)
    assert {boxes.read(words).parsed for words in said} == {"cut"}
    assert near(said[0].removesuffix(TRUNCATED).split("<|/box|>")[0] + "<|/box|>", PLACES[0])
    lines = [line for line in journal(tmp_path / "journals") if line["kind"] == "answer"]
    assert {(line["truncated"], line["tokens"]) for line in lines} == {(True, params.max_new_tokens)}


@pytest.mark.slow
def test_batches_that_change_the_answer_are_found_out_and_images_asked_about_one_by_one(ask, tmp_path, caplog):
    params, where = ask("batches")
    said = list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert all(near(words, place) for words, place in zip(said, PLACES, strict=True))
    (start,) = starts(tmp_path / "journals")
    assert (start["batches"], start["batch_size"]) == ("differ from single runs", 1)


@pytest.mark.slow
def test_two_requests_in_one_batch_get_what_they_get_alone_and_memory_that_runs_out_halves_it(ask, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    params, where = ask({"memory_for": 2}, batch_size=4)
    asked = [replace(query, prompt=REQUEST if number % 2 else "Where?") for number, query in enumerate(queries())]
    said = list(client.answer(asked, params, where, tmp_path / "journals"))
    assert all(near(words, place) for words, place in zip(said, PLACES, strict=True))
    assert starts(tmp_path / "journals")[0]["batch_size"] == 4
    assert "out of memory with 4 images at once; going on with 2" in caplog.text


@pytest.mark.slow
def test_a_image_that_makes_the_model_fail_is_recorded_and_asked_about_again_next_time(ask, tmp_path):
    params, where = ask("corners")
    asked = queries()
    spoilt = asked[1].pixels()
    spoilt[:8, :8] = 255
    asked[1] = replace(asked[1], pixels=lambda: spoilt)
    said = list(client.answer(asked, params, where, tmp_path / "journals"))
    assert said[1] == f"{FAILED}ValueError: a white corner"
    assert boxes.read(said[1]).parsed == "malformed"
    assert all(near(said[number], PLACES[number]) for number in range(len(PLACES)) if number != 1)
    assert list(client.answer(asked, params, where, tmp_path / "journals")) == said
    keys = [line["key"] for line in journal(tmp_path / "journals") if line["kind"] == "answer"]
    assert keys.count("image1") == 2
    assert len(keys) == len(asked) + 1


@pytest.mark.slow
def test_weights_that_do_not_fill_the_model_are_refused(ask, tmp_path):
    params, where = ask(whole=False)
    with pytest.raises(WorkerError, match=r"refused: the weights in model do not fill the model"):
        list(client.answer(queries(), params, where, tmp_path / "journals"))


@pytest.mark.slow
def test_code_that_changed_after_it_was_fetched_is_not_run(ask, tmp_path):
    params, where = ask()
    path = Path(params.model) / "modeling_standin.py"
    path.write_text(path.read_text() + "\n# changed\n")
    with pytest.raises(WorkerError, match=r"refused: the model's code is not what was fetched: modeling_standin\.py"):
        list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert journal(tmp_path / "journals") == []


@pytest.mark.slow
def test_a_worker_that_hangs_is_ended_with_all_that_it_started(ask, tmp_path, monkeypatch):
    params, where = ask(seconds=60.0, start_timeout_s=1.0)
    begun = []
    start = isolation.start
    monkeypatch.setattr(isolation, "start", lambda *rest: begun.append(start(*rest)) or begun[-1])
    with pytest.raises(WorkerError, match="no answer in time"):
        list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert gone(begun[0].pid)


@pytest.fixture
def anywhere(tmp_path) -> tuple[client.ChexagentParams, client.Setting]:
    """A stand-in, and an environment that is this one: with another transformers."""
    model, encoder = standin.build(tmp_path / "standin")
    params = section(model=str(model), encoder=str(encoder))
    built = Environment(python=sys.executable, kind="given", locks="0", versions={"transformers": "4.40.0"})
    return params, client.Setting(fetch_chexagent.fetch_chexagent(params, None, True), built)


def test_another_transformers_is_refused_before_anything_is_loaded(anywhere, tmp_path):
    params, where = anywhere
    with pytest.raises(WorkerError, match=r"found transformers 5\.\S+, wanted exactly 4\.40\.0"):
        list(client.answer(queries(), params, where, tmp_path / "journals"))
    assert list((tmp_path / "journals").glob("*/answers.jsonl")) == []
    program = (
        f"import sys; sys.path.insert(0, {str(standin.CODE.parents[2])!r})\n"
        "from stages.lib.models.chexagent import worker as w\n"
        "from stages.lib.models.own_process import RefusalError\n"
        "try: w.main(w.Path('absent'), w.Path('absent'))\n"
        "except RefusalError: print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_the_worker_s_files_have_short_names_and_grey_and_probes_are_among_them(anywhere, tmp_path):
    params, where = anywhere
    (tmp_path / "private").mkdir()
    same = [replace(query, pixels=lambda: standin.image(0.5, 0.5)) for query in queries()[:2]]
    asked = [*same, *(replace(query, key=f"x{query.key}") for query in queries())]
    digests = [str(min(number, 1) if number < 2 else number) for number in range(len(asked))]
    digests[0] = digests[1]
    task = client.prepare(
        tmp_path / "private", asked, range(1, len(asked)), digests, params, {"max_new_tokens": 64}, where
    )
    head, rows = worker.read_task(task)
    assert len(rows) == len(asked)
    images = sorted(path.name for path in (tmp_path / "private/images").iterdir())
    assert images == [*(f"{number:06d}.png" for number in range(len(asked))), "grey.png"]
    assert len({row["png"] for row in head["probe"]}) == params.probe_images
    assert sorted(path.name for path in (tmp_path / "private/encoder").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    assert "." not in head["model"]


def test_code_may_come_from_another_commit_than_the_weights(anywhere, tmp_path):
    params, where = anywhere
    other = tmp_path / "other"
    other.mkdir()
    (other / "modeling_standin.py").write_text("pass\n")
    (tmp_path / "private").mkdir()
    where = replace(where, fetched=replace(where.fetched, code=replace(where.fetched.code, folder=other)))
    client.prepare(tmp_path / "private", queries(), range(3), list("abcdefg"), params, {"max_new_tokens": 64}, where)
    linked = tmp_path / "private/model"
    assert [path.name for path in linked.glob("*.py")] == ["modeling_standin.py"]
    assert (linked / "modeling_standin.py").read_text() == "pass\n"
    assert (linked / "model.safetensors").is_file()


@pytest.mark.parametrize("prompt_", ["where <|box|>", "a <| b", "c |> d"])
def test_marks_of_special_tokens_are_refused_in_a_request(anywhere, tmp_path, prompt_):
    with pytest.raises(ParamsError, match="special tokens"):
        list(client.answer(queries(prompt=prompt_), *anywhere, tmp_path / "journals"))
    with pytest.raises(ParamsError, match="special tokens"):
        section(prompts=[prompt_])
    task = tmp_path / "task.jsonl"
    head = {"probe": [], "grey": {"png": "g.png", "request": "x"}, "pair": []}
    rows = [{"key": "a", "png": "a.png", "request": prompt_}, {"key": "a", "png": f"{prompt_}.png", "request": "x"}]
    for row in rows:
        task.write_text(f"{json.dumps(head)}\n{json.dumps(row)}\n")
        with pytest.raises(RefusalError, match="stand for tokens"):
            worker.read_task(task)


def test_two_questions_with_one_key_are_refused_and_none_are_no_work(anywhere, tmp_path):
    with pytest.raises(ParamsError, match="1 keys are not unique"):
        list(client.answer([queries()[0]] * 2, *anywhere, tmp_path / "journals"))
    assert list(client.answer([], *anywhere, tmp_path / "journals")) == []
    assert not (tmp_path / "journals").exists()


def test_all_that_decides_the_answers_names_the_journal(anywhere, tmp_path):
    params, where = anywhere

    def name(params=params, where=where, asked=None):
        folder = tmp_path / f"journals{len(list(tmp_path.glob('journals*')))}"
        with pytest.raises(WorkerError):
            list(client.answer(asked or queries(), params, where, folder))
        return next(folder.iterdir()).name

    usual = name()
    assert name(replace(params, batch_size=1, probe_images=2)) == usual
    brighter = [replace(query, pixels=lambda: standin.image(0.4, 0.4)) for query in queries()]
    model = replace(where.fetched.model, sha256="0")
    changed = [
        name(params=replace(params, max_new_tokens=9)),
        name(params=replace(params, dtype="bfloat16")),
        name(where=replace(where, fetched=replace(where.fetched, model=model))),
        name(where=replace(where, built=replace(where.built, versions={"transformers": "4.40.0", "torch": "9"}))),
        name(asked=queries(prompt="Where?")),
        name(asked=brighter),
    ]
    assert len({usual, *changed}) == len(changed) + 1


def test_a_image_that_is_no_square_of_grey_is_refused(anywhere, tmp_path):
    wide = Question("wide", lambda: np.zeros((4, 5), np.uint8), REQUEST)
    with pytest.raises(ModelError, match="wanted a square of 8-bit grey values"):
        list(client.answer([wide], *anywhere, tmp_path / "journals"))


def test_records_that_are_gone_are_named_with_what_makes_them_anew(anywhere, tmp_path):
    _, where = anywhere
    fetched, built = tmp_path / "fetch.json", tmp_path / "environment.json"
    documents.write(fetched, where.fetched)
    documents.write(built, where.built)
    assert client.setting(fetched, built) == where
    with pytest.raises(DocumentError, match="run fetch_chexagent again"):
        client.setting(tmp_path / "absent", built)
    with pytest.raises(DocumentError, match="make setup-chexagent"):
        client.setting(fetched, tmp_path / "absent")
    documents.write(built, replace(where.built, python=tmp_path / "python"))
    with pytest.raises(EnvironmentBuildError, match="make setup-chexagent"):
        client.setting(fetched, built)
    documents.write(built, replace(where.built, versions={"transformers": "5.23.0"}))
    with pytest.raises(EnvironmentBuildError, match=r"wanted 4\.40\.0"):
        client.setting(fetched, built)
    gone = replace(where.fetched, encoder=replace(where.fetched.encoder, folder="/nowhere"))
    documents.write(fetched, gone)
    with pytest.raises(ModelError, match="/nowhere is not there; run fetch_chexagent again"):
        client.setting(fetched, built)


def test_a_torn_journal_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "journal"
    whole = b'{"kind": "start"}\n{"kind": "answer", "key": "a"}\n'
    for torn in (b"", b'{"kind": "answer", "key', b'{"kind": "answer"}', b"[]\n", b"\0\0\0\n", b"5\n"):
        path.write_bytes(whole + torn)
        lines, length = worker.read_journal(path)
        assert (len(lines), length) == (2, len(whole))
        assert worker.read_journal(path, length) == ([], length)
    assert worker.read_journal(tmp_path / "absent") == ([], 0)


def test_a_second_worker_is_kept_off_a_journal(tmp_path):
    path = tmp_path / "journal"
    with path.open("ab") as one, path.open("ab") as other:
        worker.lock(one, path)
        with pytest.raises(RefusalError, match="another worker"):
            worker.lock(other, path)


def test_a_worker_whose_every_question_fails_stops(capsys):
    def fail(batch):
        raise ValueError("no")

    written: list[Any] = []
    rows = [{"key": str(number)} for number in range(100)]
    with pytest.raises(RefusalError, match="the first 8 questions all failed"):
        worker.answer_all(fail, rows, 4, written.extend)
    assert [row["error"] for row in written] == ["ValueError: no"] * 8


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_a_worker_that_could_read_a_token_refuses(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for other in worker.TOKENS:
        monkeypatch.delenv(other, raising=False)
    worker.check_environment()
    (tmp_path / "token").write_text(TOKEN)
    with pytest.raises(RefusalError, match="token"):
        worker.check_environment()
    (tmp_path / "token").unlink()
    monkeypatch.setenv(name, TOKEN)
    with pytest.raises(RefusalError, match=name) as caught:
        worker.check_environment()
    assert TOKEN not in str(caught.value)


def test_the_process_gets_nothing_of_the_user_s_environment_and_no_input(tmp_path, monkeypatch):
    environ = {"HF_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": "x", "PYTHONPATH": "/x", "PATH": os.environ["PATH"]}
    log = tmp_path / "log"
    program = "import json, os, sys; print(json.dumps([dict(os.environ), sys.stdin.read(), os.getcwd()]))"
    process = isolation.start([sys.executable, "-I", "-c", program], tmp_path, log, environ)
    process.wait()
    found, typed, folder = json.loads(log.read_text())
    assert not {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & set(found)
    assert TOKEN not in log.read_text()
    assert (typed, folder) == ("", str(tmp_path))
    assert found["HF_HUB_OFFLINE"] == "1"
    homes = ("HOME", "HF_HOME", "HF_MODULES_CACHE", "TMPDIR")
    assert all(found[name].startswith(str(tmp_path)) for name in homes)


def test_where_the_system_allows_it_the_process_has_no_network_and_elsewhere_a_warning_says_so(
    anywhere, monkeypatch, caplog
):
    prefix = isolation.without_network()
    if prefix is not None:
        program = f"import sys; sys.path.insert(0, {str(standin.CODE.parents[2])!r})\n"
        program += "from stages.lib.models.chexagent.worker import network\nprint(network())"
        done = subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == "none\n"
    monkeypatch.setattr(isolation.shutil, "which", lambda name: None)
    assert isolation.without_network() is None
    assert client.command(anywhere[1], Path("task"), Path("journal"))[0] == sys.executable
    assert "no process run without a network" in caplog.text


def test_ending_a_process_ends_what_it_started(tmp_path):
    program = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    process = isolation.start([sys.executable, "-c", program], tmp_path, tmp_path / "log", os.environ)
    while not (text := (tmp_path / "log").read_text()).endswith("\n"):
        time.sleep(0.1)
    isolation.end(process)
    time.sleep(0.2)
    assert gone(int(text))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"revision": "main", "code_revision": "main"}, "full commit hash of 40 digits"),
        ({"encoder_revision": "v1"}, "encoder_revision as a full commit hash"),
        ({"revision": "0" * 40}, "both as none for a folder, or neither"),
        ({"prompts": []}, "at least one"),
        ({"probe_images": 1}, "at least 2"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_parameters_that_would_run_code_at_no_commit_or_mean_nothing_are_refused(changes, wanted):
    with pytest.raises(ParamsError, match=wanted):
        section(**changes)


def test_fetching_records_the_files_of_model_code_and_encoder(anywhere):
    found = anywhere[1].fetched
    assert set(found.code.files) == {path.name for path in standin.CODE.glob("*.py")}
    assert set(found.encoder.files) == {"config.json", "model.safetensors"}
    assert found.model.commit is None


def test_model_code_and_encoder_come_from_the_hub_at_their_own_commits(anywhere, tmp_path, monkeypatch):
    params, _ = anywhere
    commits = {"revision": "a" * 40, "code_revision": "b" * 40, "encoder_revision": "c" * 40}
    for commit, source in zip(commits.values(), (params.model, params.model, params.encoder), strict=True):
        shutil.copytree(source, tmp_path / "snapshots" / commit)
    for path in (tmp_path / "snapshots" / commits["code_revision"]).iterdir():
        if path.suffix != ".py":
            path.unlink()
    asked = []

    def snapshot_download(base, *, revision, token, allow_patterns, **options):
        asked.append((base, revision, token, "*.py" in allow_patterns))
        return str(tmp_path / "snapshots" / revision)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = fetch_chexagent.fetch_chexagent(section(model="a/b", encoder="c/d", **commits), TOKEN, False)
    assert asked == [
        ("a/b", "a" * 40, TOKEN, True),
        ("a/b", "b" * 40, TOKEN, True),
        ("c/d", "c" * 40, TOKEN, False),
    ]
    assert [part.commit for part in (found.model, found.code, found.encoder)] == list(commits.values())
    assert set(found.code.files) == {path.name for path in standin.CODE.glob("*.py")}
    assert TOKEN not in json.dumps(documents.as_mapping(found))


@pytest.mark.parametrize("part", ["model", "encoder"])
def test_what_is_missing_is_named_by_its_own_parameter(anywhere, part):
    params, _ = anywhere
    with pytest.raises(
        ModelError, match=rf"^chexagent\.{part}: there is no folder nobody/here; .* chexagent\.\w*revision"
    ):
        fetch_chexagent.fetch_chexagent(replace(params, **{part: "nobody/here"}), None, True)


def test_code_that_no_commit_pins_is_refused(anywhere):
    params, _ = anywhere
    path = Path(params.model) / "config.json"
    config = json.loads(path.read_text())
    config["auto_map"]["AutoModelForCausalLM"] = "someone/other--modeling_standin.StandInForCausalLM"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"takes code from another repository \(someone/other--modeling"):
        fetch_chexagent.fetch_chexagent(params, None, True)


def test_a_model_without_code_is_refused(anywhere):
    params, _ = anywhere
    for path in Path(params.model).glob("*.py"):
        path.unlink()
    with pytest.raises(ModelError, match="there is no code"):
        fetch_chexagent.fetch_chexagent(params, None, True)


def test_the_fetched_record_is_written_by_the_command(anywhere, tmp_path):
    params, where = anywhere
    values = {"model": params.model, "encoder": params.encoder, **VALUES}
    out = tmp_path / "out.json"
    sections = {"nodules": {"localizers": {"own": {"kind": "chexagent", **values}}}}
    fetch_chexagent.main(["--params", json.dumps(sections), "--localizer", "own", "--out", str(out)])
    assert documents.read(out, Parts) == where.fetched


def test_the_locks_hold_what_the_model_s_code_was_written_for():
    text = (chexagent_env.ENV.locks / "requirements.lock").read_text()
    for pin in ("transformers==4.40.0", "tokenizers==0.19.1", "huggingface-hub==0.36.2"):
        assert f"\n{pin} \\\n" in text
    layer = own_env.layer_of(text, chexagent_env.ENV.layer)
    assert [line.split("==")[0] for line in layer.splitlines() if line[0] != " "] == sorted(chexagent_env.ENV.layer)
    assert layer.count("--hash=sha256:") >= len(chexagent_env.ENV.layer)
    assert "torch" not in [line.split("==")[0] for line in text.splitlines()]


def test_an_environment_is_built_again_when_its_locks_change_and_never_over_something_else(tmp_path, monkeypatch):
    folder = tmp_path / "environment"
    folder.mkdir()
    record = Environment(python=sys.executable, kind="full", locks=own_env.digest(chexagent_env.ENV), versions={})
    documents.write(folder / own_env.READY, record)
    assert chexagent_env.build(folder) == record
    monkeypatch.setattr(own_env, "digest", lambda env: "changed")
    assert own_env.ready(chexagent_env.ENV, folder) is None
    other = tmp_path / "images"
    other.mkdir()
    (other / "image.png").write_text("")
    with pytest.raises(EnvironmentBuildError, match="is no environment"):
        chexagent_env.build(other)
    assert (other / "image.png").exists()


def test_the_record_names_an_environment_below_the_working_folder_by_a_relative_path(anywhere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_env, "_install", lambda env, python: None)
    env = replace(chexagent_env.ENV, check=lambda python: {"transformers": "4.40.0"})
    record = own_env.build(env, Path("environment"))
    assert record.python == Path("environment/bin/python")
    assert own_env.ready(env, Path("environment")) == record
    where = replace(anywhere[1], built=record)
    assert str(tmp_path / "environment/bin/python") in client.command(where, Path("task"), Path("journal"))


def test_an_interpreter_with_another_transformers_is_no_environment(tmp_path):
    with pytest.raises(EnvironmentBuildError, match=r"wanted exactly 4\.40\.0"):
        chexagent_env.build(tmp_path / "environment", python=Path(sys.executable))
    assert not (tmp_path / "environment").exists()


def test_a_python_without_a_wheel_of_the_tokenizer_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(own_env.shutil, "which", lambda name: None)
    assert own_env.fit_python(chexagent_env.ENV, (3, 14)) is None
    monkeypatch.setattr(own_env, "fit_python", lambda env: None)
    with pytest.raises(EnvironmentBuildError, match=r"wants Python 3\.12 or 3\.11"):
        chexagent_env.build(tmp_path / "environment")


@pytest.mark.slow
def test_the_environment_of_the_tests_is_the_pinned_one_and_is_found_again(chexagent_environment):
    environment = chexagent_environment
    assert (environment.versions["transformers"], environment.kind) == ("4.40.0", "layered")
    folder = environment.python.parents[1]
    assert chexagent_env.build(folder) == environment
    with pytest.raises(EnvironmentBuildError, match=r"wanted exactly 4\.40\.0"):
        chexagent_env.check(Path(sys.executable))

"""Claims about stages.weights.convert: a pickle becomes safetensors, and nothing of it runs here."""

import functools
import http.server
import json
import os
import pickle
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from stages.lib.core import documents, files
from stages.lib.core.errors import ModelError, ParamsError, WorkerError
from stages.lib.models import isolation
from stages.lib.models.snapshot import Missing, Snapshot
from stages.lib.models.vision import client
from stages.weights import convert, released
from stages.weights.pickled import Wanted

KEYS = ("zoo.models.*.source", "zoo.models.*.revision")
MORE = ("zoo.models.*.library", "zoo.models.*.architecture")
TOKEN = "hf_SecretSecretSecret"
RECORD = Path("environment.json")


def wanted(source, revision="none"):
    return Wanted(str(source), revision, "torchxrayvision", "DenseNet", KEYS)


def converted_into(folder, asked, offline=True):
    return convert.convert(asked, RECORD, folder, None, offline)


def run(source, revision, environment, folder, out, *flags):
    row = {"source": str(source), "revision": revision, "library": "torchxrayvision", "architecture": "DenseNet"}
    options = {"params": json.dumps({"zoo": {"models": {"*": row}}}), "environment": environment}
    options |= {"folder": folder, "out": out}
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    convert.main([*given, "--keys", *KEYS, *MORE, *flags])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "released.pt"
    path.write_bytes(b"no pickle, but nobody opens it")
    return path


@pytest.fixture
def converted(monkeypatch):
    """What was converted, by a stand-in for the process that opens pickles."""
    calls = []

    def stand_in(path, folder, environment, work, release):
        calls.append((path, release))
        save_file({"weight": np.arange(3, dtype=np.float32)}, folder / "model.safetensors")
        told = {"file": path.name, "sha256": files.sha256_file(path)}
        files.write_json(folder / "config.json", {"architecture": "DenseNet", "converted_from": told})

    monkeypatch.setattr(client, "convert", stand_in)
    return calls


@pytest.fixture
def server(tmp_path):
    """Address of a server of the files in a folder, and the folder."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send_header(self, name, value):
            torn = self.path.startswith("/torn") and name == "Content-Length"
            super().send_header(name, "1000000" if torn else value)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}", folder
        serving.shutdown()
        thread.join()


def test_a_file_is_converted_once_and_again_when_it_changes(file, tmp_path, converted):
    first = converted_into(tmp_path / "out", wanted(file))
    assert converted_into(tmp_path / "out", wanted(file)) == first
    assert converted == [(file, None)]
    assert (first.base, first.revision, first.commit, first.folder) == (str(file), "none", None, tmp_path / "out")
    assert first.files["model.safetensors"] == files.sha256_file(tmp_path / "out/model.safetensors")
    file.write_bytes(b"another")
    assert converted_into(tmp_path / "out", wanted(file)).sha256 != first.sha256
    (tmp_path / "out/model.safetensors").write_bytes(b"torn")
    converted_into(tmp_path / "out", wanted(file))
    assert len(converted) == 3


def test_a_hash_in_the_revision_is_compared_before_the_file_is_opened(file, tmp_path, converted):
    digest = files.sha256_file(file)
    with pytest.raises(ModelError, match=rf"revision: found sha256:{digest} of .*released\.pt, wanted sha256:0000"):
        converted_into(tmp_path / "out", wanted(file, f"sha256:{'0' * 64}"))
    assert converted == []
    found = converted_into(tmp_path / "out", wanted(file, f"sha256:{digest}"))
    assert found.revision == f"sha256:{digest}"


@pytest.mark.parametrize("revision", ["main", "sha256:abc", f"sha256:{'G' * 64}", "0" * 40])
def test_a_revision_that_is_no_hash_is_refused(revision):
    with pytest.raises(ParamsError, match=r"zoo\.models\.\*\.revision: found .*wanted none, or sha256:"):
        wanted("a.pt", revision)


def test_a_folder_that_was_converted_is_taken_as_it_is(file, tmp_path, converted):
    first = converted_into(tmp_path / "first", wanted(file))
    pinned = wanted(tmp_path / "first", f"sha256:{files.sha256_file(file)}")
    second = converted_into(tmp_path / "second", pinned)
    assert (second.sha256, second.folder, len(converted)) == (first.sha256, tmp_path / "second", 1)
    with pytest.raises(ModelError, match=r"of the file that .*first was made of"):
        converted_into(tmp_path / "second", wanted(tmp_path / "first", f"sha256:{'0' * 64}"))
    (tmp_path / "first/config.json").write_text("{}")
    with pytest.raises(ModelError, match="found no converted_from"):
        converted_into(tmp_path / "second", wanted(tmp_path / "first"))
    (tmp_path / "first/model.safetensors").unlink()
    with pytest.raises(ModelError, match="there are no weights"):
        converted_into(tmp_path / "second", wanted(tmp_path / "first"))


def test_a_release_is_fetched_once_under_the_name_that_it_was_released_by(server, tmp_path, converted, monkeypatch):
    address, web = server
    (web / "v1").mkdir()
    (web / "v1/nih-best.pt").write_bytes(b"weights" * 300_000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(client, "released", lambda name, environment, work: f"{address}/v1/nih-best.pt")
    first = converted_into(tmp_path / "out", wanted("densenet121-res224-nih"), False)
    kept = tmp_path / ".torchxrayvision/models_data/nih-best.pt"
    assert kept.read_bytes() == (web / "v1/nih-best.pt").read_bytes()
    assert converted == [(kept, "densenet121-res224-nih")]
    (web / "v1/nih-best.pt").unlink()
    assert converted_into(tmp_path / "out", wanted("densenet121-res224-nih")) == first


@pytest.mark.parametrize("name", ["torn.pt", "nowhere.pt"])
def test_a_release_that_does_not_come_whole_leaves_nothing(server, tmp_path, name):
    address, web = server
    (web / "torn.pt").write_bytes(b"weights")
    with pytest.raises(ModelError, match=rf"{name} could not be fetched .* or put it at .*{name}"):
        released.fetched(f"{address}/{name}", "nih", False, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_the_error_says_where_to_put_the_file(tmp_path):
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE=0, or put https://x/v1/a\.pt there"):
        released.fetched("https://x/v1/a.pt", "nih", True, tmp_path)


def test_a_file_that_is_not_there_is_missing_and_its_folder_empty(tmp_path):
    path = tmp_path / "nowhere.pt"
    with pytest.raises(ModelError, match=rf"zoo\.models\.\*\.source: there is no file or folder {path}"):
        run(path, "none", RECORD, tmp_path / "out", tmp_path / "o.json")
    assert not (tmp_path / "o.json").exists()
    run(path, "none", RECORD, tmp_path / "out", tmp_path / "o.json", "--missing")
    assert documents.read(tmp_path / "o.json", Missing).base == str(path)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("fault", ["link", "more", "other"])
def test_what_the_process_should_not_have_left_is_refused(file, tmp_path, converted, monkeypatch, fault):
    honest = client.convert

    def spoilt(path, folder, *rest):
        honest(path, folder, *rest)
        if fault == "link":
            (folder / "model.safetensors").unlink()
            (folder / "model.safetensors").symlink_to("/etc/hostname")
        elif fault == "more":
            (folder / "tokenizer.py").write_text("")
        else:
            (folder / "config.json").write_text("{}")

    monkeypatch.setattr(client, "convert", spoilt)
    with pytest.raises(ModelError, match="do not trust it"):
        converted_into(tmp_path / "out", wanted(file))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def record(vision_environment, tmp_path):
    documents.write(tmp_path / "environment.json", vision_environment)
    return tmp_path / "environment.json"


RELEASE = """
import sys
from importlib import import_module

import_module("stages.lib.models.vision.worker.installed").prepare("torchxrayvision")
import torch
from safetensors.torch import save_file
from torchxrayvision.models import DenseNet
torch.manual_seed(1)
model = DenseNet(growth_rate=2, block_config=(1, 2, 1, 1), num_init_features=4, num_classes=2)
model.targets = ["Mass", "Nodule"]
torch.save(model, sys.argv[1])
save_file(model.state_dict(), sys.argv[2])
"""


@pytest.mark.slow
def test_a_pickled_densenet_gives_its_own_weights_class_and_targets(vision_environment, record, tmp_path):
    names = [str(tmp_path / name) for name in ("released.pt", "wanted.safetensors")]
    subprocess.run([vision_environment.python, "-c", RELEASE, *names], cwd=Path(__file__).parents[2], check=True)
    run(names[0], "none", record, tmp_path / "out", tmp_path / "o.json")
    found = documents.read(tmp_path / "o.json", Snapshot)
    config = json.loads((found.folder / "config.json").read_text())
    assert (config["architecture"], config["targets"]) == ("DenseNet", ["Mass", "Nodule"])
    assert config["converted_from"] == {"file": "released.pt", "sha256": files.sha256_file(names[0])}
    weights, own = load_file(found.folder / "model.safetensors"), load_file(names[1])
    assert weights.keys() == own.keys()
    assert all(np.array_equal(weights[name], own[name]) for name in own)


PLANTED = """
import json, os, socket
seen = {"pid": os.getpid(), "environment": dict(os.environ), "network": "reached"}
seen["login"] = os.path.exists(os.path.expanduser("~/.cache/huggingface/token"))
try:
    socket.create_connection(("127.0.0.1", PORT), 5)
except OSError:
    seen["network"] = "none"
json.dump(seen, open("PLACE", "w"))
"""


class Planted:
    """What runs code when it is unpickled."""

    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


@pytest.mark.slow
def test_code_in_a_pickle_runs_in_another_process_without_a_network_or_a_token(record, tmp_path, monkeypatch):
    (tmp_path / "home/.cache/huggingface").mkdir(parents=True)
    (tmp_path / "home/.cache/huggingface/token").write_text(TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    place = tmp_path / "seen.json"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        code = PLANTED.replace("PORT", str(listening.getsockname()[1])).replace("PLACE", str(place))
        (tmp_path / "planted.pt").write_bytes(pickle.dumps(Planted(code)))
        with pytest.raises(WorkerError, match=r"--convert .*planted\.pt .* ended with exit code 1"):
            convert.convert(wanted(tmp_path / "planted.pt"), record, tmp_path / "out", None, True)
    seen = json.loads(place.read_text())
    assert seen["pid"] != os.getpid()
    assert TOKEN not in json.dumps(seen["environment"])
    assert (seen["login"], seen["environment"]["HOME"].startswith(str(tmp_path))) == (False, False)
    assert (seen["network"] == "none") is (isolation.without_network() is not None)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_pickle_that_never_ends_is_ended(record, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PASS_S", 0.5)
    code = "import time; time.sleep(600)"
    (tmp_path / "planted.pt").write_bytes(pickle.dumps(Planted(code)))
    with pytest.raises(WorkerError, match=r"--convert .*planted\.pt .* did not end in 0\.5 s and was ended"):
        convert.convert(wanted(tmp_path / "planted.pt"), record, tmp_path / "out", None, True)
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.slow
def test_the_library_knows_where_its_releases_are_and_other_names_are_refused(record, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    run("densenet121-res224-nih", "none", record, tmp_path / "out", tmp_path / "o.json", "--missing")
    told = documents.read(tmp_path / "o.json", Missing).missing
    assert "models_data/nih-densenet121" in told
    assert "or put https://github.com/mlmed/torchxrayvision/releases" in told
    with pytest.raises(ModelError, match=r"has released no densenet121; wanted one of .*densenet121-res224-nih"):
        run("densenet121", "none", record, tmp_path / "out", tmp_path / "o.json")

"""Claims about pickled states of timm and open_clip: which file is meant, what is fetched, and what is refused."""

import json
import logging
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import save_file

from stages.lib.core import documents, files
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.models.snapshot import Missing
from stages.lib.models.vision import client
from stages.weights import convert, fetch, pickled, states
from stages.weights.pickled import HubFile, Wanted

KEYS = ("zoo.models.*.source", "zoo.models.*.revision")
MORE = ("zoo.models.*.library", "zoo.models.*.architecture")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECORD = Path("environment.json")
VALUES = {"mean": [0.1, 0.1, 0.1], "std": [0.3, 0.3, 0.3]}
CONFIG = {"model_cfg": {"embed_dim": 4, "vision_cfg": {"timm_model_name": "test_vit"}}, "preprocess_cfg": VALUES}
TIMM = {"num_classes": 2, "pretrained_cfg": VALUES}
SOURCE = "somebody/model/weights/open_clip_pytorch_model.bin"


def wanted(source, revision="none", library="open_clip", architecture="test_vit"):
    return Wanted(str(source), revision, library, architecture, KEYS)


def run(folder, asked, *, offline=True):
    return convert.convert(asked, RECORD, folder, None, offline)


@pytest.fixture
def opened(monkeypatch):
    """Files that were opened, by a stand-in for the process that opens pickles."""
    calls = []

    def stand_in(file, folder, environment, work):
        calls.append(file)
        save_file({"weight": np.arange(3, dtype=np.float32)}, folder / "model.safetensors")
        return ["unwrapped state_dict", "1 weights"]

    monkeypatch.setattr(client, "unpickle", stand_in)
    return calls


@pytest.fixture
def here(tmp_path):
    """A pickled file on this machine, and what is beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tiny.pt").write_bytes(b"no pickle, but nobody opens it")
    files.write_json(folder / "open_clip_config.json", CONFIG)
    (folder / "vocab.txt").write_text("of the text side")
    return folder / "tiny.pt"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The cache of a hub that has one repository, and what it was asked for."""
    root = tmp_path / "snapshots" / COMMIT
    asked = []

    def snapshot_download(base, **options):
        asked.append((base, options["revision"], options["allow_patterns"], options["ignore_patterns"]))
        return str(root)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    (root / "weights").mkdir(parents=True)
    (root / "weights/open_clip_pytorch_model.bin").write_bytes(b"a state")
    files.write_json(root / "weights/open_clip_config.json", CONFIG)
    files.write_json(root / "weights/preprocessor_config.json", {})
    return root, asked


# Which file is meant


@pytest.mark.parametrize(
    ("library", "source", "revision", "found"),
    [
        ("timm", "owner/eva_x/tiny.pt", "main", HubFile("owner/eva_x", "", "tiny.pt")),
        ("open_clip", "o/n/a/b/c.bin", COMMIT, HubFile("o/n", "a/b", "c.bin")),
        ("timm", "owner/eva_x/tiny.pth", "none", None),  # a path
        ("timm", "owner/eva_x/tiny.pth", f"sha256:{'0' * 64}", None),
        ("timm", "owner/eva_x/tiny.safetensors", "main", None),
        ("timm", "owner/tiny.pt", "main", None),  # a repository of that name
        ("timm", "owner/name/../tiny.pt", "main", None),
        ("timm", "owner/name/*.pt", "main", None),
        ("timm", "/owner/name/tiny.pt", "main", None),
        ("torchxrayvision", "owner/name/tiny.pt", "main", None),
        ("transformers", "owner/name/tiny.pt", "main", None),
    ],
)
def test_a_file_of_the_hub_is_repository_folder_and_name_and_all_else_is_none(library, source, revision, found):
    assert pickled.hub_file(library, source, revision) == found


@pytest.mark.parametrize(
    ("library", "source", "revision", "said"),
    [
        (
            "timm",
            "owner/tiny.pt",
            "main",
            r"source: found 'owner/tiny\.pt' with .*revision 'main', wanted organisation/",
        ),
        (
            "timm",
            "/data/tiny.pt",
            "main",
            r"for a file on this machine write zoo\.models\.\*\.revision: none, or sha256:",
        ),
        (
            "timm",
            "owner/name",
            "main",
            r"source: found 'owner/name' of library timm, wanted .* ends in \.bin, \.pt, \.pth",
        ),
        ("transformers", "o/n/a.pt", "main", r"source: found 'o/n/a\.pt' of library transformers, wanted"),
    ],
)
def test_what_names_no_pickled_file_is_refused_with_the_keys_of_the_row(library, source, revision, said):
    with pytest.raises(ParamsError, match=said):
        wanted(source, revision, library)


def test_the_command_wants_four_keys(tmp_path):
    row = {"source": "a.pt", "revision": "none", "library": "timm"}
    given = [
        "--params",
        json.dumps({"zoo": {"models": {"*": row}}}),
        "--environment",
        "e",
        "--folder",
        "f",
        "--out",
        "o",
    ]
    with pytest.raises(ParamsError, match="found 2 names, wanted those of source, revision, library and architecture"):
        convert.main([*given, "--keys", *KEYS])
    with pytest.raises(ParamsError, match=r"zoo\.models\.\*\.architecture: found '', wanted text"):
        convert.main([*given, "--keys", *KEYS, *MORE])


# What is fetched


def test_small_files_of_the_same_folder_come_first_then_the_one_file_at_their_commit(hub, tmp_path, opened):
    root, asked = hub
    found = run(tmp_path / "out", wanted(SOURCE, "main"), offline=False)
    small = [f"weights/{name}" for name in states.SMALL]
    assert asked == [
        ("somebody/model", "main", small, ["weights/*/*"]),
        ("somebody/model", COMMIT, ["weights/open_clip_pytorch_model.bin"], ["weights/*/*"]),
    ]
    assert opened == [root / "weights/open_clip_pytorch_model.bin"]
    assert (found.base, found.revision, found.commit) == (SOURCE, "main", COMMIT)
    assert sorted(found.files) == ["model.safetensors", "open_clip_config.json", "preprocessor_config.json"]
    digest = files.sha256_file(opened[0])
    told = json.loads((tmp_path / "out/open_clip_config.json").read_text())
    assert told == {
        **CONFIG,
        "converted_from": {"file": "weights/open_clip_pytorch_model.bin", "sha256": digest},
    }


def test_a_repository_without_a_configuration_is_refused_before_its_weights_are_fetched(hub, tmp_path, opened):
    root, asked = hub
    (root / "weights/open_clip_config.json").unlink()
    said = r"source: found no open_clip_config\.json in somebody/model/weights, beside open_clip_pytorch_.*a folder"
    with pytest.raises(ModelError, match=said + r" of your own, .*revision to none, or sha256: .*\"test_vit\""):
        run(tmp_path / "out", wanted(SOURCE, "main"), offline=False)
    assert len(asked) == 1 and not opened


def test_a_repository_where_no_small_file_is_may_have_no_folder_in_the_cache(hub, tmp_path):
    source = wanted("somebody/model/elsewhere/tiny.pt", "main", "timm")
    with pytest.raises(
        ModelError,
        match=r'no config\.json in somebody/model/elsewhere, .*: \{"architecture": "test_vit", "num_classes": <',
    ):
        run(tmp_path / "out", source, offline=False)


@pytest.mark.parametrize(
    ("offline", "said"), [(False, "has no file weights/open_clip"), (True, "HF_HUB_OFFLINE forbids")]
)
def test_a_file_that_the_repository_has_not_is_told_with_the_key(hub, tmp_path, opened, offline, said):
    (hub[0] / "weights/open_clip_pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=rf"^zoo\.models\.\*\.source: .*{said}"):
        run(tmp_path / "out", wanted(SOURCE, "main"), offline=offline)
    assert not opened and not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["", "a", "a/b"])
def test_the_hub_s_library_takes_the_patterns_for_those_files_alone(inside, monkeypatch):
    from huggingface_hub.utils import filter_repo_objects

    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda base, **options: asked.append(options) or "nowhere"
    )
    source = fetch.Source("o/n", "main", KEYS, ("config.json", "tiny.pt"), (), inside)
    with pytest.raises(ModelError, match="not named after a commit"):
        fetch.fetch(source, None, True)
    names = [
        f"{place}{name}" for place in ("", "a/", "a/b/", "a/b/c/") for name in ("config.json", "tiny.pt", "big.pt")
    ]
    options = {key: asked[0][key] for key in ("allow_patterns", "ignore_patterns")}
    start = f"{inside}/" if inside else ""
    assert list(filter_repo_objects(names, **options)) == [f"{start}config.json", f"{start}tiny.pt"]


def test_the_hub_s_own_library_finds_a_cached_file_by_its_branch_without_a_network(tmp_path, monkeypatch):
    store = tmp_path / "models--somebody--model"
    folder = store / "snapshots" / COMMIT / "weights"
    (store / "refs").mkdir(parents=True)
    folder.mkdir(parents=True)
    (store / "refs/main").write_text(COMMIT)
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"a state")
    files.write_json(folder / "open_clip_config.json", CONFIG)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found = states.find(wanted(SOURCE, "main"), None, True)
    assert (found.commit, found.file) == (COMMIT, folder / "open_clip_pytorch_model.bin")
    assert found.told["file"] == "weights/open_clip_pytorch_model.bin"


# What becomes of it


def test_a_state_is_converted_once_and_again_when_it_or_its_configuration_changes(here, tmp_path, opened, caplog):
    caplog.set_level(logging.INFO)
    first = run(tmp_path / "out", wanted(here))
    assert run(tmp_path / "out", wanted(here)) == first
    assert opened == [here]
    assert "convert: unwrapped state_dict" in caplog.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.safetensors", "open_clip_config.json"]
    files.write_json(here.parent / "open_clip_config.json", {**CONFIG, "preprocess_cfg": {**VALUES, "mean": [0.2] * 3}})
    second = run(tmp_path / "out", wanted(here))
    here.write_bytes(b"another")
    third = run(tmp_path / "out", wanted(here))
    assert len({first.sha256, second.sha256, third.sha256}) == len(opened) == 3


def test_a_hash_is_compared_before_a_state_is_opened(here, tmp_path, opened):
    with pytest.raises(ModelError, match=rf"revision: found sha256:{files.sha256_file(here)} of .*tiny\.pt, wanted"):
        run(tmp_path / "out", wanted(here, f"sha256:{'0' * 64}"))
    assert not opened
    assert run(tmp_path / "out", wanted(here, f"sha256:{files.sha256_file(here)}")).commit is None


def test_a_configuration_of_timm_without_an_architecture_is_given_that_of_the_row(here, tmp_path, opened):
    files.write_json(here.parent / "config.json", TIMM)
    run(tmp_path / "out", wanted(here, library="timm"))
    told = json.loads((tmp_path / "out/config.json").read_text())
    assert (told["architecture"], told["num_classes"]) == ("test_vit", 2)
    files.write_json(here.parent / "config.json", {**TIMM, "architecture": "test_vit"})
    run(tmp_path / "other", wanted(here, library="timm"))
    assert json.loads((tmp_path / "other/config.json").read_text()) == {**TIMM, **told}


@pytest.mark.parametrize(
    ("library", "config", "said"),
    [
        ("timm", {**TIMM, "architecture": "test_resnet"}, "found test_resnet, wanted test_vit, as the row says"),
        ("timm", {**TIMM, "num_classes": None}, "found num_classes None, wanted the number of outputs"),
        (
            "timm",
            {**TIMM, "pretrained_cfg": {"mean": [0.1]}},
            r"found mean \[0\.1\] and std None, wanted 3 numbers each",
        ),
        ("open_clip", {**CONFIG, "model_cfg": {}}, "found no model_cfg with vision_cfg and embed_dim"),
        ("open_clip", {**CONFIG, "preprocess_cfg": {}}, "found mean None and std None, wanted 3 numbers each"),
    ],
)
def test_what_the_loader_would_refuse_of_a_configuration_is_refused_before_the_state_is_opened(
    here, tmp_path, opened, library, config, said
):
    name = pickled.CONFIGS[library]
    files.write_json(here.parent / name, config)
    with pytest.raises(ModelError, match=rf"^zoo\.models\.\*\.source: {here.parent}/{name}: {said}"):
        run(tmp_path / "out", wanted(here, library=library))
    assert not opened


def test_a_configuration_of_a_repository_is_refused_before_its_weights_are_fetched(hub, tmp_path, opened):
    root, asked = hub
    files.write_json(root / "weights/open_clip_config.json", {**CONFIG, "preprocess_cfg": {}})
    with pytest.raises(ModelError, match=r"source: somebody/model/weights/open_clip_config\.json: found mean None"):
        run(tmp_path / "out", wanted(SOURCE, "main"), offline=False)
    assert len(asked) == 1 and not opened


def test_a_file_here_without_a_configuration_or_with_a_torn_one_is_refused_with_what_to_add(here, tmp_path, opened):
    said = rf"source: found no config\.json in {here.parent}, beside tiny\.pt.*and add config\.json there: .*mean"
    with pytest.raises(ModelError, match=said):
        run(tmp_path / "out", wanted(here, library="timm"))
    (here.parent / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"source: .*config\.json is not whole JSON"):
        run(tmp_path / "out", wanted(here, library="timm"))
    assert not opened


def test_a_file_that_is_not_here_is_missing_and_one_that_may_be_on_the_hub_is_said_so(tmp_path):
    row = {"source": "owner/name/tiny.pt", "revision": "none", "library": "timm", "architecture": "test_vit"}
    given = ["--params", json.dumps({"zoo": {"models": {"*": row}}}), "--environment", "e"]
    given += ["--folder", str(tmp_path / "out"), "--out", str(tmp_path / "o.json"), "--keys", *KEYS, *MORE]
    convert.main([*given, "--missing"])
    told = documents.read(tmp_path / "o.json", Missing).missing
    assert told.startswith("zoo.models.*.source: there is no file owner/name/tiny.pt; for a file of the hub set zoo.")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("fault", ["link", "config"])
def test_what_the_process_should_not_have_left_beside_a_state_is_refused(here, tmp_path, opened, monkeypatch, fault):
    honest = client.unpickle

    def spoilt(file, folder, *rest):
        said = honest(file, folder, *rest)
        (folder / "model.safetensors").unlink()
        (folder / ("model.safetensors" if fault == "link" else "open_clip_config.json")).symlink_to("/etc/hostname")
        return said

    monkeypatch.setattr(client, "unpickle", spoilt)
    with pytest.raises(
        ModelError, match=r"after it was converted, wanted model\.safetensors made of it: do not trust it"
    ):
        run(tmp_path / "out", wanted(here))
    assert not (tmp_path / "out").exists()

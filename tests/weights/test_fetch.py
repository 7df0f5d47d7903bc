"""The base model is found, or a sentence says what to do, before any GPU is asked for."""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from httpx2 import ConnectError, Request, Response, TimeoutException
from huggingface_hub import errors
from safetensors.numpy import save_file

from stages.lib.core import cli, documents, files, params
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.models import gemma3
from stages.lib.models.snapshot import Snapshot
from stages.weights import fetch

EXACT = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
TOKEN = "hf_SecretSecretSecret"
DEMO_BASE = Path(__file__).parents[2] / "workflow/demo_base"
SMALL = ("chat_template.jinja", "config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path):
    """A folder that has what a model needs."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in SMALL:
        shutil.copy(DEMO_BASE / name, folder / name)
    save_file({"a": np.arange(6, dtype=np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Return a function that sets what the hub answers, and the list of what it was asked."""
    asked = []
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.chdir(tmp_path)

    def answer(result):
        def snapshot_download(base, **options):
            asked.append((base, options))
            if isinstance(result, Exception):
                raise result
            return str(result)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return asked

    return answer


def edit(folder, name, without=(), **changes):
    """Change keys of a JSON file, or take some out."""
    document = json.loads((folder / name).read_text()) | changes
    (folder / name).write_text(json.dumps({key: value for key, value in document.items() if key not in without}))


def remote(cls, status, words="the hub's words"):
    return cls(words, response=Response(status, request=Request("GET", "https://huggingface.co/api")))


def on_hub(base="google/medgemma-1.5-4b-it", revision="main"):
    return fetch.Params(base=base, revision=revision)


def refusal(token=TOKEN, offline=False, asked=None):
    with pytest.raises(ModelError) as caught:
        fetch.fetch(asked or on_hub(), token, offline)
    return str(caught.value)


def test_a_folder_is_taken_as_it_is_and_has_no_commit(model):
    found = fetch.fetch(fetch.Params(base=str(model), revision="none"), None, False)
    assert found.commit is None
    assert str(found.folder) == found.base == str(model)
    assert found.files["model.safetensors"] == files.sha256_file(model / "model.safetensors")
    assert sorted(found.files) == sorted([*SMALL, "model.safetensors"])


def test_the_hash_tells_models_apart_and_ignores_what_is_not_the_model(model):
    asked = fetch.Params(base=str(model), revision="none")
    before = fetch.fetch(asked, None, False).sha256
    (model / "README.md").write_text("words")
    (model / "train_log.json").write_text("{}")
    (model / "checkpoint-1").mkdir()
    assert fetch.fetch(asked, None, False).sha256 == before
    edit(model, "config.json", changed=1)
    assert fetch.fetch(asked, None, False).sha256 != before


def test_a_snapshot_of_the_hub_hashes_like_a_folder_with_the_same_files(model, hub, tmp_path):
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.parent.mkdir()
    local = fetch.fetch(fetch.Params(base=str(model), revision="none"), None, False)
    model.rename(snapshot)
    asked = hub(snapshot)
    found = fetch.fetch(on_hub(), TOKEN, False)
    assert (found.commit, found.revision) == (COMMIT, "main")
    assert found.sha256 == local.sha256
    base, options = asked[0]
    assert (base, options["revision"], options["token"]) == ("google/medgemma-1.5-4b-it", "main", TOKEN)
    assert not options["local_files_only"]


def test_offline_the_hub_is_asked_for_its_cache_only(model, hub, tmp_path):
    snapshot = tmp_path / COMMIT
    model.rename(snapshot)
    asked = hub(snapshot)
    fetch.fetch(on_hub(), None, True)
    assert asked[0][1]["local_files_only"]


def test_the_real_library_finds_a_cached_snapshot_by_its_branch_without_a_network(model, monkeypatch, tmp_path):
    store = tmp_path / "hub" / "models--google--tiny"
    (store / "snapshots").mkdir(parents=True)
    (store / "refs").mkdir()
    (store / "refs" / "main").write_text(COMMIT)
    model.rename(store / "snapshots" / COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    found = fetch.fetch(on_hub(base="google/tiny"), None, True)
    assert (found.commit, len(found.files)) == (COMMIT, 1 + len(SMALL))
    assert "HF_HUB_OFFLINE" in refusal(token=None, offline=True, asked=on_hub(base="google/other"))


def test_a_gated_model_without_a_token_names_the_licence_page_and_where_to_make_a_token(hub):
    hub(remote(errors.GatedRepoError, 401))
    words = refusal(token=None)
    assert "https://huggingface.co/google/medgemma-1.5-4b-it" in words
    assert fetch.TOKEN_PAGE in words
    assert ".env" in words


def test_a_gated_model_with_a_token_names_the_licence_page_alone(hub):
    hub(remote(errors.GatedRepoError, 403))
    words = refusal()
    assert "accept the licence at https://huggingface.co/google/medgemma-1.5-4b-it" in words
    assert fetch.TOKEN_PAGE not in words


@pytest.mark.parametrize(
    ("error", "token", "offline", "wanted"),
    [
        (remote(errors.RepositoryNotFoundError, 404), TOKEN, False, "there is no model google/medgemma-1.5-4b-it"),
        (remote(errors.RepositoryNotFoundError, 401), None, False, fetch.TOKEN_PAGE),
        (remote(errors.RepositoryNotFoundError, 401), TOKEN, False, "does not accept your token"),
        (remote(errors.HfHubHTTPError, 401), TOKEN, False, "does not accept your token"),
        (remote(errors.RevisionNotFoundError, 404), TOKEN, False, "has no revision 'main'"),
        (errors.LocalEntryNotFoundError("no"), TOKEN, True, "HF_HUB_OFFLINE forbids"),
        (errors.LocalEntryNotFoundError("no"), TOKEN, False, "the hub cannot be reached"),
        (errors.IncompleteSnapshotError("half", "/cache"), TOKEN, False, "what was fetched is kept"),
        (errors.OfflineModeIsEnabled("no"), TOKEN, True, "the hub cannot be reached"),
        (remote(errors.HfHubHTTPError, 503), TOKEN, False, "what came is kept): the hub's words"),
        (ConnectError("no route"), TOKEN, False, "what came is kept): no route"),
        (TimeoutException("slow"), TOKEN, False, "what came is kept): slow"),
        (ConnectionAbortedError(), TOKEN, False, "the hub cannot be reached"),
        (RuntimeError(), TOKEN, False, "what came is kept): nothing more is known"),
        (OSError(28, "No space left on device"), TOKEN, False, "No space left on device"),
    ],
)
def test_each_refusal_of_the_hub_becomes_a_sentence(hub, error, token, offline, wanted):
    hub(error)
    words = refusal(token=token, offline=offline)
    assert wanted in words
    assert type(error).__name__ not in words


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (None, "allowed"),
        (ConnectError("no route"), "unreachable"),
        (TimeoutException("slow"), "unreachable"),
    ],
)
def test_access_is_asked_for_with_one_small_request(hub, monkeypatch, answer, wanted):
    hub(errors.LocalEntryNotFoundError("no"))
    asked = []

    def metadata(url, **options):
        asked.append((url, options))
        if answer:
            raise answer

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    assert fetch.access(on_hub(), TOKEN, False, 3.0) == wanted
    assert asked == [
        ("https://huggingface.co/google/medgemma-1.5-4b-it/resolve/main/config.json", {"token": TOKEN, "timeout": 3.0})
    ]


@pytest.mark.parametrize("lacks", ["weights.bin", "open_clip_config.json"])
def test_access_asks_for_each_file_that_is_named_and_tells_one_that_is_not_there(hub, monkeypatch, lacks):
    hub(errors.LocalEntryNotFoundError("no"))
    asked = []

    def metadata(url, **options):
        asked.append(url)
        if url.endswith(lacks):
            raise remote(errors.RemoteEntryNotFoundError, 404)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    whole = ("weights.bin", "open_clip_config.json")
    with pytest.raises(ModelError, match=rf"a/b has no file inside/{lacks} at 'main'; see https://huggingface.co/a/b/"):
        fetch.access(fetch.Source("a/b", "main", patterns=whole, whole=whole, inside="inside"), TOKEN, False, 3.0)
    assert asked == [
        f"https://huggingface.co/a/b/resolve/main/inside/{name}" for name in whole[: whole.index(lacks) + 1]
    ]


def test_a_repository_that_answers_without_a_file_that_nobody_wants_allows_access(hub, monkeypatch):
    hub(errors.LocalEntryNotFoundError("no"))

    def metadata(url, **options):
        raise remote(errors.RemoteEntryNotFoundError, 404)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    assert fetch.access(fetch.Source("a/b", "main", whole=("weights",)), TOKEN, False, 3.0) == "allowed"


def test_a_file_in_a_folder_of_a_snapshot_has_the_commit_of_the_snapshot(hub, tmp_path):
    root = tmp_path / COMMIT
    (root / "inside").mkdir(parents=True)
    (root / "inside/weights.bin").write_bytes(b"x")
    asked = hub(root)
    source = fetch.Source("a/b", "main", patterns=("weights.bin",), whole=(), inside="inside")
    found = fetch.fetch(source, None, False)
    assert (found.commit, found.folder, list(found.files)) == (COMMIT, root / "inside", ["weights.bin"])
    assert asked[0][1]["allow_patterns"] == ["inside/weights.bin"]
    assert fetch.fetch(replace(source, inside="elsewhere"), None, False).files == {}
    with pytest.raises(ModelError, match=r"weights\.bin is missing"):
        fetch.fetch(replace(source, patterns=("*.json",), whole=("weights.bin",)), None, False)


def test_access_to_a_cached_model_asks_nobody(hub, monkeypatch, model, tmp_path):
    model.rename(tmp_path / COMMIT)
    asked = hub(tmp_path / COMMIT)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", None)
    assert fetch.access(on_hub(), None, False, 3.0) == "cached"
    assert asked[0][1]["local_files_only"]


def test_access_to_a_gated_model_is_refused_with_the_page(hub, monkeypatch):
    hub(errors.LocalEntryNotFoundError("no"))

    def metadata(url, **options):
        raise remote(errors.GatedRepoError, 403)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    with pytest.raises(ModelError, match="accept the licence"):
        fetch.access(on_hub(), TOKEN, False, 3.0)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        fetch.access(on_hub(), TOKEN, True, 3.0)


def test_the_token_is_in_no_error_no_output_and_no_log(hub, monkeypatch, capfd, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    words = f"Illegal header value b'Bearer {TOKEN}'"
    for error in [OSError(words), ValueError(words), remote(errors.HfHubHTTPError, 500, words)]:
        asked = hub(error)
        argv = [
            "--params",
            json.dumps({"weights": {"fetch": {"base": "a/b", "revision": "main"}}}),
            "--out",
            str(tmp_path / "f"),
        ]
        with pytest.raises(SystemExit) as caught:
            cli.run(lambda argv=argv: fetch.main(argv))
        assert caught.value.code == 1
    assert asked[-1][1]["token"] == TOKEN
    out, err = capfd.readouterr()
    assert "could not be fetched" in err
    assert TOKEN not in out + err + caplog.text
    assert not (tmp_path / "f").exists()


def test_the_written_file_holds_no_token(model, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    model.rename(tmp_path / COMMIT)
    hub(tmp_path / COMMIT)
    argv = [
        "--params",
        json.dumps({"weights": {"fetch": {"base": "a/b", "revision": COMMIT}}}),
        "--out",
        str(tmp_path / "out.json"),
    ]
    fetch.main(argv)
    text = (tmp_path / "out.json").read_text()
    assert TOKEN not in text
    assert documents.read(tmp_path / "out.json", Snapshot).commit == COMMIT


def test_the_token_of_the_environment_comes_before_that_of_the_file(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("HF_TOKEN=hf_file\n")
    assert fetch.read_token({"HF_TOKEN": "hf_env\n"}, dotenv) == "hf_env"
    assert fetch.read_token({}, dotenv) == "hf_file"
    assert fetch.read_token({"HF_TOKEN": ""}, dotenv) == "hf_file"
    dotenv.write_text("HF_TOKEN=\n")
    assert fetch.read_token({}, dotenv) is None
    assert fetch.read_token({}, tmp_path / "absent") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_token_file_may_have_a_byte_order_mark(tmp_path, encoding):
    dotenv = tmp_path / ".env"
    dotenv.write_bytes("HF_TOKEN=hf_file\r\n".encode(encoding))
    assert fetch.read_token({}, dotenv) == "hf_file"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_token_file_that_is_not_utf_8_is_named_without_repeating_it(tmp_path, encoding):
    dotenv, words = tmp_path / ".env", f"# für\nHF_TOKEN={TOKEN}\n"
    dotenv.write_bytes(words.encode(encoding))
    with pytest.raises(ModelError) as caught:
        fetch.read_token({}, dotenv)
    assert f"{str(dotenv)!r} is not UTF-8 text" in str(caught.value)
    assert str(caught.value).endswith("save it as UTF-8")
    assert ("UTF-16" in str(caught.value)) == encoding.startswith("utf-16")
    assert TOKEN not in str(caught.value)
    assert fetch.read_token({"HF_TOKEN": "hf_env"}, dotenv) == "hf_env"


def test_a_token_that_could_not_be_sent_is_refused_without_repeating_it():
    with pytest.raises(ModelError) as caught:
        fetch.read_token({"HF_TOKEN": "hf_se cret"})
    assert "cret" not in str(caught.value)


def test_reading_the_token_leaves_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / ".env").write_text("HF_TOKEN=hf_file\n")
    monkeypatch.chdir(tmp_path)
    assert fetch.read_token(os.environ) == "hf_file"
    assert "HF_TOKEN" not in os.environ


def test_all_that_a_folder_lacks_is_said_at_once(tmp_path):
    words = refusal(asked=fetch.Params(base=str(tmp_path), revision="none"))
    for wanted in (
        "config.json is missing",
        "no weights",
        "tokenizer.json is missing",
        "chat_template.jinja is missing",
        "processor_config.json is missing",
    ):
        assert wanted in words


def test_a_missing_folder_that_looks_like_a_hub_id_is_told_how_to_use_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = refusal(asked=on_hub(revision="none"))
    assert "there is no folder google/medgemma-1.5-4b-it" in words
    assert "weights.fetch.revision" in words
    assert "weights.fetch.revision" not in refusal(asked=fetch.Params(base="/absent/model", revision="none"))


def test_a_shard_that_the_index_names_has_to_be_there(model):
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors", "c": "model-2.safetensors"}})
    )
    words = refusal(asked=fetch.Params(base=str(model), revision="none"))
    assert words.count("model-2.safetensors is missing") == 1


TEMPLATE = (DEMO_BASE / "chat_template.jinja").read_text()
REFUSED = {
    "no chat template": (lambda m: (m / "chat_template.jinja").unlink(), "chat_template.jinja is missing"),
    "an empty one": (lambda m: (m / "chat_template.jinja").write_text("\n"), "chat_template.jinja is empty"),
    "only the tokenizer has one": (
        lambda m: ((m / "chat_template.jinja").unlink(), edit(m, "tokenizer_config.json", chat_template=TEMPLATE)),
        "tokenizer_config.json has a chat_template, but the processor does not read it there",
    ),
    "no processor": (lambda m: (m / "processor_config.json").unlink(), "processor_config.json is missing"),
    "no image processor": (
        lambda m: edit(m, "processor_config.json", without=["image_processor"]),
        "processor_config.json has no image_processor",
    ),
    "another number of image tokens": (
        lambda m: edit(m, "processor_config.json", image_seq_length=256),
        "processor_config.json: image_seq_length 256, wanted 64",
    ),
    "no tokenizer": (lambda m: (m / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "half a tokenizer": (
        lambda m: (m / "tokenizer.json").write_text((DEMO_BASE / "tokenizer.json").read_text()[:-100]),
        "tokenizer.json is not whole JSON",
    ),
    "a pointer": (
        lambda m: (m / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "tokenizer.json is a pointer of Git LFS",
    ),
    "no names of tokens": (
        lambda m: (m / "tokenizer_config.json").unlink(),
        "tokenizer_config.json is missing: it names the tokens of an image",
    ),
    "an image token without a name": (
        lambda m: edit(m, "tokenizer_config.json", without=["image_token"]),
        "tokenizer_config.json names no image_token",
    ),
    "an image token of another number": (
        lambda m: edit(m, "config.json", boi_token_index=5),
        "tokenizer.json: the number of '<start_of_image>' is 7, wanted 5, the boi_token_index of config.json",
    ),
    "another class": (
        lambda m: edit(m, "config.json", model_type="llava", architectures=["LlavaForConditionalGeneration"]),
        "config.json: found model_type 'llava' (LlavaForConditionalGeneration), wanted 'gemma3'",
    ),
    "the same without a tower": (
        lambda m: edit(m, "config.json", architectures=["Gemma3ForCausalLM"]),
        "found model_type 'gemma3' (Gemma3ForCausalLM), wanted 'gemma3' (Gemma3ForConditionalGeneration)",
    ),
    "half a configuration": (lambda m: (m / "config.json").write_text("{"), "config.json is not whole JSON"),
    "a list": (lambda m: (m / "config.json").write_text("[]"), "config.json is not whole: found no JSON object"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_first_use_of_a_model_would_refuse_is_one_line_that_names_the_file(model, case):
    change, wanted = REFUSED[case]
    change(model)
    words = refusal(asked=fetch.Params(base=str(model), revision="none")).splitlines()
    assert len(words) == 2, words
    assert words[1].startswith("  - ")
    assert wanted in words[1]


AT_FIRST_USE = ("no chat template", "only the tokenizer has one", "no processor", "no tokenizer", "no names of tokens")


@pytest.mark.parametrize("case", [*AT_FIRST_USE, "another number of image tokens", "an image token without a name"])
def test_the_first_use_refuses_it_too(tmp_path, case):
    folder = shutil.copytree(DEMO_BASE, tmp_path / "base")
    REFUSED[case][0](folder)
    with pytest.raises((ModelError, ValueError, AttributeError)):
        loaded = gemma3.load(folder, EXACT)
        gemma3.encode(loaded, [np.zeros((112, 112), np.uint8)], "A nodule?", image_first=True)


@pytest.mark.parametrize(
    "move",
    [
        lambda m: (m / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE})),
        lambda m: edit(m, "processor_config.json", chat_template=TEMPLATE),
    ],
)
def test_a_chat_template_may_stand_in_any_of_the_files_that_the_processor_reads(model, move):
    (model / "chat_template.jinja").unlink()
    move(model)
    fetch.fetch(fetch.Params(base=str(model), revision="none"), None, False)


def test_the_image_processor_may_stand_in_a_file_of_its_own_as_on_the_hub(model):
    document = json.loads((model / "processor_config.json").read_text())
    (model / "preprocessor_config.json").write_text(json.dumps(document["image_processor"]))
    edit(model, "processor_config.json", without=["image_processor"])
    fetch.fetch(fetch.Params(base=str(model), revision="none"), None, False)
    edit(model, "preprocessor_config.json", do_pan_and_scan=True)
    assert "do_pan_and_scan on" in refusal(asked=fetch.Params(base=str(model), revision="none"))


def test_a_token_of_images_may_be_named_among_the_other_special_ones(model):
    named = json.loads((model / "tokenizer_config.json").read_text())["boi_token"]
    edit(model, "tokenizer_config.json", without=["boi_token"], extra_special_tokens={"boi_token": {"content": named}})
    fetch.fetch(fetch.Params(base=str(model), revision="none"), None, False)
    edit(model, "tokenizer_config.json", without=["extra_special_tokens"])
    (model / "special_tokens_map.json").write_text(json.dumps({"boi_token": named}))
    fetch.fetch(fetch.Params(base=str(model), revision="none"), None, False)


def test_an_index_of_weights_that_is_no_json_is_said_so(model):
    (model / "model.safetensors.index.json").write_text("{")
    assert "index.json is not whole JSON" in refusal(asked=fetch.Params(base=str(model), revision="none"))


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (lambda content: content[:-1], "has 87 bytes, its header wants 88"),
        (lambda content: content + b"x", "has 89 bytes, its header wants 88"),
        (lambda content: b"", "does not start as a safetensors file"),
        (lambda content: b"\xff" * 40, "does not start as a safetensors file"),
        (lambda content: b"\x02\0\0\0\0\0\0\0[]" + content, "does not start as a safetensors file"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_damaged_weights_are_found_by_their_header(model, damage, wanted):
    path = model / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert wanted in refusal(asked=fetch.Params(base=str(model), revision="none"))


def test_a_folder_given_with_a_revision_is_a_problem_of_the_parameters():
    with pytest.raises(ParamsError, match="revision: none"):
        params.parse({"fetch": {"base": "/models/medgemma", "revision": "main"}}, {"fetch": fetch.Params})


def test_asking_for_help_imports_neither_the_hub_nor_torch():
    heavy = "('huggingface_hub', 'torch', 'dotenv')"
    code = f"import sys, stages.weights.fetch; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""Claims about workflow.vision_env and its lock files, and about what workflow.own_env does for every environment."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stages.lib.core import documents
from stages.lib.core.errors import DocumentError, EnvironmentBuildError
from stages.lib.models import own_environment
from stages.lib.models.own_environment import Environment, Unbuilt
from workflow import own_env, vision_env

VISION = Path("workflow/envs/vision")
OF_ITS_OWN = {"timm", "torchxrayvision", "open-clip-torch", "scikit-image"}


def names(path: Path) -> dict[str, str]:
    """Version of each package of a requirements file."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


def test_vision_environment_locks_what_its_sources_name():
    locked, wanted = names(VISION / "requirements.lock"), names(VISION / "requirements.in")
    assert wanted.items() <= locked.items()
    assert locked.keys() >= OF_ITS_OWN


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-torch.lock"])
def test_torchvision_and_what_needs_it_stay_out_of_the_locked_environment(lock):
    assert not names(Path(lock)).keys() & {*OF_ITS_OWN, "torchvision"}


def test_torch_of_the_vision_environment_is_installed_without_a_hash_and_with_its_torchvision():
    assert names(VISION / "requirements-torch.lock").keys() == {"torch", "torchvision"}
    assert not names(VISION / "requirements.lock").keys() & {"torch", "torchvision"}


def test_the_layer_takes_its_packages_from_the_lock_with_their_hashes():
    layer = own_env.layer_of((VISION / "requirements.lock").read_text(), vision_env.ENV.layer)
    found = [line.split("==")[0] for line in layer.splitlines() if line[0] != " "]
    assert found == sorted(vision_env.ENV.layer)
    assert layer.count("--hash=sha256:") >= len(found)


def test_the_layer_s_torchvision_is_the_one_of_the_torch_below_it():
    (torchvision,) = vision_env.ENV.beside
    minor = {name: int(version.split(".")[1]) for name, version in names(Path("requirements-torch.lock")).items()}
    theirs = {n: int(v.split(".")[1]) for n, v in names(VISION / "requirements-torch.lock").items()}
    # Every minor version of torch has one of torchvision, and they are counted alike.
    assert theirs["torch"] - theirs["torchvision"] == minor["torch"] - int(torchvision.split(".")[1])


@pytest.fixture
def small(tmp_path, monkeypatch):
    """An environment that is made of a lock file and nothing more, and what was installed."""
    installed = []
    monkeypatch.setattr(own_env, "_install", lambda env, python: installed.append(python))
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/requirements.lock").write_text("timm==1\n")
    env = replace(vision_env.ENV, locks=tmp_path / "locks", check=lambda python: {"timm": "1"})
    return env, installed


def test_an_environment_is_kept_until_its_locks_change(tmp_path, small):
    env, installed = small
    first = own_env.build(env, tmp_path / "own")
    (tmp_path / "own/mark").write_text("")
    assert own_env.build(env, tmp_path / "own") == first
    assert (len(installed), (tmp_path / "own/mark").exists()) == (1, True)
    (tmp_path / "locks/requirements.lock").write_text("timm==2\n")
    assert own_env.ready(env, tmp_path / "own") is None
    second = own_env.build(env, tmp_path / "own")
    assert second.locks != first.locks
    assert (len(installed), (tmp_path / "own/mark").exists()) == (2, False)


def test_an_environment_that_was_not_finished_is_built_again(tmp_path, small):
    env, installed = small
    with pytest.raises(EnvironmentBuildError, match="found no timm"):
        own_env.build(replace(env, check=lambda python: refuse()), tmp_path / "own")
    assert own_env.ready(env, tmp_path / "own") is None
    assert own_env.build(env, tmp_path / "own").kind == "full"
    assert len(installed) == 2


def refuse():
    raise EnvironmentBuildError("found no timm")


def test_a_folder_that_is_no_environment_is_not_deleted(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "image.png").write_text("")
    with pytest.raises(EnvironmentBuildError, match=r"images is no environment; move it away"):
        own_env.build(vision_env.ENV, folder)
    assert (folder / "image.png").exists()


def test_an_interpreter_without_the_libraries_is_refused_and_the_error_says_what_to_do(tmp_path):
    with pytest.raises(EnvironmentBuildError, match=r"cannot run the worker of vision models; run 'make setup-vision'"):
        vision_env.main(["--folder", str(tmp_path / "own"), "--python", sys.executable, "--out", str(tmp_path / "o")])
    assert not (tmp_path / "own").exists()
    assert not (tmp_path / "o").exists()


def test_an_interpreter_that_names_no_version_of_a_library_is_refused(monkeypatch):
    monkeypatch.setattr(own_env, "versions", lambda *_: {"python": "3.12.1", "timm": None, "torchvision": None})
    with pytest.raises(EnvironmentBuildError, match=r"found no timm, torchvision; run 'make setup-vision'"):
        vision_env.check(Path("python"))


def test_a_record_whose_interpreter_is_gone_is_refused(tmp_path):
    mend = "run 'make setup-vision'"
    gone = Environment(python=tmp_path / "bin/python", kind="given", locks="a", versions={})
    documents.write(tmp_path / "record.json", gone)
    with pytest.raises(EnvironmentBuildError, match=r"bin/python any more; run 'make setup-vision'"):
        own_environment.read(tmp_path / "record.json", mend)
    with pytest.raises(DocumentError, match=r"no such file; run 'make setup-vision'"):
        own_environment.read(tmp_path / "no.json", mend)
    here = replace(gone, python=Path(sys.executable))
    documents.write(tmp_path / "record.json", here)
    assert own_environment.read(tmp_path / "record.json", mend) == here


@pytest.mark.slow
def test_the_environment_of_the_tests_is_the_pinned_one_and_is_found_again(vision_environment, tmp_path):
    pins = names(VISION / "requirements.lock")
    found = vision_environment.versions
    assert (vision_environment.kind, found["open_clip_torch"]) == ("layered", pins["open-clip-torch"])
    both = ("timm", "torchxrayvision")
    assert {name: found[name] for name in both} == {name: pins[name] for name in both}
    folder = vision_environment.python.parents[1]
    assert vision_env.build(folder) == vision_environment
    given = vision_env.build(tmp_path / "given", python=vision_environment.python)
    assert (given.kind, given.versions) == ("given", found)


def test_an_environment_that_cannot_be_built_is_told_where_others_go_on_and_ends_the_builder_else(tmp_path):
    """Its rows fail by the reason that is told; the rows of other libraries stand."""
    nowhere = replace(vision_env.ENV, folder=tmp_path / "own", pythons=((1, 5),), wants="it wants Python {}")
    out = tmp_path / "record.json"
    with pytest.raises(EnvironmentBuildError, match=r"it wants Python 1\.5"):
        own_env.main(nowhere, None, ["--folder", str(tmp_path / "own"), "--out", str(out)])
    assert not out.exists()
    own_env.main(nowhere, None, ["--folder", str(tmp_path / "own"), "--out", str(out), "--missing"])
    assert "it wants Python 1.5" in documents.read(out, Unbuilt).missing
    with pytest.raises(EnvironmentBuildError, match=r"it wants Python 1\.5"):
        own_environment.read(out, "mend")

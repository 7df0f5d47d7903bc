"""Vision models of other libraries: each by a tiny model that its own library made, against the library's own calls."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vision_folders
from vision_folders import MEAN, MODELS, OTHER, SIDE, STD

from stages.lib.core import closure, documents, files, kinds
from stages.lib.core.errors import EnvironmentBuildError, MismatchError, ModelError, WorkerError
from stages.lib.models import embedding
from stages.lib.models.backbone import VISION, BackboneParams, BackboneSetting
from stages.lib.models.own_environment import Environment
from stages.lib.models.snapshot import Snapshot
from stages.lib.models.vision import client
from stages.lib.models.vision.worker import __main__ as worker
from stages.lib.models.vision.worker import from_torchxrayvision, small_files
from stages.lib.models.vision.worker.channel import packed, receive, send, unpacked
from stages.lib.models.vision.worker.libraries import LIBRARIES
from stages.weights import convert
from stages.weights.pickled import Wanted

WORKER = Path(worker.__file__).parent
PARTS = {str(path.relative_to(closure.ROOT)) for path in WORKER.glob("*.py") if path.name != "__init__.py"}
OWN_PROCESS = "stages/lib/models/own_process.py"
COLUMNS = {name: SIDE // patch for name, (_, _, patch, _) in MODELS.items()}


@dataclass(frozen=True)
class Made:
    """The models on the disk, and a process that opens them one after another."""

    root: Path
    record: Path
    process: client.Worker

    def folder(self, name: str) -> Path:
        return self.root / ("converted" if name.startswith("xrv") else "") / name

    @property
    def told(self) -> dict[str, Any]:
        """What the worker's functions said."""
        return dict(json.loads((self.root / "told.json").read_text()))

    def by_hand(self, name: str) -> Any:
        return np.load(self.root / f"{name}.npz")

    def open(self, name: str, side: int = SIDE, folder: Path | None = None, **changed: str) -> dict[str, Any]:
        library, architecture, *_ = MODELS[name]
        asked = {"library": library, "architecture": architecture, "side_px": side}
        asked |= {"verb": "open", "folder": str(folder or self.folder(name))}
        return self.process.ask(asked | changed)[0]

    def tokens(self, images: np.ndarray) -> list[np.ndarray]:
        return self.process.ask({"verb": "tokens"}, [images])[1]


@pytest.fixture(scope="module")
def made(vision_environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("vision_folders")
    python = vision_environment.python.absolute()
    subprocess.run([python, "-I", vision_folders.__file__, str(root)], check=True)
    record = root / "environment.json"
    documents.write(record, vision_environment)
    released = root / "xrv_densenet" / vision_folders.XRV
    client.convert(released, root / "converted/xrv_densenet", record, root / "work")
    process = client.Worker(python, "my_row", root / "work")
    yield Made(root, record, process)
    process.close()


def asked(name: str, side: int = SIDE, **changed: Any) -> BackboneParams:
    library, architecture, *_ = MODELS[name]
    own = {"library": library, "source": "a/model", "revision": "main", "architecture": architecture}
    return BackboneParams(**{**own, "side_px": side, "shifts": 1, **changed})


def setting(folder: Path, record: Path | None, work: Path | None = None) -> BackboneSetting:
    found = Snapshot(base="a/model", revision="main", commit=None, folder=folder, sha256="c0ffee", files={})
    return BackboneSetting(row="my_row", found=found, environment=record, work=work)


def copied(folder: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a model whose weights are changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    [path] = target.glob("*.safetensors")
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})
    return target


def rewrite(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and float(np.abs(found - wanted).max()) <= 1e-5 * float(np.abs(wanted).max())


# Each model by its own library


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_the_library_itself_patches_and_prefix_apart(made: Made, name: str) -> None:
    told, known = made.open(name), made.by_hand(name)
    patches, prefix = made.tokens(vision_folders.images(SIDE))
    count, rows = MODELS[name][3], COLUMNS[name]
    assert (told["rows"], told["prefix"], told["patch_px"]) == (rows, count, MODELS[name][2])
    assert patches.shape == (3, rows, rows, told["features"]) and patches.dtype == np.float32
    assert prefix.shape == (3, count, told["features"])
    assert close(patches, known["patches"])
    assert not count or close(prefix, known["prefix"])
    assert told["parameters"] == int(known["parameters"]) if "parameters" in known else told["parameters"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_tokens_of_an_image_do_not_depend_on_the_others_of_its_batch_nor_on_their_order(made: Made, name: str) -> None:
    made.open(name)
    images = vision_folders.images(SIDE)
    together, backwards = made.tokens(images), made.tokens(images[::-1])
    for number in range(len(images)):
        for part, alone in enumerate(made.tokens(images[number : number + 1])):
            if alone.size:
                assert close(together[part][number], alone[0])
                assert close(backwards[part][len(images) - 1 - number], alone[0])


@pytest.mark.slow
def test_a_vit_of_another_side_has_its_embedding_of_positions_resampled_as_timm_does(made: Made) -> None:
    assert made.open("vit", OTHER)["rows"] == 6
    assert close(made.tokens(vision_folders.images(OTHER))[0], made.by_hand("vit")["other"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "vit"])
def test_every_model_takes_another_side(made: Made, name: str) -> None:
    rows = OTHER // MODELS[name][2]
    assert made.open(name, OTHER)["rows"] == rows
    assert made.tokens(vision_folders.images(OTHER))[0].shape[:3] == (3, rows, rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["xrv_densenet", "xrv_resnet"])
def test_outputs_of_torchxrayvision_are_raw_logits_and_its_thresholds_bend_nothing(made: Made, name: str) -> None:
    targets = made.open(name)["targets"]
    [found] = made.process.ask({"verb": "outputs"}, [vision_folders.images(SIDE)])[1]
    assert found.shape == (3, 18) and close(found, made.by_hand(name)["outputs"])
    assert found.min() < 0 and found.max() > 1  # no sigmoid
    assert len(targets) == 18 and targets[11] == "Nodule"
    assert (targets[14] == "") == (name == "xrv_densenet")  # the release of NIH labels has no such output


@pytest.mark.slow
def test_a_model_of_another_library_has_no_outputs(made: Made) -> None:
    made.open("vit")
    with pytest.raises(ModelError, match="my_row: found a model without outputs of its own"):
        made.process.ask({"verb": "outputs"}, [vision_folders.images(SIDE)])


@pytest.mark.slow
def test_operations_are_two_for_each_multiply_add_by_hand(made: Made) -> None:
    tokens, width, blocks, grid = 17, 32, 2, 16
    stem = 2 * grid * width * 16 * 16 * 3
    block = 2 * tokens * width * width * (3 + 1 + 4 + 4) + 2 * 2 * tokens * tokens * width
    assert made.open("clip_vit")["operations"] == stem + blocks * block


# Conversion of a pickle


@pytest.mark.slow
def test_a_pickled_model_has_the_targets_of_its_release_or_those_that_it_names_itself(made: Made) -> None:
    told = {name: json.loads((made.root / f"converted/{name}/config.json").read_text()) for name in ("own", "named")}
    assert told["own"]["targets"] == vision_folders.TARGETS
    assert told["named"]["targets"][14:] == ["", "Fracture", "", ""]  # as the release of PadChest has them
    assert told["own"]["converted_from"]["file"] == "own.pt" and len(told["own"]["converted_from"]["sha256"]) == 64
    assert told["own"]["arguments"] == {
        "growth_rate": 4,
        "block_config": [2, 1, 1, 2],
        "num_init_features": 8,
        "bn_size": 2,
        "num_classes": 18,
        "in_channels": 1,
    }


@pytest.mark.slow
def test_a_pickle_that_is_no_model_of_torchxrayvision_or_has_no_targets_is_refused(made: Made) -> None:
    told = made.told
    assert re.search(
        r"unknown\.pt: found targets None, wanted 18 names: give the file the name that it", told["unknown"]
    )
    assert told["no release"].startswith("found the release such, wanted one of all, densenet121-res224-all")
    assert re.search(r"list\.pt: found list, wanted a model of TorchXRayVision or its weights", told["list"])
    assert re.search(r"other\.pt: found no weight 'fc\.weight', wanted those of TorchXRayVision's", told["other"])
    assert not (made.root / "converted/unknown").exists()
    with pytest.raises(ModelError, match=r"^/.*/gone\.pt: there is no such file"):
        client.convert(made.root / "gone.pt", made.root / "converted/unknown", made.record, None)


@pytest.mark.slow
def test_a_release_has_an_address_and_an_unknown_one_is_refused(made: Made) -> None:
    assert re.fullmatch(rf"https://github.com/\S+/{re.escape(vision_folders.XRV)}", made.told["released"])
    assert re.match("TorchXRayVision has released no such; wanted one of all, densenet", made.told["not released"])


def state_of(folder: Path, target: Path, wrap: Callable[[dict[str, Any]], object] = lambda state: state) -> Wanted:
    """The model of a folder as it is published where there is a pickled state alone: that file, and the small ones."""
    import torch
    from safetensors.torch import load_file

    target.mkdir()
    [weights] = folder.glob("*.safetensors")
    torch.save(wrap(load_file(weights)), target / "tiny.bin")
    for path in folder.glob("*.json"):
        shutil.copyfile(path, target / path.name)
    library, architecture, *_ = MODELS[folder.name]
    return Wanted(str(target / "tiny.bin"), "none", library, architecture, ("my_row.source", "my_row.revision"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("vit", lambda state: {"model": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}),
        ("resnet", lambda state: state),
        ("clip_trunk", lambda state: {"state_dict": state}),
        ("clip_vit", lambda state: state),
    ],
)
def test_a_pickled_state_of_timm_or_open_clip_gives_the_tokens_of_the_same_model_from_safetensors(
    made: Made, tmp_path: Path, name: str, wrap: Callable[[dict[str, Any]], object]
) -> None:
    wanted = state_of(made.folder(name), tmp_path / "model", wrap)
    found = convert.convert(wanted, made.record, tmp_path / "out", None, True)
    images = vision_folders.images(SIDE)
    made.open(name)
    own = made.tokens(images)
    made.open(name, folder=found.folder)
    for one, other in zip(made.tokens(images), own, strict=True):
        assert one.tobytes() == other.tobytes()
    told = json.loads((found.folder / wanted.config).read_text())
    assert told["converted_from"] == {"file": "tiny.bin", "sha256": files.sha256_file(wanted.source)}
    assert convert.convert(wanted, made.record, tmp_path / "out", None, True) == found


@pytest.mark.slow
def test_a_pickled_state_that_lacks_a_weight_is_converted_and_refused_by_its_loader(made: Made, tmp_path: Path) -> None:
    def without(state: dict[str, Any]) -> object:
        return {key: value for key, value in state.items() if key != "cls_token"}

    wanted = state_of(made.folder("vit"), tmp_path / "model", without)
    found = convert.convert(wanted, made.record, tmp_path / "out", None, True)
    with pytest.raises(
        ModelError, match=r"^my_row: .*the checkpoint lacks cls_token \(1 such\); wanted all weights of"
    ):
        made.open("vit", folder=found.folder)


class Planted:
    """What runs code when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


@pytest.mark.slow
def test_code_in_a_pickled_state_runs_nowhere_and_what_is_no_state_is_refused(made: Made, tmp_path: Path) -> None:
    wanted = state_of(
        made.folder("vit"), tmp_path / "model", lambda state: {**state, "more": Planted(tmp_path / "ran")}
    )
    with pytest.raises(ModelError, match=r"tiny\.bin: torch does not read it with weights_only=True \(.*posix\.mkdir"):
        convert.convert(wanted, made.record, tmp_path / "out", None, True)
    other = state_of(made.folder("vit"), tmp_path / "other", lambda state: {"epoch": 3})
    with pytest.raises(ModelError, match=r"tiny\.bin: found int under epoch \(1 such\), wanted tensors by name, or"):
        convert.convert(other, made.record, tmp_path / "out", None, True)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()


# Refusals of weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "vit",
            lambda weights: weights.pop("blocks.0.attn.qkv.weight"),
            r"lacks blocks\.0\.attn\.qkv\.weight \(1 such\)",
        ),
        ("vit", lambda weights: weights.update(more=weights["cls_token"].clone()), "has, and the model has not, more"),
        (
            "resnet",
            lambda weights: weights.update({"fc.weight": weights["fc.weight"][:4].clone()}),
            r"has in another shape fc\.weight \(4, 96\) for \(5, 96\)",
        ),
        (
            "xrv_densenet",
            lambda weights: weights["features.conv0.weight"].fill_(np.nan),
            r"has NaN or infinite numbers in features\.conv0\.weight",
        ),
        ("clip_vit", lambda weights: weights.pop("visual.proj"), r"lacks proj \(1 such\)"),
        (
            "clip_trunk",
            lambda weights: weights.pop("visual.trunk.norm.bias"),
            r"lacks trunk\.norm\.bias \(1 such\)",
        ),
    ],
    ids=["missing", "superfluous", "other head", "NaN", "open_clip", "trunk"],
)
def test_weights_that_do_not_fill_the_model_are_refused(
    made: Made, tmp_path: Path, name: str, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    folder = copied(made.folder(name), tmp_path / "model", change)
    with pytest.raises(ModelError, match=f"^my_row: {tmp_path}/model: the checkpoint {said}.*; wanted all weights of "):
        made.open(name, folder=folder)
    made.open(name)  # the process goes on


@pytest.mark.slow
def test_a_norm_may_lack_its_count_of_batches_and_a_text_side_is_not_read(made: Made, tmp_path: Path) -> None:
    def drop(weights: dict[str, Any]) -> None:
        for name in [name for name in weights if name.endswith("num_batches_tracked") or "token_embedding" in name]:
            del weights[name]

    for name in ("resnet", "clip_resnet"):
        made.open(name, folder=copied(made.folder(name), tmp_path / name, drop))
        assert close(made.tokens(vision_folders.images(SIDE))[0], made.by_hand(name)["patches"])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_side_that_a_patch_does_not_divide_is_refused_and_near_ones_are_named(made: Made, name: str) -> None:
    patch = MODELS[name][2]
    near = f"{72 // patch * patch} or {72 // patch * patch + patch}"
    with pytest.raises(ModelError, match=f"^my_row: side_px 72: wanted a multiple of {patch} px.* such as {near}$"):
        made.open(name, 72)


@pytest.mark.slow
def test_images_of_another_side_or_type_are_refused_by_the_process_too(made: Made) -> None:
    made.open("vit")
    for odd in (np.zeros((1, 32, 32), np.uint8), np.zeros((1, SIDE, SIDE), np.float32)):
        with pytest.raises(ModelError, match=r"my_row: found images of .*, wanted uint8 \(n, 64, 64\)"):
            made.tokens(odd)


# The client and the interface of backbones


@pytest.mark.slow
def test_a_process_that_is_killed_in_a_pass_is_told_with_the_row(made: Made, tmp_path: Path) -> None:
    images = list(vision_folders.images(SIDE))
    model = client.open_model(asked("vit"), setting(made.folder("vit"), made.record, tmp_path))
    assert model.targets == () and close(model.tokens(images).patches, made.by_hand("vit")["patches"])
    with pytest.raises(MismatchError, match="my_row"):
        model.tokens([np.zeros((32, 32), np.uint8)])
    killer = threading.Timer(0.2, os.kill, (model.worker.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(WorkerError, match="my_row: its process was ended by signal 9; run it again, and it goes on"):
        for _ in range(10_000):
            model.tokens(images)
    with pytest.raises(WorkerError, match="my_row"):
        model.tokens(images)
    model.close()
    [private] = tmp_path.iterdir()
    assert (private / "worker.log").is_file()  # it stays, to be looked at


@pytest.mark.slow
def test_features_behind_a_killed_process_are_those_of_one_that_was_not_and_are_found_without_any(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    images = vision_folders.images(SIDE)
    pngs = [tmp_path / f"{number}.png" for number in range(len(images))]
    for png, image in zip(pngs, images, strict=True):
        png.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    params, given = asked("vit"), setting(made.folder("vit"), made.record, tmp_path / "work")

    def run() -> embedding.Embedding:
        return embedding.Embedding(params, given, "hash", tmp_path / "cache")

    killed = run()
    passes = killed.images(pngs, 0, tokens=True)
    next(passes)
    os.kill(killed.backbone.tokens.__self__.worker.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(WorkerError, match="my_row: its process was ended by signal 9"):
        next(passes)
    killed.close()
    second = run()
    seen = list(second.images(pngs, 0, tokens=True))
    second.close()
    assert second.computed == 2 and second.facts == killed.facts
    made.open("vit")
    for number, one in enumerate(seen):
        alone = made.tokens(images[number : number + 1])[0].astype(np.float16)
        assert one.tokens is not None and one.tokens.tobytes() == alone.tobytes()
    monkeypatch.setattr(client, "Worker", None)  # a process would be started by it
    third = run()
    for one, other in zip(third.images(pngs, 0, tokens=True), seen, strict=True):
        assert one.tokens is not None and one.tokens.tobytes() == other.tokens.tobytes()
    assert third.computed == 0 and third.facts == second.facts
    record = tmp_path / "environment.json"
    built = documents.read(made.record, Environment)
    documents.write(record, replace(built, versions={**built.versions, "timm": "0.0.0"}))
    assert embedding.key(params, given, "hash") != embedding.key(params, replace(given, environment=record), "hash")


# Without the environment: what small files tell


def small(folder: Path, name: str) -> Path:
    """The small files of a model, and weights that nobody reads."""
    library, architecture, *_ = MODELS[name]
    folder.mkdir()
    if library == "open_clip":
        vision = {"image_size": SIDE, "layers": 2, "patch_size": 16}
        told = {"model_cfg": {"embed_dim": 24, "vision_cfg": vision}, "preprocess_cfg": {"mean": MEAN, "std": STD}}
        (folder / "open_clip_config.json").write_text(json.dumps(told))
    elif library == "timm":
        told = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": {"mean": MEAN, "std": STD}}
        (folder / "config.json").write_text(json.dumps(told))
    else:
        told = {"architecture": architecture, "arguments": {"num_classes": 2}, "targets": ["Mass", "Nodule"]}
        (folder / "config.json").write_text(json.dumps(told))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


SMALL = ("vit", "xrv_densenet", "clip_vit")


@pytest.mark.parametrize("name", SMALL)
def test_small_files_that_fit_are_not_refused(tmp_path: Path, name: str) -> None:
    client.examine(asked(name), setting(small(tmp_path / name, name), None))


@pytest.mark.parametrize("name", SMALL)
def test_small_files_that_lack_or_are_another_model_are_refused_before_a_process_starts(
    tmp_path: Path, name: str
) -> None:
    folder = small(tmp_path / name, name)
    config = next(folder.glob("*.json"))

    def refused(said: str, **changed: Any) -> None:
        with pytest.raises(ModelError, match=f"^my_row: .*{said}"):
            client.examine(asked(name, **changed), setting(folder, None))

    refused("wanted Another", architecture="Another")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(r"found no weights, wanted .*model\.safetensors")
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    if name != "vit":
        refused("side_px 72: wanted a multiple of", side=72)
    config.write_text("{")
    refused("is not whole JSON")
    config.unlink()
    refused(f"found no {config.name}, wanted the folder of a model")


@pytest.mark.parametrize(("mean", "std"), [(None, STD), (MEAN, [0.2, 0.0, 0.3]), ([0.5], STD), (MEAN, ["a", 1, 1])])
def test_mean_and_deviation_come_from_the_models_own_file_or_it_is_refused(tmp_path: Path, mean: Any, std: Any) -> None:
    folders = {name: small(tmp_path / name, name) for name in ("vit", "clip_vit")}
    rewrite(folders["vit"] / "config.json", pretrained_cfg={"mean": mean, "std": std})
    rewrite(folders["clip_vit"] / "open_clip_config.json", preprocess_cfg={"mean": mean, "std": std})
    for name, folder in folders.items():
        with pytest.raises(ModelError, match=r"my_row: .*: found mean .* and std .*, wanted 3 numbers each"):
            client.examine(asked(name), setting(folder, None))


def test_targets_that_are_not_one_for_each_output_are_refused(tmp_path: Path) -> None:
    folder = small(tmp_path / "xrv", "xrv_densenet")
    rewrite(folder / "config.json", targets=["Nodule"])
    with pytest.raises(ModelError, match=r"found targets \['Nodule'\], wanted 2 names, one for each output"):
        client.examine(asked("xrv_densenet"), setting(folder, None))


def test_greys_become_what_mean_and_deviation_make_of_them(tmp_path: Path) -> None:
    values = small_files.normalized({"mean": MEAN, "std": STD}, 3, tmp_path)
    greys = np.arange(256)
    for channel in range(3):
        assert np.allclose(values[channel], (greys / 255 - MEAN[channel]) / STD[channel], atol=1e-6)
    xrv = from_torchxrayvision.grey_values()
    assert np.allclose(xrv, np.linspace(-1024, 1024, 256), atol=1e-3) and xrv.dtype == values.dtype == np.float32


def test_a_row_without_a_vision_environment_is_told_how_to_get_one(tmp_path: Path) -> None:
    folder = small(tmp_path / "vit", "vit")
    with pytest.raises(EnvironmentBuildError, match=r"my_row: found no vision environment.*run 'make setup-vision'"):
        client.open_model(asked("vit"), setting(folder, None))


def test_each_library_of_the_environment_is_offered_and_its_code_holds_the_worker() -> None:
    assert set(VISION) <= set(kinds.names(kinds.BACKBONES)) and set(LIBRARIES) == set(VISION)
    for library in VISION:
        code = closure.closure(f"{kinds.BACKBONES}.{library}")
        assert {*PARTS, OWN_PROCESS, "stages/lib/models/vision/client.py"} <= set(code)


def test_the_code_that_a_model_s_identity_is_over_is_all_that_its_process_imports_of_the_project() -> None:
    assert len(PARTS) > 10
    assert set(closure.closure(worker.__name__)) == PARTS | {OWN_PROCESS}
    program = f"""
    import runpy, sys
    try:
        runpy.run_path({worker.__file__!r}, run_name="__main__")
    except SystemExit:
        print(*(module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "stages"))
    """
    command = [sys.executable, "-I", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "vision: refused: found the arguments" in done.stderr
    found = {str(Path(path).relative_to(closure.ROOT)) for path in done.stdout.split()}
    assert {path for path in found if not path.endswith("__init__.py")} == (PARTS | {OWN_PROCESS}) - {
        str(Path(worker.__file__).relative_to(closure.ROOT))
    }
    assert {path for path in found if path.endswith("__init__.py")} == {
        str(folder.relative_to(closure.ROOT) / "__init__.py")
        for folder in (WORKER, *WORKER.parents)
        if folder.is_relative_to(closure.ROOT / "stages")
    }


# Without the environment: the process


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let processes run another program than the worker."""
    path = tmp_path / "program.py"
    start = ("import sys, time, json", "from multiprocessing.connection import Connection")
    path.write_text("\n".join([*start, "other = Connection(int(sys.argv[1]))", textwrap.dedent(program)]))
    monkeypatch.setattr(worker, "__file__", str(path))


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> client.Worker:
    """A process that runs another program than the worker, by the Python of the tests."""
    answering(tmp_path, monkeypatch, program)
    return client.Worker(Path(sys.executable), "my_row", tmp_path / "work")


def test_messages_come_out_as_they_went_in_and_none_is_unpickled() -> None:
    from multiprocessing import Pipe

    here, there = Pipe()
    arrays = [np.arange(6, dtype=np.uint8).reshape(1, 2, 3), np.zeros((2, 0, 5), np.float32)]
    send(here, {"verb": "tokens", "text": "é"}, arrays)
    header, found = receive(there)
    assert header == {"verb": "tokens", "text": "é"}
    for one, other in zip(found, arrays, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        packed(np.array([object()]))
    with pytest.raises(ValueError):
        unpacked(packed(arrays[0])[:-1])


@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "<f4", ">f8", "bool"])
def test_an_array_is_the_bytes_of_a_npy_file_that_numpy_reads_too(shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    content = packed(array)
    for found in (unpacked(content), np.load(io.BytesIO(content), allow_pickle=False)):
        assert found.dtype == array.dtype and found.shape == shape and found.tobytes() == array.tobytes()
    assert unpacked(content).flags.writeable


def test_the_loop_of_the_worker_refuses_tokens_before_a_model_and_ends_with_the_socket(tmp_path: Path) -> None:
    process = client.Worker(Path(sys.executable), "my_row", tmp_path)
    with pytest.raises(ModelError, match="my_row: no model is open"):
        process.ask({"verb": "tokens"}, [np.zeros((1, 2, 2), np.uint8)])
    with pytest.raises(ModelError, match="my_row: library: found keras, wanted one of timm, "):
        process.ask({"verb": "open", "library": "keras", "folder": "", "architecture": "a", "side_px": 1})
    process.close()
    assert not list(tmp_path.iterdir())


def test_a_process_that_ends_is_told_with_how_and_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = fake(tmp_path, monkeypatch, "print('no memory', flush=True)\nsys.exit(7)")
    with pytest.raises(WorkerError, match=r"my_row: its process ended with exit code 7; run(.|\n)*no memory$"):
        process.ask({"verb": "tokens"})
    with pytest.raises(WorkerError, match="my_row"):
        process.ask({"verb": "tokens"})
    process.close()


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = fake(tmp_path, monkeypatch, "time.sleep(60)")
    with pytest.raises(WorkerError, match=r"my_row: its process gave no answer to tokens in 0\.2 s and was ended"):
        process.ask({"verb": "tokens"}, within_s=0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    process.close()


@pytest.mark.parametrize(
    "answer",
    [
        "other.send_bytes(b'no JSON')",
        "other.send_bytes(b'[]')",
        "other.send_bytes(b'{}')",
        "import numpy, io; out = io.BytesIO(); numpy.save(out, numpy.array([{}]), allow_pickle=True); "
        "other.send_bytes(b'{\"arrays\": 1}'); other.send_bytes(out.getvalue())",
    ],
    ids=["no JSON", "no object", "no arrays", "pickle"],
)
def test_an_answer_that_cannot_be_read_ends_the_process_and_a_pickle_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    process = fake(tmp_path, monkeypatch, f"{answer}\ntime.sleep(60)")
    with pytest.raises(WorkerError, match="my_row: its process answered tokens with what cannot be read"):
        process.ask({"verb": "tokens"})
    process.close()


def test_an_environment_that_is_not_as_it_was_built_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "environment.json"
    versions = {"timm": "1.0.0", "numpy": "2.0.0"}
    documents.write(record, Environment(python=Path(sys.executable), kind="given", locks="0", versions=versions))
    given = setting(small(tmp_path / "vit", "vit"), record, tmp_path / "work")
    said = {"versions": {"timm": "1.0.1", "numpy": "2.0.0"}, "arrays": 0}
    program = f"""
    other.recv_bytes()
    other.send_bytes(json.dumps({said}).encode())
    other.poll(60)
    """
    answering(tmp_path, monkeypatch, program)
    with pytest.raises(EnvironmentBuildError, match=r"it was built: timm 1\.0\.1 for 1\.0\.0; run 'make setup-vision'"):
        client.open_model(asked("vit"), given)
    assert not list((tmp_path / "work").iterdir())
    documents.write(record, Environment(python=tmp_path / "gone", kind="given", locks="0", versions=versions))
    with pytest.raises(EnvironmentBuildError, match=r"there is no .*/gone any more; run 'make setup-vision'"):
        client.open_model(asked("vit"), given)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('broken', flush=True); sys.exit(7)", r"--release a ended with exit code 7\. Its last words:\nbroken"),
        ("print('slow', flush=True); time.sleep(60)", r"--release a did not end in 2 s(.|\n)* last words:\nslow"),
    ],
)
def test_a_process_for_one_thing_that_dies_or_hangs_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    record = tmp_path / "environment.json"
    documents.write(record, Environment(python=Path(sys.executable), kind="given", locks="0", versions={}))
    (tmp_path / "program.py").write_text(f"import sys, time\n{program}\n")
    monkeypatch.setattr(worker, "__file__", str(tmp_path / "program.py"))
    monkeypatch.setattr(client, "PASS_S", 2.0)
    with pytest.raises(WorkerError, match=said):
        client.released("a", record, tmp_path / "work")
    assert not list((tmp_path / "work").iterdir())


def test_an_error_of_a_library_is_told_and_the_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
    for answer in ({"failed": "KeyError: 'x'"}, {"seen": 1}):
        other.recv_bytes()
        other.send_bytes(json.dumps({**answer, "arrays": 0}).encode())
    """
    process = fake(tmp_path, monkeypatch, program)
    with pytest.raises(WorkerError, match="my_row: tokens failed with KeyError: 'x'; look at"):
        process.ask({"verb": "tokens"})
    assert process.ask({"verb": "tokens"}) == ({"seen": 1}, [])
    process.close()


def test_a_worker_whose_parent_is_killed_ends_and_takes_its_private_folder_with_it(tmp_path: Path) -> None:
    program = f"""
    import os, signal, sys
    from pathlib import Path
    from stages.lib.models.vision import client
    process = client.Worker(Path(sys.executable), "my_row", Path({str(tmp_path / "work")!r}))
    Path({str(tmp_path / "pid")!r}).write_text(str(process.pid))
    try:
        process.ask({{"verb": "tokens"}}, [])
    except Exception:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    pid, until = int((tmp_path / "pid").read_text()), time.monotonic() + 10
    while (running(pid) or list((tmp_path / "work").iterdir())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not running(pid) and not list((tmp_path / "work").iterdir())


def running(pid: int) -> bool:
    """Whether a process is there, and is more than an entry that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

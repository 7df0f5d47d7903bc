"""Rows of timm, TorchXRayVision and CheXagent through the chapter zoo, by processes of their environments."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import checkout as checkouts
import first
import pytest
import vision_folders
import zoo_study
from vision_env import vision_environment  # noqa: F401, the name of a fixture

from stages.lib.core import tables
from stages.lib.models.own_environment import Environment
from workflow import chexagent_env, vision_env

pytestmark = pytest.mark.slow

RUN = ("snakemake", "--cores", "2", "--resources", "gpu=2", "--nocolor", "--keep-going", "--", "zoo")
OPEN = {"seen": "no", "licence": "none", "commercial": True, "revision": "none", "side_px": vision_folders.SIDE}
PROBE = {
    "kind": "probe",
    "pool": ["largest", "mean"],
    "strengths": [0.1],
    "class_weight": ["none"],
    "places": ["logits"],
}


ASKED = {
    **{name: OPEN[name] for name in ("seen", "licence", "commercial", "revision", "side_px")},
    "kind": "chexagent",
    "code_revision": "none",
    "encoder": "none",
    "encoder_revision": "none",
    "dtype": "float32",
    "batch_size": 16,
    "probe_images": 2,
    "start_timeout_s": 300.0,
    "batch_timeout_s": 300.0,
    "shifts": 1,
}
QUESTION = "Is there a nodule?"


def pickle(models: Path) -> None:
    """The model of timm as it is published where there is a pickled state alone."""
    import torch
    from safetensors.torch import load_file

    (models / "pickled").mkdir()
    torch.save({"model": load_file(models / "vit/model.safetensors")}, models / "pickled/tiny.pt")
    shutil.copyfile(models / "vit/config.json", models / "pickled/config.json")


def rows(models: Path) -> dict[str, dict[str, Any]]:
    """A row of timm that is probed, the same from a pickled state, one of TorchXRayVision, and the first CheXagent."""

    def backbone(library: str, folder: str, architecture: str) -> dict[str, Any]:
        return {**OPEN, "library": library, "source": str(models / folder), "architecture": architecture}

    xrv = backbone("torchxrayvision", "xrv_densenet/own.pt", "DenseNet")
    return {
        **zoo_study.rows("prevalence"),
        "vit": {**backbone("timm", "vit", "test_vit"), **PROBE, "shifts": 2},
        "pickled": {**backbone("timm", "pickled/tiny.pt", "test_vit"), **PROBE, "shifts": 2},
        "published": {**xrv, "kind": "published", "shifts": 2, "target": "Nodule"},
        "first": {**ASKED, "model": str(first.build(models))},
    }


@pytest.fixture(scope="module")
def study(
    vision_environment: Environment,  # noqa: F811
    chexagent_environment: Environment,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    models = tmp_path_factory.mktemp("models")
    command = [vision_environment.python, "-I", vision_folders.__file__, models]
    subprocess.run(command, check=True, capture_output=True)
    pickle(models)
    changes = zoo_study.small() | {
        "zoo": {"models": rows(models)},
        "zoo.measure": {"reference": "prevalence", "draws": 100, "test_draws": 200},
        "zoo.curve": {"rows": ["vit"]},
        "zoo.bank": {"questions": [QUESTION], "answers": ["Yes/No"]},
    }
    folder = checkouts.copy(tmp_path_factory.mktemp("libraries") / "checkout", changes)
    for own, environment in ((vision_env.ENV, vision_environment), (chexagent_env.ENV, chexagent_environment)):
        (folder / own.folder).symlink_to(environment.python.parents[1])  # found built, and kept
    return folder, checkouts.run(folder, *RUN)


def test_rows_of_other_libraries_have_scores_beside_those_of_the_study(study: tuple[Path, str]) -> None:
    folder, _ = study
    found = {path.stem: json.loads(path.read_text()) for path in (folder / "results/zoo/fit").glob("*.json")}
    assert {one["failure"] for one in found.values()} == {None}
    passes = {name: one["passes"] for name, one in found.items()}
    assert passes == {"prevalence": 1, "vit": 4, "pickled": 4, "published": 4, "first": 1}
    assert found["published"]["trained_parameters"] == 0 < found["published"]["parameters"]
    assert found["vit"]["operations"] > 0 < found["published"]["operations"]
    assert found["first"]["chosen"] == f"{QUESTION} Yes/No"
    for name in ("vit", "published", "first"):
        scores = tables.read(folder / f"results/zoo/infer/raw/{name}.parquet", tables.INFER)["score"].to_pylist()
        assert len(set(scores)) > len(scores) / 2 > 10, name
    one, other = (
        tables.read(folder / f"results/zoo/infer/raw/{name}.parquet", tables.INFER)["score"]
        for name in ("vit", "pickled")
    )
    assert one.equals(other)
    metrics = json.loads((folder / "results/zoo/metrics.json").read_text())["zoo"]["classification"]
    assert set(metrics) == set(found)


def test_weights_are_converted_once_and_the_environment_is_found_as_it_was_built(
    study: tuple[Path, str],
    vision_environment: Environment,  # noqa: F811
) -> None:
    folder, said = study
    assert len(re.findall(r"^localrule zoo_convert:$", said, re.MULTILINE)) == 2
    for rule in ("zoo_environment", "zoo_chexagent", "zoo_chexagent_environment"):
        assert len(re.findall(rf"^localrule {rule}:$", said, re.MULTILINE)) == 1
    record = json.loads((folder / "results/weights/zoo/vision_environment.json").read_text())
    assert record["kind"] == "layered" and record["locks"] == vision_environment.locks
    weights = [path.parent for path in (folder / "results/weights/zoo").glob("*/model.safetensors")]
    told = {path.name.partition("-")[0]: json.loads((path / "config.json").read_text()) for path in weights}
    assert {one["converted_from"]["file"] for one in told.values()} == {"own.pt", "tiny.pt"}
    assert told["own.pt"]["targets"] == vision_folders.TARGETS and told["tiny.pt"]["architecture"] == "test_vit"

"""A random tiny base and a few noise images to train it on: fixtures (named in conftest.py) and what goes with them."""

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.lib.core import documents, files, tables
from stages.lib.core.params import parse
from stages.lib.demo import tiny
from stages.lib.detect import driver
from stages.lib.models import gemma3, prompts, snapshot
from stages.lib.models.snapshot import Snapshot
from stages.nodules.train import Params
from stages.nodules.train import main as train_main

PROMPT = prompts.PromptParams(question="Is there a nodule?", answers="Yes/No", image_first=True)
EXACT = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="none", cache_features=False)
NF4 = gemma3.ModelParams(dtype="float32", attention="sdpa", quantization="nf4", cache_features=False)
TRAIN = {
    "sampler": "balanced_rotation",
    "positive_weight": 1.0,
    "lora_r": 4,
    "lora_alpha": 8.0,
    "lora_dropout": 0.1,
    "lora_target_modules": "all-linear",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.01,
    "warmup_ratio": 0.25,
    "max_steps": 4,
    "max_grad_norm": 0.3,
    "weight_decay": 0.0,
    "gradient_checkpointing": False,
    "shifts": 1,
    "eval_steps": 2,
    "save_steps": 2,
    "select_by": "last",
    "patience": 0,
    "save_total_limit": 3,
    "dataloader_num_workers": 0,
    "seed": 1,
}


MODEL = asdict(NF4)
ASKED = asdict(PROMPT)


def train_params(**changes) -> Params:
    return parse({"train": {**TRAIN, **changes}}, {"train": Params}).train


def localizer_setting(folder: Path, model_folder: Path, model: gemma3.ModelParams) -> driver.Setting:
    """What a localizer gets that runs on the base model in `model_folder`; its record is written to `folder`."""
    record = Snapshot(base="tiny", revision="none", commit=None, folder=model_folder, sha256="0" * 64, files={})
    documents.write(folder / "base.json", record)
    return driver.Setting(
        model=model,
        base=str(folder / "base.json"),
        fetched=None,
        environment=None,
        journals=None,
        preprocessing_hash="",
    )


def noise_images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, tiny.SIDE_PX, tiny.SIDE_PX), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Snapshot:
    """A random tiny base, with the record that fetch writes of one."""
    folder = tmp_path_factory.mktemp("base")
    tiny.build(folder / "model", seed=0)
    digest = files.sha256_file(folder / "model/model.safetensors")
    record = Snapshot(
        base="tiny",
        revision="none",
        commit=None,
        folder=folder / "model",
        sha256=digest,
        files={"model.safetensors": digest},
    )
    documents.write(folder / "fetch.json", record)
    return snapshot.read(folder / "fetch.json")


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory, tiny_base) -> Path:
    """A results folder with 26 normalized noise images of two sources: manifest, normalized, split, fetch.json."""
    results = tmp_path_factory.mktemp("results")
    (results / "normalized").mkdir()
    rows: dict[str, list[dict]] = {"manifest": [], "normalized": [], "split": []}
    for number, image in enumerate(noise_images(26, seed=7)):
        image_id, source = f"image{number:02d}", "lidc" if number >= 22 else "nih"
        label = int(source == "lidc" or number % 4 == 0)
        cv2.imwrite(str(results / f"normalized/{image_id}.png"), image)
        rows["manifest"].append(
            {"image_id": image_id, "file_name": f"{image_id}.png", "path": f"{image_id}.png", "source": source}
            | {"patient_id": image_id, "label": label, "status": "ok"}
        )
        rows["normalized"].append(
            {"image_id": image_id, "png": f"normalized/{image_id}.png", "low": 0.0, "high": 255.0, "scale": 1.0}
            | {"pad_x_px": 0, "pad_y_px": 0, "side_px": tiny.SIDE_PX, "preprocessing_hash": "c0ffee"}
        )
        split = "train" if number < 14 else "val" if number < 19 else "test"
        rows["split"].append({"image_id": image_id, "patient_id": image_id, "label": label, "split": split})
    for name, found in rows.items():
        schema = tables.SCHEMAS[name]
        tables.write(results / f"{name}.parquet", tables.from_rows(found, schema), schema)
    documents.write(results / "fetch.json", tiny_base)
    return results


def train_options(study: Path, out: Path, model=MODEL, **changes) -> list[str]:
    """The options of stages.nodules.train, for the images of `study`."""
    sections = {"train": {**TRAIN, **changes}, "cohort": {"sources": ["nih"]}, "model": model, "prompt": ASKED}
    named = {name: study / f"{name}.parquet" for name in ("manifest", "normalized", "split")}
    named |= {"base": study / "fetch.json", "results": study, "params": json.dumps({"nodules": sections})}
    named |= {"checkpoints": out / "checkpoints", "adapter": out / "adapter"}
    named |= {"features": out / "features", "live": out / "live"}
    named |= {"log": out / "train.json", "curve": out / "curve.csv"}
    return [text for name, value in named.items() for text in (f"--{name}", str(value))]


@pytest.fixture(scope="session")
def trained(tiny_study, tmp_path_factory) -> Path:
    """What the stage writes for four steps of QLoRA on NF4 weights."""
    out = tmp_path_factory.mktemp("trained")
    train_main(train_options(tiny_study, out))
    return out

"""Small studies that an image network can learn in seconds, rows of the kind tuned, and settings to fit them in."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zoo_features

from stages.lib.demo import untrained
from stages.lib.learn.candidate import Inputs, Setting
from stages.lib.learn.zoo import tuned
from stages.lib.models.snapshot import Snapshot

SIDE = 32
ROW: dict[str, Any] = {
    "library": "transformers",
    "source": "some/folder",
    "revision": "none",
    "architecture": "ResNetForImageClassification",
    "side_px": SIDE,
    "shifts": 1,
    "start": "pretrained",
    "loss": "asymmetric",
    "gamma_negative": 2.0,
    "gamma_positive": 0.0,
    "clip": 0.05,
    "sampler": "balanced_rotation",
    "average_decay": 0.9,
    "max_shift_fraction": 0.05,
    "max_rotation_degrees": 3.0,
    "mirror": False,
    "max_brightness_fraction": 0.05,
    "max_contrast_fraction": 0.1,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0.003,
    "warmup_ratio": 0.1,
    "max_steps": 6,
    "max_grad_norm": 1.0,
    "weight_decay": 0.01,
    "eval_steps": 2,
    "save_steps": 2,
    "select_by": "average_precision",
    "patience": 0,
    "save_total_limit": 3,
    "dataloader_num_workers": 0,
    "seed": 1,
    "seen": "no",
    "licence": "Apache-2.0",
    "commercial": True,
}


def params(**changes: Any) -> tuned.Params:
    """A row."""
    return tuned.Params(**{**ROW, **changes})


def model(folder: Path, architecture: str = ROW["architecture"], seed: int = 0, side: int = SIDE) -> Snapshot:
    """A tiny model of that class, as `fetch_model` finds it."""
    if not folder.exists():
        untrained.build(folder, architecture, seed, side)
    return snapshot(folder)


def snapshot(folder: Path) -> Snapshot:
    """A model's folder, as `fetch_model` finds it."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return Snapshot(base=str(folder), revision="none", commit=None, folder=folder, sha256=digest, files={})


def images(folder: Path, count: int, seed: int, *, labelled: bool = True, side: int = SIDE) -> Inputs:
    """Images of noise, every third of which has a bright disc on it, somewhere in its middle."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 == 0).astype(np.int64)
    pixels = []
    for number, label in enumerate(labels):
        image = rng.normal(90, 20, (side, side)).clip(0, 255).astype(np.uint8)
        if label:
            where = rng.integers(side // 4, 3 * side // 4, size=2).tolist()
            cv2.circle(image, where, side // 10, 230, -1)
        path = folder / f"{seed}-{number:03}.png"
        cv2.imwrite(str(path), image)
        pixels.append(path)
    names = [f"i{seed}-{number:03}" for number in range(count)]
    patients = np.array([f"p{name}" for name in names])
    return Inputs(ids=names, patients=patients, labels=labels if labelled else None, pixels=pixels)


def setting(work: Path, found: Snapshot | None, val: Inputs, train: Inputs | None = None, **changes: Any) -> Setting:
    """What `fit` and `score` get."""
    from dataclasses import replace

    return replace(zoo_features.setting(val, train, work), found=found, **changes)

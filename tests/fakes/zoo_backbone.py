"""A backbone by hand, whose tokens a reader can compute: numbers of the grey values of each patch."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from stages.lib.core import kinds, tables
from stages.lib.models import embedding
from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting, Facts, Tokens
from stages.lib.models.snapshot import Snapshot

SIDE, PATCH, FEATURES = 32, 8, 5
ROWS = SIDE // PATCH
HASH = "c0ffee" + "0" * 58
BACKBONE = {
    "library": "transformers",
    "source": "a/model",
    "revision": "main",
    "architecture": "Dinov2Model",
    "side_px": SIDE,
    "shifts": 1,
}
MODEL = {"dtype": "float32", "attention": "sdpa", "quantization": "none", "cache_features": False}
EMBED = {"batch_size": 4, "readers": 0, "negative_images": 2, "seed": 1}
SELECT = {"splits": ["val"], "max_prompts": 1, "negative_images": 1, "false_points_per_image": 0.25, "seed": 1}


def patches(image: np.ndarray) -> np.ndarray:
    """Tokens of an image, float32 of shape (ROWS, ROWS, FEATURES): mean, deviation and corners of each patch."""
    cells = image.astype(np.float32).reshape(ROWS, PATCH, ROWS, PATCH).swapaxes(1, 2)  # (row, column, PATCH, PATCH)
    corner, last = cells[..., 0, 0], cells[..., -1, -1]
    return np.stack([cells.mean((2, 3)), cells.std((2, 3)), corner, last, corner - last], axis=-1).astype(np.float32)


class ByHand:
    """The library: `load` and the passes that were made by what it loaded."""

    def __init__(self, change=lambda tokens: tokens) -> None:
        self.loads: list[BackboneSetting] = []
        self.passes: list[np.ndarray] = []
        self.change = change

    def load(self, params: BackboneParams, setting: BackboneSetting) -> Backbone:
        """The backbone, which sees one image at a time."""
        self.loads.append(setting)
        return Backbone(facts(), self.tokens)

    def tokens(self, images: Sequence[np.ndarray]) -> Tokens:
        """Tokens of images, and a prefix token that is far from all of them."""
        self.passes += images
        made = np.stack([self.change(patches(image)) for image in images])
        return Tokens(made, np.full((len(images), 1, FEATURES), 999.0, np.float32))


def facts(**changed) -> Facts:
    """What the backbone says of itself."""
    known = {"architecture": "ByHand", "identity": "by hand", "parameters": 7, "operations": 14.0, "patch_px": PATCH}
    known |= {"features": FEATURES, "rows": ROWS, "prefix": 1, "random_weights": True}
    return Facts(**(known | changed))


def plant(patch, library: ByHand) -> ByHand:
    """Let the library be the one that every row names; `patch(object, name, value)` is pytest's or setattr."""
    found = kinds.module
    patch(kinds, "module", lambda package, kind: library if package == kinds.BACKBONES else found(package, kind))
    patch(embedding, "closure", lambda module: [])
    return library


def study(folder: Path, images: int = 12) -> Path:
    """Results folder with images, split, manifest, points and the record of a model; every third image is positive."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    normalized, split, manifest = [], [], []
    for number in range(images):
        name, patient = f"i{number:03d}", f"p{number // 2}"
        png = folder / f"{name}.png"
        png.write_bytes(cv2.imencode(".png", rng.integers(0, 256, (SIDE, SIDE), np.uint8))[1].tobytes())
        where = ("train", "train", "val", "val", "test", "test")[number % 6]
        label = None if number == 11 else int(number % 3 == 0)
        source = "lidc" if number == 10 else "nih"
        normalized.append({"image_id": name, "png": png.name, "low": 0.0, "high": 255.0, "scale": 1.0})
        normalized[-1] |= {"pad_x_px": 0, "pad_y_px": 0, "side_px": SIDE, "preprocessing_hash": HASH}
        split.append({"image_id": name, "patient_id": patient, "label": label, "split": where})
        manifest.append({"image_id": name, "file_name": png.name, "path": str(png), "source": source, "label": label})
        manifest[-1] |= {"patient_id": patient, "status": "ok", "notices": []}
    points = [{"image_id": "i006", "point": 0, "x": 3.0, "y": 4.0}]
    for name, rows in (("normalized", normalized), ("split", split), ("manifest", manifest), ("points", points)):
        schema = tables.SCHEMAS[name]
        tables.write(folder / f"{name}.parquet", tables.from_rows(rows, schema), schema)
    snapshot(folder / "weights.json", folder)
    return folder


def snapshot(path: Path, folder: Path, sha256: str | None = None) -> None:
    """Record of the model's files."""
    from stages.lib.core import documents

    digest = sha256 or hashlib.sha256(b"weights").hexdigest()
    found = Snapshot(base="a/model", revision="main", commit=None, folder=folder, sha256=digest, files={})
    documents.write(path, found)


def embed_options(
    study: Path, out: Path, *, stage="features", purpose="", without=(), readers=0, model=MODEL, **how
) -> list[str]:
    """Command line of `stages.zoo.embed`, or of `stages.zoo.tokens`.

    Args:
        study: As `study` made it.
        out: The table; its record lies beside.
        stage: features, or tokens.
        purpose: Of tokens.
        without: Options that are left out.
        readers: As the parameter.
        model: Section nodules.model.
        how: Further options if they are paths, or keys of the backbone.
    """
    own = {key: value for key, value in how.items() if key in BACKBONE}
    asked = EMBED | {"readers": readers} | ({"purpose": purpose} if purpose else {})
    document = {
        "zoo": {"backbone": BACKBONE | own, "embed": asked},
        "nodules": {"cohort": {"sources": ["nih"]}, "model": model, "select": SELECT},
    }
    names = ("normalized", "split", "manifest", *(("points",) if stage == "tokens" else ()))
    named = {name: study / f"{name}.parquet" for name in names}
    named |= {"weights": study / "weights.json", "shard": "1-of-1", "results": study, stage: out}
    named |= {"record": out.with_suffix(".json")} | {name: value for name, value in how.items() if name not in own}
    out.parent.mkdir(parents=True, exist_ok=True)
    words = [text for name, v in named.items() if name not in without for text in (f"--{name}", str(v))]
    return ["--params", json.dumps(document), *words]

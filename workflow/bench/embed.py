"""What embedding costs beside the bare forward pass, and the memory of embedding and of reading features.

The pass is that of a vision transformer of DINOv2's class with random weights, at the size that is called tiny: on a
larger one, what stands around the pass is less of the whole.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.core import documents, files, row_groups, tables
from stages.lib.core.feature_tables import FEATURES, STATISTICS
from stages.lib.images import normalized
from stages.lib.learn import feature_files
from stages.lib.models import backbone, embedding
from stages.lib.models.snapshot import Snapshot
from stages.zoo import embed
from workflow.bench.interleave import Interleaved
from workflow.bench.memory import FEW, MANY, peak_mb
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=embed"
SIZES = {"tiny": (192, 12, 224), "least": (32, 1, 56)}  # features, layers, side in pixels
PATCH, HEAD = 14, 32
SEED = 4
ROUNDS, PIECE = 6, 6  # images of a round
MAX_RATIO, MAX_GROWTH = 1.1, 1.1
READ, WIDE = 50_000, 1152  # images and features of MedSigLIP; of two statistics 2,304 numbers an image
MAX_MB, MAX_SECONDS = 4000.0, 60.0


def make(folder: Path, images: int, size: str) -> backbone.BackboneParams:
    """Noise images, their table, and a model with its record, in a folder."""
    import cv2
    import torch
    from transformers import Dinov2Config, Dinov2Model

    width, layers, side = SIZES[size]
    rng = np.random.default_rng(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    known = {"low": 0.0, "high": 255.0, "scale": 1.0, "pad_x_px": 0, "pad_y_px": 0, "side_px": side}
    for number in range(images):
        png = folder / f"{number:06d}.png"
        png.write_bytes(cv2.imencode(".png", rng.integers(0, 256, (side, side), np.uint8))[1].tobytes())
        rows.append({"image_id": png.stem, "png": png.name, "preprocessing_hash": "bench", **known})
    tables.write(folder / "normalized.parquet", tables.from_rows(rows, tables.NORMALIZED), tables.NORMALIZED)
    torch.manual_seed(SEED)
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        image_size=side,
        patch_size=PATCH,
    )
    model = folder / "model"
    Dinov2Model(config).save_pretrained(model)
    greys = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "rescale_factor": 1 / 255}
    files.write_json(model / "preprocessor_config.json", greys)
    digest = files.sha256_file(model / "model.safetensors")
    found = Snapshot(base=str(model), revision="none", commit=None, folder=model, sha256=digest, files={})
    documents.write(folder / "weights.json", found)
    return backbone.BackboneParams(
        library="transformers",
        source=str(model),
        revision="none",
        architecture="Dinov2Model",
        side_px=side,
        shifts=1,
    )


def ratio(folder: Path, rounds: int = ROUNDS, piece: int = PIECE, size: str = "tiny") -> Result:
    """Processor time of embedding over that of the bare pass: reading, pooling, keeping and writing are the rest."""
    import torch

    torch.set_num_threads(1)
    params = make(folder, rounds * piece, size)
    found = documents.read(folder / "weights.json", Snapshot)
    setting = backbone.BackboneSetting(row="bench", found=found)
    table = tables.read(folder / "normalized.parquet", tables.NORMALIZED)
    cache = folder / "kept"
    made = embedding.Embedding(params, setting, "bench", cache)
    library = made.backbone
    images = [normalized.load(folder / png) for png in table["png"].to_pylist()]

    def bare(start: int) -> None:
        for image in images[start : start + piece]:
            library.tokens([image])

    def whole(start: int) -> None:
        shutil.rmtree(cache, ignore_errors=True)
        with row_groups.writing(folder / "features.parquet", FEATURES) as add:
            embed.embed(made, table.slice(start, piece), folder, 0, embed.STATISTICS, add)

    taken = Interleaved(bare, whole).run(range(0, rounds * piece, piece), what="embed")
    width, layers, side = SIZES[size]
    return Result(
        value=taken.value,
        unit="times the bare pass",
        label=MEASURED,
        command=COMMAND,
        low=min(taken.ratios),
        high=max(taken.ratios),
        runs=taken.ratios,
        at_most=MAX_RATIO,
        note=f"Dinov2Model of {width} features and {layers} layers at {side} px, "
        f"{1000 * taken.seconds[0] / piece:.1f} ms an image",
    )


def memory(folder: Path, few: int = FEW, many: int = MANY) -> Result:
    """How much larger the process is that embeds many images than the one that embeds few."""
    sizes = []
    for images in (few, many):
        params = make(folder / str(images), images, "least")
        sizes.append(_peak("embed", str(folder / str(images)), params.side_px))
    return Result(
        value=sizes[1] / sizes[0],
        unit="times the memory",
        label=MEASURED,
        command=COMMAND,
        at_most=MAX_GROWTH,
        note=f"{many} images against {few}: largest resident size {sizes[0]:.0f} and {sizes[1]:.0f} MB",
    )


def reading(folder: Path, images: int = READ, features: int = WIDE) -> dict[str, Result]:
    """Memory and seconds of reading all statistics of many images."""
    write(folder / "features.parquet", images, features)
    peak, seconds = _run("read", str(folder), images)
    note = f"{images} images, {len(STATISTICS)} statistics of {features} features"
    return {
        "embed.reading": Result(
            value=seconds, unit="s", label=MEASURED, command=COMMAND, at_most=MAX_SECONDS, note=note
        ),
        "embed.reading_memory": Result(
            value=peak, unit="MB", label=MEASURED, command=COMMAND, at_most=MAX_MB, note=note
        ),
    }


def write(path: Path, images: int, features: int, group: int = 1000) -> None:
    """Made-up features of many images."""
    rng = np.random.default_rng(SEED)
    path.parent.mkdir(parents=True, exist_ok=True)
    with row_groups.writing(path, FEATURES) as add:
        for start in range(0, images, group):
            n = min(group, images - start)
            columns = {
                "image_id": pa.array([f"{number:06d}" for number in range(start, start + n)]),
                "place": pa.array(np.zeros(n, np.int64)),
                "preprocessing_hash": pa.array(["bench"] * n),
                "prefix": row_groups.halves(np.zeros((n, 0), np.float16)),
            }
            for name in STATISTICS:
                values = rng.standard_normal((n, features), dtype=np.float32).astype(np.float16)
                columns[name] = row_groups.halves(values)
            add(pa.table([columns[name] for name in FEATURES.names], schema=FEATURES.arrow))


def _run(what: str, *given: object) -> tuple[float, float]:
    """Largest size in MB and seconds of a process of its own."""
    command = [sys.executable, "-m", "workflow.bench.embed", json.dumps([what, *given])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return float(peak), float(seconds)


def _peak(what: str, *given: object, runs: int = 2) -> float:
    return statistics.median(_run(what, *given)[0] for _ in range(runs))


def bench() -> dict[str, Result]:
    """All of it, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="noduleflow-bench-") as name:
        folder = Path(name)
        found = {"embed.time": ratio(folder / "time"), "embed.memory": memory(folder / "memory")}
        return found | reading(folder / "reading")


def main(given: Sequence[object]) -> None:
    """Embed, or read, in this process, and say its largest size and the seconds of it."""
    import time

    what, folder, number = str(given[0]), Path(str(given[1])), int(str(given[2]))
    began = time.monotonic()
    if what == "read":
        feature_files.features("bench", [folder / "features.parquet"], [f"{one:06d}" for one in range(number)])
    else:
        found = documents.read(folder / "weights.json", Snapshot)
        params = backbone.BackboneParams(
            library="transformers",
            source=found.base,
            revision="none",
            architecture="Dinov2Model",
            side_px=number,
            shifts=1,
        )
        made = embedding.Embedding(params, backbone.BackboneSetting(row="bench", found=found), "bench", None)
        table = tables.read(folder / "normalized.parquet", tables.NORMALIZED)
        with row_groups.writing(folder / "features.parquet", FEATURES) as add:
            embed.embed(made, table, folder, 2, embed.STATISTICS, add)
    print(json.dumps([peak_mb(), time.monotonic() - began]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Images of the bench: 512 of the demo's kind, made by the pipeline's stages in a temporary folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.data import ingest, normalize, simulate, split
from stages.lib.core import params, tables
from stages.weights import fetch

IMAGES = 512
SEED = 77


@dataclass(frozen=True)
class Study:
    """A results folder that holds images up to `split`, and a base model.

    Attributes:
        folder: The results folder.
        params: The demo's parameters, section by section, with `IMAGES` images.
    """

    folder: Path
    params: Mapping[str, Any]

    @property
    def normalized(self) -> pa.Table:
        """Its table of normalized images."""
        return tables.read(self.folder / "normalized.parquet", tables.NORMALIZED)

    def options(self, *sections: str) -> list[str]:
        """Option that hands these sections to a stage."""
        return ["--params", json.dumps(params.subset(self.params, sections))]

    def named(self, **paths: str) -> list[str]:
        """Options that name files of this study."""
        return [word for name, path in paths.items() for word in (f"--{name}", str(self.folder / path))]


def make(folder: Path, demo: Mapping[str, Mapping[str, Any]]) -> Study:
    """A study of `IMAGES` distinct images, made in `folder`.

    Args:
        folder: Where it goes.
        demo: The demo's parameters; images, patients and seed are changed.
    """
    raw = folder / "simulate"
    changed: dict[str, dict[str, Any]] = {
        "data.simulate": {"seed": SEED, "nih_patients": IMAGES, "max_images_per_patient": 1, "lidc_images": 0}
        | {"lidc_negative_images": 0, "unlabelled_images": 0},
        "data.ingest": {"root": str(raw)},
    }
    sections = [f"{chapter}.{name}" for chapter in ("data", "weights", "nodules") for name in demo[chapter]]
    study = Study(folder, params.subset(demo, sections, changed))
    simulate.main([*study.options("data.simulate"), "--out", str(raw)])
    ingest.main([*study.options("data.ingest"), *study.named(manifest="manifest.parquet", points="points.parquet")])
    normalize.main(
        [
            *study.options("data.normalize"),
            *study.named(manifest="manifest.parquet", folder="normalized/1-of-1", normalized="normalized.parquet"),
            *("--shard", "1-of-1", "--results", str(folder)),
        ]
    )
    split.main([*study.options("data.split"), *study.named(manifest="manifest.parquet", split="split.parquet")])
    fetch.main([*study.options("weights.fetch"), *study.named(out="fetch.json")])
    return study

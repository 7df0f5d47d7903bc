"""Tiny model of a real class with random weights, for rows of the zoo whose real weights a demo cannot have.

It is taught nothing. Its rows in the demo show that a class runs from its folder to the report, at chance.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from stages.lib.core import params
from stages.lib.demo import untrained

WANTED: Mapping[str, params.Section] = {}
FOLDER = None  # made when a study needs it, in less than a second of computing
WEIGHTS = ("model.safetensors",)
ARCHITECTURE = "model with random weights ({parameters:,} parameters, float32),"
ABOUT = """\
not trained at all: config.json says so with "random_weights". It stands in for the real model of its class in the demo
of the zoo and in its tests."""
FEW: Mapping[str, Any] = {}


@params.section
class Params:
    """Which class, and for which images."""

    architecture: Literal[
        "DINOv3ViTModel",
        "Dinov2Model",
        "SiglipModel",
        "EfficientNetForImageClassification",
        "ConvNextV2ForImageClassification",
        "ResNetForImageClassification",
        "Qwen2_5_VLForConditionalGeneration",
    ]
    seed: params.Seed
    side_px: params.Count  # side of the images that it is made for

    def __post_init__(self) -> None:
        step = untrained.STEPS[self.architecture]
        if self.side_px % step:
            raise ValueError(f"side_px {self.side_px}: wanted a multiple of {step}, a patch of {self.architecture}")


def recorded(params: Params, given: SimpleNamespace) -> dict[str, Any]:
    """Parameters that decide the base, as JSON has them."""
    return {"pretrain": json.loads(json.dumps(asdict(params)))}


def pretrain(folder: Path, params: Params, given: SimpleNamespace) -> dict[str, list[float]]:
    """Write the base to `folder`; there are no steps of training, and no losses.

    Args:
        folder: Where to.
        params: See `Params`.
        given: Nothing: no other section is read.
    """
    from stages.lib.models import gemma3

    gemma3.quiet()
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    untrained.build(folder, params.architecture, params.seed, params.side_px)
    return {}

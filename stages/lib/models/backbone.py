"""Interface of backbones: a frozen vision model that makes tokens of images, whatever library it comes from.

A backbone is named by keys of a row of `zoo.models` or `zoo.localizers`. Its library is a module of
`stages.lib.models.backbones` that offers `load(params, setting) -> Backbone`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.models.gemma3 import ModelParams
from stages.lib.models.snapshot import Snapshot

NOT_SEEN = "no"


def seen(value: object) -> object:
    """What a row says of `seen`: YAML 1.1 reads a bare `no` as false, and DVC writes it bare.

    >>> seen(False), seen("labels")
    ('no', 'labels')
    """
    return NOT_SEEN if value is False else value


Seen = Annotated[Literal["labels", "pixels", "no", "unknown"], BeforeValidator(seen)]
LIBRARIES = ("transformers", "medgemma", "timm", "torchxrayvision", "open_clip")
VISION = ("timm", "torchxrayvision", "open_clip")  # of the vision environment, in a process of its own
STUDY_BASE = "base"  # source of the library medgemma: the base model of the study


@params.section
class Row:
    """What every row of `zoo.models` says."""

    seen: Seen  # whether the weights have seen ChestX-ray14: with its labels, its pixels alone, not, or nobody tells
    licence: params.Text  # of the weights
    commercial: bool  # whether that licence allows commercial use


@params.section
class BackboneParams:
    """Which vision model, and how it is shown images."""

    library: Literal["transformers", "medgemma", "timm", "torchxrayvision", "open_clip"]
    source: params.Text  # hub id or folder; or a pickled file, see stages.weights.convert; base: the study's (medgemma)
    revision: params.Text  # commit, tag or branch on the hub; none for a folder
    architecture: params.Text  # class of the model, such as Dinov2Model; timm: name of the model
    side_px: params.Count  # side of the square that it is shown, made from the original
    shifts: params.Count  # places along a side of a patch; each image is seen at shifts x shifts places

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if (self.library == "medgemma") != (self.source == STUDY_BASE):
            raise ValueError(
                f"library {self.library} with source {self.source!r}; wanted source {STUDY_BASE!r} for medgemma, and "
                "for it alone"
            )


@dataclass(frozen=True, kw_only=True)
class BackboneSetting:
    """Inputs of a library beside the parameters of a row.

    Attributes:
        row: Name of the row, for errors.
        found: The model's files, by `weights.fetch_model` (of medgemma, by `weights.fetch`).
        model: How MedGemma is held, `nodules.model`; None for others.
        environment: Record of the vision environment; None for libraries of the locked one.
        work: Folder for the private files of a worker process; None for libraries of the locked environment.
    """

    row: str
    found: Snapshot
    model: ModelParams | None = None
    environment: Path | None = None
    work: Path | None = None


@dataclass(frozen=True)
class Tokens:
    """What a backbone makes of n images.

    Attributes:
        patches: Patch tokens, float32 of shape (n, rows, columns, features); of a CNN the cells of its last map.
        prefix: Tokens that are no patches (CLS, registers, pooled), float32 of shape (n, p, features), p from 0.
        projected: Of MedGemma: what the same pass gives to the language model, tensor of shape (n, image tokens,
            hidden) in the model's own type; None of others.
    """

    patches: np.ndarray
    prefix: np.ndarray
    projected: Any = None


def finite(tokens: Tokens, row: str) -> Tokens:
    """The tokens themselves.

    Args:
        tokens: What a pass gave.
        row: Name of the row, for the error.

    Raises:
        ModelError: If a number of them is NaN or infinite.
    """
    axes = (1, 2, 3), (1, 2)
    both = zip((tokens.patches, tokens.prefix), axes, strict=True)
    whole = np.all([np.isfinite(part).all(axis=inside) for part, inside in both], axis=0)  # (n,)
    if not whole.all():
        raise ModelError(
            f"{row}: found NaN or infinite tokens of {int((~whole).sum())} of {len(whole)} images, wanted numbers: are "
            "the weights whole, and of the class that the row names?"
        )
    return tokens


@dataclass(frozen=True)
class Facts:
    """What a backbone is, for records and the table of costs.

    Attributes:
        architecture: Class of the model.
        identity: What decides its tokens beside the image: weights, libraries, type of numbers, device.
        parameters: Number of its parameters, those of the vision side alone.
        operations: Floating-point operations of one image in one pass, two per multiply-add, counted on meta tensors;
            None where they cannot be counted.
        features: Width of a token.
        rows: Rows of patch tokens; columns are as many.
        prefix: Number of prefix tokens.
        patch_px: Side of the square of pixels that a patch token stands for: its patch, or a CNN's stride.
        random_weights: Whether its folder says that its weights are random.
    """

    architecture: str
    identity: str
    parameters: int
    operations: float | None
    features: int
    rows: int
    prefix: int
    patch_px: int
    random_weights: bool


@dataclass(frozen=True)
class Backbone:
    """A vision model, loaded.

    Attributes:
        facts: What it is.
        tokens: Takes n normalized images, uint8 arrays of shape (side_px, side_px). An image's tokens do not depend on
            the others of its batch beyond rounding.
        close: Ends what it holds beside memory, such as a worker process.
        cache: Of MedGemma: takes the folder of vision features and the images' preprocessing hash; returns the
            `features.Store` that `train` fills, whose `put(png, shift, projected)` keeps what a pass gave, or None
            where `cache_features` is off. None of others.
    """

    facts: Facts
    tokens: Callable[[Sequence[np.ndarray]], Tokens]
    close: Callable[[], None] = lambda: None
    cache: Callable[[Path, str], Any] | None = None

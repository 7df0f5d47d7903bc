"""Image classifiers of one logit: a vision model of transformers with a new linear head, all of it trainable.

torch is imported here: import it where it is needed. A CNN's head reads what its own classifier's does, the pooled map;
that of a transformer reads the CLS token beside the mean of the patches, as a small nodule fills few patches and CLS
may have lost it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError
from stages.lib.images import normalized
from stages.lib.models import gemma3, model_class, operations, preprocessor
from stages.lib.models.backbone import BackboneParams, BackboneSetting
from stages.lib.models.backbones import transformers as backbones
from stages.lib.models.classify import Classifier
from stages.lib.models.snapshot import Snapshot

FILE, WEIGHTS = "network.json", "network.safetensors"
CNNS = (
    "EfficientNetForImageClassification",
    "ConvNextForImageClassification",
    "ConvNextV2ForImageClassification",
    "ResNetForImageClassification",
)
TOKENS = ("DINOv3ViTModel", "DINOv3ConvNextModel", "Dinov2Model", "Dinov2WithRegistersModel")
ARCHITECTURES = (*CNNS, *TOKENS)
HEAD_SPREAD = 0.02  # deviation of a new head's weights
FROZEN = "mask_token"  # of pretraining: no image uses it
Start = Literal["pretrained", "random"]


@params.section
class Described:
    """What the weights beside it are, network.json."""

    written_by: ClassVar[str] = "zoo.fit"

    architecture: params.Text
    config: params.Text  # of the vision model, JSON
    side_px: params.Count
    random_weights: bool  # whether training began with random weights


@dataclass(frozen=True)
class Loaded:
    """A network in memory.

    Attributes:
        network: The module.
        described: What it is.
        row: Name of the row, for errors.
        notes: What a report has to say of how it began.
    """

    network: "Network"
    described: Described
    row: str
    notes: tuple[str, ...] = ()

    @property
    def patch_px(self) -> int:
        """Side of a patch, or a CNN's stride, in pixels of the image: shifts are parts of it."""
        return self.network.patch_px

    @property
    def operations(self) -> float:
        """Floating-point operations of one image in one pass, counted from the configuration alone."""
        with torch.device("meta"):
            made = _built(self.described.architecture, self.described.config).eval()
            side = self.described.side_px
            pixels = torch.zeros((1, made.greys.shape[0], side, side))

        def work() -> None:
            with torch.no_grad():
                made.of_pixels(pixels)

        return operations.count(work)


class Network(nn.Module):
    """A vision model and a linear head, from grey values to a logit.

    Args:
        inner: The vision model, of a class of transformers without a head.
        architecture: One of `ARCHITECTURES`.
    """

    def __init__(self, inner: Any, architecture: str) -> None:
        super().__init__()
        self.inner, layout, config = inner, backbones.LAYOUTS[architecture], inner.config
        self.prefix, self.patch_px = layout.prefix(config), int(layout.cell_px(config))
        self.tokens = architecture in TOKENS
        width = _width(config)
        self.dropout = nn.Dropout(float(getattr(config, "dropout_rate", 0.0)) if architecture in CNNS else 0.0)
        self.head = nn.Linear(2 * width if self.tokens else width, 1)
        self.greys: Tensor
        self.register_buffer("greys", torch.zeros(config.num_channels, 256))

    def forward(self, images: Tensor) -> Tensor:
        """Logit of each image, float tensor of shape (n,).

        Args:
            images: Normalized images, uint8 tensor of shape (n, side, side).
        """
        return self.of_pixels(self.greys[:, images.long()].transpose(0, 1).contiguous())

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """The same of pixels as the vision model takes them, (n, channels, side, side)."""
        out = self.inner(pixel_values=pixels)
        if self.tokens:
            sequence = out.last_hidden_state  # (n, prefix + patches, features)
            pooled = torch.cat([sequence[:, 0], sequence[:, self.prefix :].mean(dim=1)], dim=1)  # (n, 2 features)
        else:
            pooled = out.pooler_output.flatten(1)  # (n, features)
        found: Tensor = self.head(self.dropout(pooled))
        return found[:, 0]


def _width(config: Any) -> int:
    """Features of a token, or of a CNN's last map."""
    if hasattr(config, "hidden_sizes"):
        return int(config.hidden_sizes[-1])
    return int(config.hidden_dim if hasattr(config, "hidden_dim") else config.hidden_size)


def start(wanted: BackboneParams, row: str, found: Snapshot, how: Start, seed: int) -> Loaded:
    """A network as it is before training, on the CPU or the GPU; torch's generators stay as they were.

    Args:
        wanted: Class and side.
        row: Name of the row, for errors.
        found: The model's files.
        how: From the weights of the files, or from random ones of the same configuration.
        seed: Of the head, and of random weights.

    Raises:
        ModelError: If the class cannot be tuned, the folder does not hold it whole, or the patch does not divide the
            side.
    """
    problems = []
    if wanted.library != "transformers":
        problems.append(f"library {wanted.library}, wanted transformers")
    if wanted.architecture not in ARCHITECTURES:
        problems.append(f"architecture {params.unknown(wanted.architecture, ARCHITECTURES)}")
    if problems:
        raise ModelError(f"{row}: cannot be tuned: {'; '.join(problems)}")
    seen = backbones.examine(wanted, BackboneSetting(row=row, found=found))
    document = model_class.check(found.folder, seen.layout.within, row)
    config = json.dumps(seen.config.to_dict(), sort_keys=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with model_class.reading(found.folder, wanted.architecture, row):
            network = _built(wanted.architecture, config)
        if how == "pretrained":
            network.inner = model_class.load(found.folder, seen.layout.loads, row, beside=seen.layout.beside)
        else:
            liven(network.inner)
        nn.init.trunc_normal_(network.head.weight, std=HEAD_SPREAD)
        nn.init.zeros_(network.head.bias)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.endswith(FROZEN))
    network.greys.copy_(torch.from_numpy(seen.greys))
    random = how == "random" or seen.random_weights
    described = Described(
        architecture=wanted.architecture, config=config, side_px=wanted.side_px, random_weights=random
    )
    return Loaded(network.to(_device()), described, row, _notes(how, seen.random_weights, wanted, document))


def _notes(how: Start, untaught: bool, wanted: BackboneParams, document: Any) -> tuple[str, ...]:
    if how == "random":
        return (f"Training began with random weights of the class {wanted.architecture}, not with a pretrained model.",)
    notes = []
    if untaught:
        notes.append(f"Training began with random weights: {wanted.source} was never trained, as its config.json says.")
    if wanted.architecture in CNNS:
        outputs = len(document.get("id2label") or ()) or 2  # as transformers writes it: two are not told
        notes.append(f"The checkpoint's own classification head ({outputs} outputs) was dropped for one of one logit.")
    return tuple(notes)


def liven(model: nn.Module) -> None:
    """Values that let outputs depend on inputs where those that EfficientNet begins with do not: its norms are near 0.

    Source: He et al., Delving Deep into Rectifiers, 2015, for the convolutions; norms begin with the factor 1.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and type(model).__name__.startswith("EfficientNet"):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)


def _built(architecture: str, config: str) -> Network:
    """Network of a configuration, whose weights are random."""
    gemma3.quiet()
    import transformers

    cls = getattr(transformers, backbones.LAYOUTS[architecture].loads)
    return Network(cls(cls.config_class.from_dict(json.loads(config))).float(), architecture)


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def write(loaded: Loaded, folder: Path) -> None:
    """Write a network, its weights and what they are."""
    describe(loaded, folder)
    write_weights(loaded.network, folder / WEIGHTS)


def describe(loaded: Loaded, folder: Path) -> None:
    """Write what weights are that are put beside it."""
    documents.write(folder / FILE, loaded.described)


def write_weights(network: nn.Module, path: Path) -> None:
    """Write parameters and buffers."""
    from safetensors.torch import save_file

    save_file({name: one.detach().contiguous().cpu() for name, one in network.state_dict().items()}, path)


def read_weights(network: nn.Module, path: Path, row: str) -> None:
    """Fill a network with weights that were written, all of them and no others.

    Raises:
        ModelError: If the file is missing or damaged, or has not exactly the weights of the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{row}: {path}: damaged ({error}); run zoo.fit of this row again") from error
    wanted = network.state_dict()
    problems = [f"lacks {name}" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"has {name}, which the network has not" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"has {name} of shape {list(found[name].shape)}, wanted {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name].shape != wanted[name].shape
    ]
    if problems:
        raise ModelError(
            f"{row}: {path}: {'; '.join(problems[:3])} ({len(problems)} such); wanted all weights and no others, as "
            "layers without weights would be random: run zoo.fit of this row again"
        )
    network.load_state_dict(found)


def described(folder: Path) -> Described:
    """What a folder holds.

    Raises:
        DocumentError: If there is no network.
    """
    return documents.read(folder / FILE, Described, "fit this row again")


def read(folder: Path, row: str) -> Loaded:
    """Network that was written to a folder, in eval mode, on the GPU if there is one.

    Raises:
        DocumentError: If there is none.
        ModelError: If its class is unknown, or its weights are not all and only those of the class.
    """
    told = described(folder)
    if told.architecture not in ARCHITECTURES:
        raise ModelError(f"{row}: {folder}: architecture {params.unknown(told.architecture, ARCHITECTURES)}")
    with torch.random.fork_rng(devices=[]):
        network = _built(told.architecture, told.config)
    read_weights(network, folder / WEIGHTS, row)
    return Loaded(network.to(_device()).eval(), told, row)


def classifier(loaded: Loaded) -> Classifier:
    """A network that is asked about images: logits 0 and its own, and nothing beside the two."""
    network, side, row = loaded.network, loaded.described.side_px, loaded.row

    def logits(images: Sequence[np.ndarray]) -> np.ndarray:
        preprocessor.check_sides(images, side, row)
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            found = network(torch.from_numpy(np.stack(images)).to(network.greys.device)).double().cpu().numpy()
        return np.stack([np.zeros(len(found)), found, np.ones(len(found))], axis=1)  # (n, 3)

    return Classifier(logits=logits, load=normalized.load, token_px=loaded.patch_px)

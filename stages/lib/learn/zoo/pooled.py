"""Learned pooling of frozen patch tokens: gated attention, or the log-sum-exp of the patches' logits.

An image is a bag of patches of which one may show the nodule. Gated attention learns which patches count and takes the
logit of their weighted mean; log-sum-exp gives each patch a logit and takes a soft maximum of them. In training an
image is seen at a random place each time; its score is the mean of the logits of all its places.

Source: Ilse et al., ICML 2018, equations 7 and 9 (gated attention); Pinheiro & Collobert, CVPR 2015, equation 6
(log-sum-exp).
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import documents, params
from stages.lib.core.errors import ModelError, TrainingError
from stages.lib.core.progress import track
from stages.lib.learn.candidate import Fitted, Inputs, Scores, Setting, Tried, of_one
from stages.lib.metrics import binary
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models.backbone import BackboneParams, Row

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

READS = "tokens"
FILE, WEIGHTS = "pooled.json", "pooled.safetensors"
NEAR = 1024  # images whose order is shuffled together, so that tokens are read from the disk row group by row group
READ_AT_ONCE = 64  # images


@params.section
class Params(Row, BackboneParams):
    """How the pooling is learned; what is a list is tried on validation images."""

    method: Literal["attention", "log_sum_exp"]
    width: params.NonNegativeInt  # of the attention's hidden layer; 0 with log_sum_exp
    sharpness: params.NonNegativeFloat  # r of log-sum-exp: more is nearer to the largest alone; 0 with attention
    learning_rates: tuple[params.PositiveFloat, ...]
    weight_decay: params.NonNegativeFloat
    epochs: params.Count  # the best of them on validation is kept
    batch_size: params.Count  # images in one step
    repeats: params.Count  # trainings from other random weights, whose logits are averaged
    seed: params.Seed

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        BackboneParams.__post_init__(self)
        wrong = []
        attention = self.method == "attention"
        if attention != (self.width > 0) or attention == (self.sharpness > 0):
            wrong.append(
                f"width {self.width} and sharpness {self.sharpness:g} with method {self.method}; wanted a width alone "
                "with attention, a sharpness alone with log_sum_exp"
            )
        if not self.learning_rates:
            wrong.append("learning_rates that is empty, wanted one or more")
        if wrong:
            raise ValueError("; ".join(wrong))


@params.section
class Shape:
    """What the weights beside it are, pooled.json."""

    written_by: ClassVar[str] = "zoo.fit"

    method: Literal["attention", "log_sum_exp"]
    features: params.Count
    width: params.NonNegativeInt
    sharpness: params.NonNegativeFloat
    repeats: params.Count
    centre: tuple[float, ...]  # of each feature, over the patches of training images
    scale: tuple[float, ...]


def network(method: str, features: int, width: int, sharpness: float) -> "Module":
    """Module that takes standardized patch tokens, (n, patches, features), and returns a logit of each image, (n,).

    >>> import torch
    >>> pooling = network("log_sum_exp", 1, 0, 2.0)
    >>> _ = torch.nn.init.constant_(pooling.head.weight, 1.0), torch.nn.init.zeros_(pooling.head.bias)
    >>> f"{pooling(torch.tensor([[[0.0], [1.0]]])).item():.3f}"  # ln((e^0 + e^2) / 2) / 2
    '0.717'
    """
    import torch
    from torch import nn

    class Attention(nn.Module):
        """Gated attention."""

        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate = nn.Linear(features, width), nn.Linear(features, width)
            self.weight, self.head = nn.Linear(width, 1, bias=False), nn.Linear(features, 1)

        def forward(self, tokens: "Tensor") -> "Tensor":
            gated = torch.tanh(self.value(tokens)) * torch.sigmoid(self.gate(tokens))  # (n, patches, width)
            weights = torch.softmax(self.weight(gated)[..., 0], dim=1)  # (n, patches)
            pooled = torch.einsum("np,npf->nf", weights, tokens)  # (n, features)
            return self.head(pooled)[:, 0]

    class LogSumExp(nn.Module):
        """Soft maximum of the patches' logits."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(features, 1)

        def forward(self, tokens: "Tensor") -> "Tensor":
            logits = self.head(tokens)[..., 0]  # (n, patches)
            count = torch.tensor(float(logits.shape[1]))
            return (torch.logsumexp(sharpness * logits, dim=1) - torch.log(count)) / sharpness

    return Attention() if method == "attention" else LogSumExp()


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Train the pooling with each learning rate, and keep the best epoch of the best of them on validation images.

    Raises:
        ModelError: If tokens are missing or do not vary.
        TrainingError: If average precision is undefined on validation images, or the loss is not finite.
    """
    train, val = setting.train, setting.images
    if train is None or train.labels is None or val.labels is None or train.tokens is None or val.tokens is None:
        raise TrainingError(f"{setting.row}: wanted training and validation images with labels and patch tokens")
    if len(np.unique(val.labels)) < 2:
        raise TrainingError(
            f"{setting.row}: average precision is undefined on the validation images, wanted both classes"
        )
    centre, scale = _spread(train, setting.row)
    features = len(centre)
    known = _Standardized(val, centre, scale)
    tried: list[Tried] = []
    best: tuple[float, list[dict[str, Any]], str] | None = None
    for rate in params.learning_rates:
        repeats = [
            _train(params, setting.row, train, known, val.labels, (centre, scale), rate, params.seed + number)
            for number in track(range(params.repeats), total=params.repeats, what="poolings")
        ]
        logits = np.mean([_logits(_loaded(params, features, state), known) for state, _ in repeats], axis=0)
        precision = binary.average_precision(val.labels, logits)
        epochs = ", ".join(str(epoch) for _, epoch in repeats)
        option = f"{params.method}, learning rate {rate:g}"
        tried.append(Tried(option=option, average_precision=precision, note=f"best epochs {epochs}"))
        if best is None or precision > best[0]:
            best = precision, [state for state, _ in repeats], option
    if best is None:
        raise TrainingError(f"{setting.row}: nothing was tried")
    _, states, chosen = best
    _save(folder, states)
    shape = Shape(
        method=params.method,
        features=features,
        width=params.width,
        sharpness=params.sharpness,
        repeats=params.repeats,
        centre=tuple(map(float, centre)),
        scale=tuple(map(float, scale)),
    )
    documents.write(folder / FILE, shape)
    trained = sum(values.numel() for state in states for values in state.values())
    return Fitted(tried=tuple(tried), chosen=chosen, trained_parameters=trained, passes=params.shifts**2)


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """Probability of a nodule, of each image.

    Raises:
        DocumentError: If the pooling is not there.
        ModelError: If its weights are damaged, or the tokens are others than it was fitted to.
    """
    told = documents.read(folder / FILE, Shape)
    images = setting.images
    if images.tokens is None:
        raise ModelError(f"{setting.row}: found no patch tokens, wanted those of zoo.tokens")
    if len(images) and images.tokens.shape[-1] != told.features:
        raise ModelError(
            f"{setting.row}: found tokens of {images.tokens.shape[-1]} features, wanted {told.features}, as it was "
            "fitted to; run zoo.fit of this row again"
        )
    known = _Standardized(images, np.array(told.centre, np.float32), np.array(told.scale, np.float32))
    states = _load(folder, told, setting.row)
    modules = [_filled(network(told.method, told.features, told.width, told.sharpness), state) for state in states]
    logits = np.mean([_logits(module, known, 1) for module in modules], axis=0) if len(images) else np.zeros(0)
    return Scores(score=sigmoid(logits), logits=of_one(logits))


class _Standardized:
    """Standardized patch tokens of images, read as they are asked for."""

    def __init__(self, images: Inputs, centre: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        self.tokens, self.centre, self.scale = images.tokens, centre, scale
        self.count = len(images)
        self.places = images.tokens.shape[0] if self.count else 1

    def of(self, numbers: NDArray[np.intp]) -> NDArray[np.float32]:
        """Tokens of images by number, shape (n, places, patches, features)."""
        raw = np.stack([self.tokens[int(number)] for number in numbers])  # (n, places, rows, columns, features)
        flat = raw.reshape(len(raw), raw.shape[1], -1, raw.shape[-1])
        return np.asarray((flat.astype(np.float32) - self.centre) / self.scale, np.float32)


def _spread(images: Inputs, row: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each feature over the patches of training images, in one pass, double precision.

    Raises:
        ModelError: If no feature varies.
    """
    count, total, square = 0, 0.0, 0.0
    for number in range(len(images)):
        cells = images.tokens[number].reshape(-1, images.tokens.shape[-1]).astype(np.float64)
        count += len(cells)
        total = total + cells.sum(axis=0)
        square = square + np.einsum("cf,cf->f", cells, cells)
    mean = np.asarray(total / max(count, 1))
    variance = np.maximum(np.asarray(square / max(count, 1)) - mean**2, 0.0)
    if not variance.any():
        raise ModelError(f"{row}: all features of its patch tokens are constant, wanted features that vary")
    deviation = np.sqrt(variance)
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)


def _train(
    params: Params,
    row: str,
    train: Inputs,
    val: _Standardized,
    val_labels: NDArray[np.int64],
    scaling: tuple[NDArray[np.float32], NDArray[np.float32]],
    rate: float,
    seed: int,
) -> tuple[dict[str, Any], int]:
    """Weights of the best epoch on validation images, and its number.

    Raises:
        TrainingError: If the loss is not finite.
    """
    import torch

    known = _Standardized(train, *scaling)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = network(params.method, len(scaling[0]), params.width, params.sharpness)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=params.weight_decay)
    labels = np.asarray(train.labels, np.float32)
    best: tuple[float, dict[str, Any], int] | None = None
    for epoch in range(1, params.epochs + 1):
        for numbers in _batches(len(train), params.batch_size, rng):
            tokens = known.of(numbers)
            seen = tokens[np.arange(len(numbers)), rng.integers(tokens.shape[1], size=len(numbers))]
            logits = module(torch.from_numpy(seen))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[numbers]))
            if not bool(torch.isfinite(loss)):
                raise TrainingError(f"{row}: the loss is not finite with learning rate {rate:g}; wanted a lower one")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        precision = binary.average_precision(val_labels, _logits(module, val))
        if best is None or precision > best[0]:
            best = precision, copy.deepcopy(module.state_dict()), epoch
    if best is None:
        raise TrainingError(f"{row}: no epoch was trained")
    return best[1], best[2]


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Numbers of images in random order: blocks of neighbours are shuffled, and the images within a block."""
    starts = rng.permutation(np.arange(0, count, NEAR))
    order = np.concatenate([rng.permutation(np.arange(start, min(start + NEAR, count))) for start in starts])
    for start in range(0, count, size):
        yield order[start : start + size]


def _logits(module: "Module", images: _Standardized, at_once: int = READ_AT_ONCE) -> NDArray[np.float64]:
    """Mean logit over the places of each image, shape (n,); each image alone gives the same bits in any shard."""
    import torch

    found = []
    for start in range(0, images.count, at_once):
        tokens = images.of(np.arange(start, min(start + at_once, images.count)))
        flat = torch.from_numpy(tokens.reshape(-1, *tokens.shape[2:]))
        with torch.inference_mode():
            found.append(module(flat).double().numpy().reshape(len(tokens), -1).mean(axis=1))
    return np.concatenate(found) if found else np.zeros(0)


def _loaded(params: Params, features: int, state: dict[str, Any]) -> "Module":
    return _filled(network(params.method, features, params.width, params.sharpness), state)


def _filled(module: "Module", state: dict[str, Any]) -> "Module":
    module.load_state_dict(state)
    return module.eval()


def _save(folder: Path, states: list[dict[str, Any]]) -> None:
    from safetensors.torch import save_file

    named = {f"{number}.{name}": values for number, state in enumerate(states) for name, values in state.items()}
    save_file(named, folder / WEIGHTS)


def _load(folder: Path, told: Shape, row: str) -> list[dict[str, Any]]:
    """Weights of each repeat.

    Raises:
        ModelError: If they are missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        named = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{row}: {folder / WEIGHTS}: damaged ({error}); run zoo.fit of this row again") from error
    states: list[dict[str, Any]] = [{} for _ in range(told.repeats)]
    for name, values in named.items():
        number, _, inner = name.partition(".")
        states[int(number)][inner] = values
    return states

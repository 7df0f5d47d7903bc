"""Cost of the real study on a GPU, computed from formulas: no number here was measured.

The operations of MedGemma 1.5 4B (Gemma 3 4B with SigLIP at 896 px), two per multiply-add, are written out from its
architecture. A test holds them to what torch counts on the architecture itself. This module imports neither torch nor
anything else that takes time: a dry run shows the estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.core.errors import ParamsError

GB, TERA = 1e9, 1e12
UTILISATION = (0.35, 0.5)  # of a GPU's peak that such models reach in practice

# Gemma 3 4B: language model
LAYERS, HIDDEN, INNER, QUERY, KEY, VOCABULARY = 34, 2560, 10240, 8 * 256, 4 * 256, 262_208
LAYER_SHAPES = ((HIDDEN, QUERY), (HIDDEN, KEY), (HIDDEN, KEY), (QUERY, HIDDEN), *((HIDDEN, INNER),) * 3)
# Its vision tower: 896 px in patches of 14 give 64 x 64 = 4,096, which are averaged to 256 tokens
TOWER_LAYERS, TOWER_HIDDEN, TOWER_INNER, PATCHES, PATCH_VALUES, IMAGE_TOKENS = 27, 1152, 4304, 64 * 64, 3 * 14 * 14, 256
TOWER_SHAPES = ((TOWER_HIDDEN, TOWER_HIDDEN),) * 4 + ((TOWER_HIDDEN, TOWER_INNER),) * 2
LORA_SHAPES: Mapping[str, tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]] = {
    "all-linear": (LAYER_SHAPES, TOWER_SHAPES),
    "language": (LAYER_SHAPES, ()),
    "vision": ((), TOWER_SHAPES),
    "attention": (LAYER_SHAPES[:4], TOWER_SHAPES[:4]),
}
TEXT_TOKENS = 22  # of the project's prompt and the conversation around it

PARAMETERS = 4.300e9
QUANTIZED = LAYERS * sum(a * b for a, b in LAYER_SHAPES)  # the language model's linear layers
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # half a byte, and a doubly quantized scale per 64 weights
# Bytes that one token leaves in one layer for the backward pass, at rank 16 with dropout; attention is fused, and its
# matrix of weights not kept. Counted by saved_tensors_hooks on the meta device, weights in bfloat16, LoRA in float32.
KEPT_BYTES, TOWER_KEPT_BYTES = 340_000, 108_000
MEMORY_MARGIN = (1.0, 1.2)  # for gaps between blocks
MEMORY_BESIDE = (0.5, 1.5)  # GB, of the driver and the libraries

DOWNLOAD_GB = 8.6
PNG_BYTES_PER_PIXEL = (0.33, 0.46)  # normalized real images
FEATURE_BYTES = IMAGE_TOKENS * HIDDEN * 2  # 1.31 MB an image, bfloat16
CHALLENGE_IMAGES = 63_179
PREDICTIONS = 2  # zero-shot and tuned


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet.

    Attributes:
        name: Its name.
        flops: Dense bfloat16 operations per second.
        bandwidth: Bytes per second from its memory.
        memory: Bytes of it.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("RTX 4090", 165e12, 1008e9, 24e9),
        Gpu("A100", 312e12, 1555e9, 40e9),
        Gpu("H100", 989e12, 3350e9, 80e9),
    )
}


@dataclass(frozen=True)
class Images:
    """Numbers of images of the study.

    Attributes:
        total: Images that take part.
        validation: Those of the validation split that training evaluates on.
        asked: Those of the splits of inference.
        source: Where the numbers come from.
    """

    total: int
    validation: int
    asked: int
    source: str


@dataclass(frozen=True)
class Range:
    """One line of the estimate: a range, its unit, and the formula behind it."""

    what: str
    low: float
    high: float
    unit: str
    formula: str

    def __str__(self) -> str:
        return f"{self.what:18} {self.low:.3g} to {self.high:.3g} {self.unit}: {self.formula}"


def needs_gpu(document: Mapping[str, Any]) -> bool:
    """Whether the study runs a model too large for a processor: one of the hub, or one in bfloat16.

    >>> needs_gpu({"weights": {"fetch": {"base": "a/b", "revision": "main"}}})
    True
    >>> needs_gpu({"weights": {"fetch": {"revision": "none"}}, "nodules": {"model": {"dtype": "float32"}}})
    False
    """
    revision = document.get("weights", {}).get("fetch", {}).get("revision", "none")
    return revision != "none" or document.get("nodules", {}).get("model", {}).get("dtype", "") == "bfloat16"


def gpu(text: str) -> Gpu:
    """A GPU by its name, or by operations per second, bytes per second and bytes of memory.

    >>> gpu("165e12,1008e9,24e9").memory
    24000000000.0

    Raises:
        ParamsError: If it is neither.
    """
    if text in GPUS:
        return GPUS[text]
    try:
        flops, bandwidth, memory = (float(part) for part in text.split(","))
        if min(flops, bandwidth, memory) <= 0:
            raise ValueError
    except ValueError:
        wanted = f"one of {', '.join(GPUS)}, or FLOP/s, bytes/s and bytes such as 165e12,1008e9,24e9"
        raise ParamsError("GPU:", [f"found {text!r}, wanted {wanted}"]) from None
    return Gpu(text, flops, bandwidth, memory)


def count_images(results: Path, document: Mapping[str, Any]) -> Images:
    """Number of images of a results folder; where it has no manifest of this study's folder, those of the challenge.

    Only the columns counted are read, without their checksums: a dry run has no time for more.
    """
    import pyarrow.compute as pc
    from pyarrow import parquet

    asked = document["nodules"]["infer"]["splits"]
    manifest, split = results / "data/manifest.parquet", results / "data/split.parquet"
    own = manifest.is_file() and _is_of(manifest, document["data"]["ingest"]["root"])
    if own and split.is_file():
        names = parquet.read_table(split, columns=["split"])["split"]
        counts = {row["values"]: row["counts"] for row in pc.value_counts(names).to_pylist()}
        return Images(
            len(names), counts.get("val", 0), sum(counts.get(name, 0) for name in asked), f"images of {split}"
        )
    total, source = CHALLENGE_IMAGES, f"the challenge's {CHALLENGE_IMAGES:,} images, as published"
    if own:
        usable = parquet.read_table(manifest, columns=["status"])["status"]
        total, source = pc.sum(pc.equal(usable, "ok")).as_py() or 0, f"images of {manifest}"
    train, val, test = document["data"]["split"]["fractions"]
    if folds := document["data"]["split"]["folds"]:
        train, val = (part / (train + val) * (1 - 1 / folds) for part in (train, val))
        test = 1 / folds
    fractions = {"train": train, "val": val, "test": test}
    counts = {name: round(fraction * total) for name, fraction in fractions.items()}
    return Images(total, counts["val"], sum(counts[name] for name in asked), source)


def _is_of(manifest: Path, root: str) -> bool:
    """Whether a manifest lists images of a folder: another study may have run here last."""
    from pyarrow import parquet

    paths = parquet.read_table(manifest, columns=["path"])["path"]
    return len(paths) > 0 and Path(paths[0].as_py()).is_relative_to(root)


def lora_parameters(targets: str, rank: int) -> int:
    """Parameters that LoRA trains: rank x (inputs + outputs) of each layer it is put on.

    >>> round(lora_parameters("language", 16) / 1e6, 2)
    29.8
    """
    language, tower = LORA_SHAPES[targets]
    each = LAYERS * sum(a + b for a, b in language) + TOWER_LAYERS * sum(a + b for a, b in tower)
    return rank * each


def tower_flops() -> tuple[float, float]:
    """Operations of the tower's weights, patches and projector included, and of its attention, per image."""
    weights = PATCHES * (TOWER_LAYERS * sum(a * b for a, b in TOWER_SHAPES) + PATCH_VALUES * TOWER_HIDDEN)
    attention = TOWER_LAYERS * 2 * PATCHES**2 * TOWER_HIDDEN
    return 2.0 * (weights + IMAGE_TOKENS * TOWER_HIDDEN * HIDDEN), 2.0 * attention


def language_flops(text_tokens: int = TEXT_TOKENS) -> tuple[float, float]:
    """Operations of the language model's weights and of its attention, per image."""
    tokens = IMAGE_TOKENS + text_tokens
    return 2.0 * QUANTIZED * tokens, 2.0 * LAYERS * 2 * tokens**2 * QUERY


def forward_flops(*, cached: bool = False, text_tokens: int = TEXT_TOKENS) -> float:
    """Operations of inference on one image, with logits of the last token alone.

    >>> round(forward_flops() / TERA, 2)
    7.27
    """
    tower = 0.0 if cached else sum(tower_flops())
    return tower + sum(language_flops(text_tokens)) + 2.0 * HIDDEN * VOCABULARY


def training_flops(
    targets: str,
    rank: int,
    *,
    checkpointing: bool,
    cached: bool = False,
    positions: int = 1,
    text_tokens: int = TEXT_TOKENS,
) -> float:
    """Operations of training on one image.

    A frozen weight is multiplied forward and, for the gradient of its input, backward; LoRA's also for its own
    gradient; attention twice backward. Checkpointing adds a second forward pass of what is trained. A tower without
    LoRA runs forward only.

    Args:
        targets: Layers with LoRA.
        rank: Of LoRA's matrices.
        checkpointing: Whether activations are computed twice.
        cached: Whether the tower's features are there already.
        positions: Tokens that get logits.
        text_tokens: Tokens beside those of the image.
    """
    again = 1 if checkpointing else 0
    tokens = IMAGE_TOKENS + text_tokens
    weights, attention = language_flops(text_tokens)
    shapes, tower_shapes = LORA_SHAPES[targets]
    lora = tokens * 2.0 * rank * LAYERS * sum(a + b for a, b in shapes)
    total = weights * (2 + again) + attention * (3 + again) + lora * (3 + again)
    total += 2.0 * HIDDEN * VOCABULARY * positions * 2
    if cached:
        return total
    weights, attention = tower_flops()
    if not tower_shapes:
        return total + weights + attention
    lora = PATCHES * 2.0 * rank * TOWER_LAYERS * sum(a + b for a, b in tower_shapes)
    return total + weights * (2 + again) + attention * (3 + again) + lora * (3 + again)


def weight_bytes(quantization: str, dtype: str) -> float:
    """Bytes of the base model's weights in the GPU's memory.

    >>> round(weight_bytes("nf4", "bfloat16") / GB, 2), round(weight_bytes("none", "bfloat16") / GB, 2)
    (3.84, 8.6)
    """
    each = 2 if dtype == "bfloat16" else 4
    if quantization == "none":
        return PARAMETERS * each
    return QUANTIZED * NF4_BYTES + (PARAMETERS - QUANTIZED) * each


def activation_bytes(targets: str, *, checkpointing: bool, cached: bool) -> float:
    """Bytes that one image leaves for the backward pass.

    With checkpointing each layer leaves its input, in bfloat16, and one layer at a time all it computes.
    """
    tokens = IMAGE_TOKENS + TEXT_TOKENS
    tower = not cached and targets != "language"
    if checkpointing:
        inputs = 2 * (LAYERS * tokens * HIDDEN + tower * TOWER_LAYERS * PATCHES * TOWER_HIDDEN)
        return inputs + max(KEPT_BYTES * tokens, tower * TOWER_KEPT_BYTES * PATCHES)
    return LAYERS * tokens * KEPT_BYTES + tower * TOWER_LAYERS * PATCHES * TOWER_KEPT_BYTES


def estimate(document: Mapping[str, Any], on: Gpu, images: Images) -> list[Range]:
    """What the study takes on one GPU: hours, images per second, memory and disk.

    Responses of localizers are left out: their length is not known before.

    Args:
        document: The parameters, section by section; the base is MedGemma 1.5 4B.
        on: The GPU.
        images: How many images.
    """
    model, train, asked = (document["nodules"][name] for name in ("model", "train", "infer"))
    cached = model["cache_features"] and train["lora_target_modules"] == "language"
    samples = train["max_steps"] * train["per_device_train_batch_size"] * train["gradient_accumulation_steps"]
    checkpointing = train["gradient_checkpointing"]
    sample = training_flops(train["lora_target_modules"], train["lora_r"], checkpointing=checkpointing, cached=cached)
    image = forward_flops(cached=cached)
    weights = weight_bytes(model["quantization"], model["dtype"])
    # 4-bit weights are read, written out in full for the multiplication, and read again, in every pass over them
    unpacked = QUANTIZED * (2 + 2) if model["quantization"] == "nf4" else 0.0
    passes = 3 if checkpointing else 2
    read = (weights + unpacked) * passes / on.bandwidth / train["per_device_train_batch_size"]
    merged = asked["weights"] == "merged"
    held = weight_bytes("none" if merged else model["quantization"], model["dtype"])
    ask = (held + (0.0 if merged else unpacked)) / on.bandwidth / asked["batch_size"]
    measured = train["max_steps"] // train["eval_steps"] * images.validation
    places = asked["shifts"] ** 2  # passes of inference per image; training measures images at their own place alone
    through = places * images.asked + train["shifts"] ** 2 * (images.total - images.asked)  # the tower, if cached
    once = through * sum(tower_flops()) if cached else 0.0

    def seconds(flops: float, utilisation: float, floor: float) -> float:
        return max(flops / (utilisation * on.flops), floor)

    def hours(utilisation: float) -> float:
        learning = samples * seconds(sample, utilisation, read)
        return (learning + measured * seconds(image, utilisation, ask) + once / (utilisation * on.flops)) / 3600

    slow, fast = UTILISATION
    fraction = f"{100 * slow:.0f} to {100 * fast:.0f} % of {on.flops / TERA:.0f} TFLOP/s"
    least, most = (1 / (places * seconds(image, utilisation, ask)) for utilisation in UTILISATION)
    adapter = lora_parameters(train["lora_target_modules"], train["lora_r"])
    kept = train["per_device_train_batch_size"] * activation_bytes(
        train["lora_target_modules"], checkpointing=checkpointing, cached=cached
    )
    memory = (weights + 16 * adapter + kept) / GB
    asking = (held + asked["batch_size"] * TOWER_KEPT_BYTES * PATCHES) / GB
    pngs = [images.total * document["data"]["normalize"]["side_px"] ** 2 * each / GB for each in PNG_BYTES_PER_PIXEL]
    features = through * FEATURE_BYTES / GB if cached else 0.0
    saved = (train["save_total_limit"] + 1) * 12 * adapter / GB
    disk = DOWNLOAD_GB + features + saved
    return [
        Range(
            "training",
            hours(fast),
            hours(slow),
            "h",
            f"({samples:,} images x {sample / TERA:.1f} TFLOP + {measured:,} measured on validation x "
            f"{image / TERA:.2f}{f' + {through:,} through the tower once' if cached else ''}) / ({fraction})",
        ),
        Range("inference", least, most, "images/s", f"({fraction}) / ({places} x {image / TERA:.2f} TFLOP)"),
        Range(
            "inference, all",
            PREDICTIONS * images.asked / most / 3600,
            PREDICTIONS * images.asked / least / 3600,
            "h",
            f"{PREDICTIONS} models x {images.asked:,} images / images per second",
        ),
        Range(
            "memory, training",
            memory * MEMORY_MARGIN[0] + MEMORY_BESIDE[0],
            memory * MEMORY_MARGIN[1] + MEMORY_BESIDE[1],
            f"of {on.memory / GB:.0f} GB",
            f"weights {weights / GB:.1f} + LoRA {adapter / 1e6:.1f} M x 16 bytes + "
            f"{train['per_device_train_batch_size']} images x {kept / train['per_device_train_batch_size'] / GB:.2f}, "
            f"up to {MEMORY_MARGIN[1] - 1:.0%} for gaps, and "
            f"{MEMORY_BESIDE[0]} to {MEMORY_BESIDE[1]} beside",
        ),
        Range(
            "memory, inference",
            asking * MEMORY_MARGIN[0] + MEMORY_BESIDE[0],
            asking * MEMORY_MARGIN[1] + MEMORY_BESIDE[1],
            f"of {on.memory / GB:.0f} GB",
            f"weights {held / GB:.1f} + {asked['batch_size']} images x one layer of the tower "
            f"{TOWER_KEPT_BYTES * PATCHES / GB:.2f}",
        ),
        Range(
            "disk",
            disk + pngs[0],
            disk + pngs[1],
            "GB",
            f"download {DOWNLOAD_GB} + PNGs {pngs[0]:.0f} to {pngs[1]:.0f}"
            f"{f' + vision features {features:.0f}' if cached else ''} + checkpoints {saved:.1f}",
        ),
    ]


def lines(document: Mapping[str, Any], on: Gpu, images: Images) -> list[str]:
    """Estimate as lines of text, or one that says why there is none."""
    if not needs_gpu(document):
        base = document.get("weights", {}).get("fetch", {}).get("base")
        return [f"estimate: none for {base}, which runs on a processor in minutes; it is for MedGemma 1.5 4B"]
    found = estimate(document, on, images)
    head = f"estimate on one {on.name}, computed, not measured; {images.source}; MedGemma 1.5 4B at 896 px"
    memory = next(each for each in found if each.what == "memory, training")
    warning = (
        [f"  it may not fit {on.memory / GB:.0f} GB: lower nodules.train.per_device_train_batch_size"]
        if memory.high > on.memory / GB
        else []
    )
    return [head, *(f"  {each}" for each in found), *warning]

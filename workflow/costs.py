"""Operations, bytes and seconds of the real models on a GPU, as formulas: no number of a GPU here was measured.

The operations of MedGemma 1.5 4B (Gemma 3 4B with SigLIP at 896 px), two per multiply-add, are written out from its
architecture. A test holds them to what torch counts on the architecture itself. `stage_costs` adds them up to a study.
Neither imports torch or anything else that takes time: a dry run shows the estimate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
TALK_TOKENS, TOKEN_CHARACTERS = 12, 4  # tokens of the conversation around a prompt; characters of a token of English

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
BOX_TOKENS = 45  # of the shortest response with a box
CACHE_BYTES = LAYERS * 2 * KEY * 2  # keys and values of one token, bfloat16: what a new token reads of each before it
HEAD_BYTES = 2 * HIDDEN * VOCABULARY  # the head is not quantized
# CheXagent-2 by its published size: 6.3 GB in bfloat16; Phi-2 has 32 layers of 2,560. Its code is not counted here.
CHEXAGENT_PARAMETERS, CHEXAGENT_TOKENS, CHEXAGENT_CACHE_BYTES = 3.15e9, 1024, 32 * 2 * 2560 * 2
CHEXAGENT_BOX_TOKENS = 25


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


def needs_gpu(document: Mapping[str, Any]) -> bool:
    """Whether the study runs a model too large for a processor: one of the hub, or one in bfloat16.

    >>> needs_gpu({"weights": {"fetch": {"base": "a/b", "revision": "main"}}})
    True
    >>> needs_gpu({"weights": {"fetch": {"revision": "none"}}, "nodules": {"model": {"dtype": "float32"}}})
    False
    """
    revision = document.get("weights", {}).get("fetch", {}).get("revision", "none")
    if revision != "none" or document.get("nodules", {}).get("model", {}).get("dtype", "") == "bfloat16":
        return True
    chapters = document.get("study", {}).get("chapters", ())
    return any(_large(document.get(name, {})) for name in chapters if name != "nodules")


def _large(inside: Any) -> bool:
    """Whether any row of a section names a model of the hub, or computes in bfloat16."""
    if not isinstance(inside, Mapping):
        return False
    for name, value in inside.items():
        if name == "revision" or name.endswith("_revision"):
            if value != "none":
                return True
        elif (name == "dtype" and value == "bfloat16") or _large(value):
            return True
    return False


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


def text_tokens(prompt: str) -> int:
    """Tokens beside those of the image, about: the tokenizer is not at hand.

    >>> text_tokens("Does this chest X-ray show a lung nodule?") == TEXT_TOKENS
    True
    """
    return TALK_TOKENS + round(len(prompt) / TOKEN_CHARACTERS)


def attribution_flops(
    steps: int, shifts: int, *, occlusion: bool = False, text_tokens: int = TEXT_TOKENS
) -> tuple[float, float]:
    """Operations of the attribution map of one image: of the tower, and of the language model.

    The image goes through the tower at each of shifts x shifts places. At each place, `steps` times, the language
    model runs forward, and back to the vision features: no weight wants a gradient, so a weight is multiplied twice,
    and attention once forward and twice back. At both ends of the way it runs forward once, for the completeness error.
    By occlusion, it runs forward once for the image, and once without each token.

    Args:
        steps: Points on the way to the image.
        shifts: Places along a side of an image token.
        occlusion: Whether the map is made by occlusion.
        text_tokens: Tokens beside those of the image.
    """
    weights, attention = language_flops(text_tokens)
    head = 2.0 * HIDDEN * VOCABULARY
    if occlusion:
        once = (IMAGE_TOKENS + 1) * (weights + attention + head)
    else:
        once = steps * (2 * weights + 3 * attention + 2 * head) + 2 * (weights + attention + head)
    return shifts**2 * sum(tower_flops()), shifts**2 * once


def step_bytes(quantization: str, batch: int, tokens: float, *, fused: bool = False) -> float:
    """Bytes that MedGemma reads and writes for one new token of each response of a batch.

    Args:
        quantization: Of the language model's linear layers.
        batch: Responses that are generated together.
        tokens: Tokens before the new one.
        fused: Whether 4-bit weights are multiplied as they are, and not written out in full and read again.

    >>> round(step_bytes("none", 1, 0) / GB, 1), round(step_bytes("nf4", 1, 0, fused=True) / GB, 1)
    (7.8, 3.0)
    """
    each = (NF4_BYTES + (0 if fused else 2 + 2)) if quantization == "nf4" else 2
    return QUANTIZED * each + HEAD_BYTES + batch * tokens * CACHE_BYTES


def generation_seconds(
    on: Gpu,
    utilisation: float,
    *,
    quantization: str,
    batch: int,
    text_tokens: int,
    new_tokens: int,
    fused: bool = False,
) -> float:
    """Seconds of one response of MedGemma: its image and prompt in one pass, then a pass for each new token.

    The passes for new tokens are bounded by the bandwidth of the memory: each reads all weights. `utilisation` is of
    the GPU's operations and of its bandwidth.

    Args:
        on: The GPU.
        utilisation: Fraction of its peaks.
        quantization: Of the language model's linear layers.
        batch: Responses that are generated together; all wait for the longest.
        text_tokens: Tokens of the prompt.
        new_tokens: Tokens of the response.
        fused: As of `step_bytes`.
    """
    tokens = IMAGE_TOKENS + text_tokens
    first = forward_flops(text_tokens=text_tokens) / (utilisation * on.flops)
    moved = step_bytes(quantization, batch, tokens + new_tokens / 2, fused=fused) / batch
    flops = 2.0 * (QUANTIZED + HIDDEN * VOCABULARY)
    return first + new_tokens * max(moved / on.bandwidth, flops / on.flops) / utilisation


def chexagent_seconds(on: Gpu, utilisation: float, *, batch: int, text_tokens: int, new_tokens: int) -> float:
    """As `generation_seconds`, of CheXagent-2 in bfloat16, by its number of parameters alone."""
    tokens = CHEXAGENT_TOKENS + text_tokens
    each = 2.0 * CHEXAGENT_PARAMETERS
    moved = (each + batch * (tokens + new_tokens / 2) * CHEXAGENT_CACHE_BYTES) / batch
    return (tokens * each / on.flops + new_tokens * max(moved / on.bandwidth, each / on.flops)) / utilisation

"""What a training of LoFi takes at its published size: parameters, operations and memory, as formulas.

SigLIP 2 so400m/16 at 512 px with its text tower, and Gemma 3 270M behind visual tokens. No number of a GPU here was
measured. Bytes that are kept for the backward pass were counted on the meta device (`make bench ONLY=lofi`), frozen
weights in bfloat16 and LoRA in float32; a test holds these formulas to that count. torch is not imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workflow import costs
from workflow.costs import GB, TERA, UTILISATION

Pooling = Literal["heads", "queries"]
Checkpointing = Literal["none", "tower", "all"]
CHECKPOINTING: tuple[Checkpointing, ...] = ("none", "tower", "all")


@dataclass(frozen=True)
class Size:
    """One transformer.

    Attributes:
        layers: Its layers.
        hidden: Its width.
        inner: Width of its MLPs.
        query: Width of all queries of a layer.
        key: Width of all keys, and of all values.
        gates: Matrices of an MLP: 3 of a gated one.
        tokens: That it reads.
        kept: Bytes that a token leaves in a layer for the backward pass, attention fused; counted.
    """

    layers: int
    hidden: int
    inner: int
    query: int
    key: int
    gates: int
    tokens: int
    kept: float

    @property
    def attention(self) -> int:
        """Weights of the attention of a layer."""
        return self.hidden * 2 * (self.query + self.key)

    @property
    def matrices(self) -> int:
        """Weights of the matrices of all layers."""
        return self.layers * (self.attention + self.gates * self.hidden * self.inner)

    @property
    def squares(self) -> float:
        """Operations of a forward pass that grow with the square of the tokens."""
        return self.layers * 4.0 * self.tokens**2 * self.query


SIDE_PX, PATCH_PX, VISUAL = 512, 16, 64
TOWER = Size(27, 1152, 4304, 1152, 1152, 2, (SIDE_PX // PATCH_PX) ** 2, 45_300)
TEXT = Size(27, 1152, 4304, 1152, 1152, 2, 64, 45_700)
DECODER = Size(18, 640, 2048, 4 * 256, 256, 3, 264, 45_400)  # 64 visual tokens, a prompt and an answer
TEXT_VOCABULARY, VOCABULARY = 256_000, 262_144
ANSWER = 60  # tokens of an answer, assumed; a box takes 20
NARROW = 4  # the MLP of a pooling head is a fourth as wide
LORA_R, DECODER_LORA_R = 16, 4
TRAINED_BYTES = 4 * 4  # value, gradient and two moments, float32
HEAD_KEPT = {
    "heads": 4690.0,
    "queries": 250.0,
}  # bytes a patch leaves in all heads, or in one attention, a visual token
MATRIX_BYTES = 2 * 2  # of a pair of tokens and a head, where the kernel keeps them: before and after the softmax
ENCODER_NAME, DECODER_NAME = "siglip2-so400m-patch16-512", "gemma-3-270m"


def _head(mlp: int) -> int:
    """Parameters of an attention-pooling head with an MLP of a width."""
    d = TOWER.hidden
    return d + (4 * d * d + 4 * d) + 2 * d + (2 * d * mlp + mlp + d)


def parameters() -> dict[str, int]:
    """Parameters of each frozen part, LoRA not counted.

    >>> {name: round(number / 1e6, 1) for name, number in parameters().items()}
    {'tower': 428.8, 'text': 707.8, 'decoder': 268.1}
    """
    d = TOWER.hidden
    layers = {size: size.matrices + size.layers * (4 * d + size.inner + d + 4 * d) for size in (TOWER, TEXT)}
    patches = 3 * PATCH_PX**2 * d + d + TOWER.tokens * d
    tower = patches + layers[TOWER] + 2 * d + _head(TOWER.inner)
    text = (TEXT_VOCABULARY + TEXT.tokens) * d + layers[TEXT] + 2 * d + d * d + d
    h = DECODER.hidden
    decoder = VOCABULARY * h + DECODER.matrices + DECODER.layers * (4 * h + 2 * 256) + h
    return {"tower": tower, "text": text, "decoder": decoder}


def pooling_parameters(pooling: Pooling, visual: int = VISUAL) -> int:
    """Parameters of the pooling.

    >>> round(pooling_parameters("heads") / 1e6, 1), round(pooling_parameters("queries") / 1e6, 1)
    (382.8, 5.4)
    """
    d = TOWER.hidden
    if pooling == "queries":
        return visual * d + 4 * d * d + 4 * d
    return visual * _head(d // NARROW)


def lora_parameters(rank: int = LORA_R, decoder_rank: int = DECODER_LORA_R) -> int:
    """Parameters of LoRA on q, k, v, out of both towers, and on q, v of the decoder.

    >>> round(lora_parameters() / 1e6, 2)
    8.15
    """
    towers = sum(size.layers * 4 * rank * 2 * size.hidden for size in (TOWER, TEXT))
    each = 2 * DECODER.hidden + DECODER.query + DECODER.key
    return towers + DECODER.layers * decoder_rank * each


def trained(pooling: Pooling, *, head: bool) -> int:
    """Parameters that are trained.

    Args:
        pooling: The pooling.
        head: Whether the heads of both towers are trained whole.

    >>> round(trained("heads", head=False) / 1e6), round(trained("queries", head=False) / 1e6)
    (392, 15)
    """
    d, h = TOWER.hidden, DECODER.hidden
    projection = d * h + h + h * h + h
    heads = _head(TOWER.inner) + d * d + d if head else 0
    return pooling_parameters(pooling) + projection + lora_parameters() + heads


def flops(pooling: Pooling, *, average: bool, checkpointing: Checkpointing) -> float:
    """Operations of training on one image, its text and its answer.

    A frozen weight is multiplied forward and, for the gradient of its input, backward; a trained one, and attention,
    three times. Checkpointing adds a forward pass.

    >>> round(flops("heads", average=False, checkpointing="none") / TERA, 1)
    3.4
    """
    again = {"none": (0, 0), "tower": (1, 0), "all": (1, 1)}[checkpointing]
    lora = {TOWER: 8 * LORA_R * 1152, TEXT: 8 * LORA_R * 1152, DECODER: DECODER_LORA_R * (2 * 640 + 1024 + 256)}
    total = 0.0
    for size, more in ((TOWER, again[0]), (TEXT, again[1]), (DECODER, again[1])):
        total += 2.0 * size.tokens * size.matrices * (2 + more) + size.squares * (3 + more)
        total += 2.0 * size.tokens * size.layers * lora[size] * (3 + more)
    total += 2.0 * VOCABULARY * DECODER.hidden * ANSWER * 2
    return total + pooling_flops(pooling, average=average) * (3 + again[1])


def map_flops(*, each_patch: bool) -> float:
    """Operations of the map of one sentence over one image.

    Args:
        each_patch: Whether each patch passes the head of images alone, or the tower's tokens are taken as they are.

    >>> round(map_flops(each_patch=False) / 1e12, 2), round(map_flops(each_patch=True) / 1e12, 2)
    (0.97, 1.01)
    """
    d = TOWER.hidden
    tower = 2.0 * TOWER.tokens * (TOWER.matrices + 3 * PATCH_PX**2 * d) + TOWER.squares
    return tower + (2.0 * TOWER.tokens * (4 * d * d + 2 * d * TOWER.inner) if each_patch else 0.0)


def pooling_flops(pooling: Pooling, *, average: bool) -> float:
    """Operations of a forward pass of the pooling on one image.

    >>> [round(pooling_flops("heads", average=average) / TERA, 3) for average in (False, True)]
    [0.349, 0.087]
    """
    d, patches = TOWER.hidden, TOWER.tokens // (4 if average else 1)
    if pooling == "queries":
        return 2.0 * (2 * patches * d * d + 2 * VISUAL * d * d + 2 * VISUAL * patches * d)
    return VISUAL * 2.0 * (2 * patches * d * d + 2 * d * d + 2 * patches * d + 2 * d * (d // NARROW))


def kept(pooling: Pooling, *, average: bool, checkpointing: Checkpointing, fused: bool = True) -> dict[str, float]:
    """Bytes that one image leaves for the backward pass, by part.

    With checkpointing a layer leaves its input, in bfloat16; one layer at a time all it computes.

    Args:
        pooling: The pooling.
        average: Whether it pools over means of 2 x 2 patches.
        checkpointing: What is computed twice.
        fused: Whether the matrix of attention is not kept.
    """
    twice = {"tower": checkpointing != "none", "text": checkpointing == "all", "decoder": checkpointing == "all"}
    found = {}
    for name, size, heads in (("tower", TOWER, 16), ("text", TEXT, 16), ("decoder", DECODER, 4)):
        layer = size.tokens * size.kept + (0 if fused else heads * size.tokens**2 * MATRIX_BYTES)
        found[name] = size.layers * size.tokens * size.hidden * 2 + layer if twice[name] else size.layers * layer
    patches = TOWER.tokens // (4 if average else 1)
    whole = VISUAL * patches * HEAD_KEPT[pooling]
    found["pooling"] = whole if checkpointing != "all" else whole / VISUAL
    found["logits"] = ANSWER * VOCABULARY * 4.0 * 2
    return found


def memory(
    pooling: Pooling, *, average: bool, checkpointing: Checkpointing, batch: int, at_once: int, head: bool
) -> dict[str, float]:
    """Bytes of a training step on one GPU, by part, activations with what is lost in gaps.

    Args:
        pooling: The pooling.
        average: Whether it pools over means.
        checkpointing: What is computed twice.
        batch: Images of the step.
        at_once: Images whose activations are held at once.
        head: Whether the heads of the towers are trained whole.
    """
    each = kept(pooling, average=average, checkpointing=checkpointing)
    return {
        "frozen weights": 2.0 * sum(parameters().values()),
        "what is trained": float(TRAINED_BYTES * trained(pooling, head=head)),
        "activations": costs.MEMORY_MARGIN[1] * min(batch, at_once) * sum(each.values()),
        "beside": costs.MEMORY_BESIDE[1] * GB,
    }


def by_part(needs: Mapping[str, float]) -> str:
    """Bytes of each part in words.

    >>> by_part({"frozen weights": 2.81e9, "activations": 13.4e9})
    'frozen weights 2.8, activations 13.4'
    """
    return ", ".join(f"{name} {value / GB:.1f}" for name, value in needs.items())


def known(model: Mapping[str, Any]) -> bool:
    """Whether a model is of the sizes that are built in here."""
    return ENCODER_NAME in model["encoder"] and DECODER_NAME in model["decoder"]


def lines(document: Mapping[str, Any], on: costs.Gpu, results: Path) -> list[str]:
    """Estimate of the training as lines of text.

    Args:
        document: The parameters.
        on: The GPU.
        results: Folder of results.
    """
    model, train = document["lofi"]["model"], document["lofi"]["train"]
    if not known(model):
        return [f"lofi: no estimate of {model['encoder']} with {model['decoder']}, whose sizes are not known here"]
    pooling, average, again = model["pooling"], model["average_patches"], train["gradient_checkpointing"]
    batch = train["per_device_train_batch_size"]
    needs = memory(
        pooling,
        average=average,
        checkpointing=again,
        batch=batch,
        at_once=train["samples_per_pass"],
        head=model["train_head"],
    )
    total = sum(needs.values())
    images = train["max_steps"] * batch * train["gradient_accumulation_steps"]
    operations = images * flops(pooling, average=average, checkpointing=again)
    hours = [operations / (utilisation * on.flops) / 3600 for utilisation in reversed(UTILISATION)]
    fits = "fits" if total < on.memory else "does NOT fit"
    return [
        f"lofi, computed, not measured: {trained(pooling, head=model['train_head']) / 1e6:.0f} M parameters trained of "
        f"{(sum(parameters().values()) + trained(pooling, head=False)) / 1e9:.2f} G",
        f"  training memory            {total / GB:.1f} GB ({by_part(needs)}): {fits} {on.memory / GB:.0f} GB of one "
        f"{on.name}",
        f"  training                   {hours[0]:.3g} to {hours[1]:.3g} h on one {on.name}: {images} images x "
        f"{operations / images / TERA:.1f} TFLOP",
    ]

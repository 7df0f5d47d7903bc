"""LoFi at its published size, counted without weights: parameters, operations and kept activations of each part.

SigLIP 2 so400m/16 at 512 px (1,024 patches) with its text tower (64 tokens), and Gemma 3 270M behind 64 visual tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.models import operations
from stages.lib.models.lofi import weights
from stages.lib.models.lofi.params import ModelParams
from workflow import lofi_costs
from workflow.bench.result import COUNTED, Result
from workflow.costs import GB, TERA

COMMAND = "make bench ONLY=lofi"
BATCH = 16
TOKENS = lofi_costs.DECODER.tokens
SHARED = ("tower", "text", "projection", "decoder", "logits")  # parts that the pooling does not change
# pooling, means of 2 x 2 patches, and millions of parameters that it trains at most
WAYS: tuple[tuple[lofi_costs.Pooling, bool, float], ...] = (
    ("heads", False, 392.5),
    ("heads", True, 392.5),
    ("queries", False, 15.0),
)


@dataclass(frozen=True)
class Part:
    """What one part of the network costs an image.

    Attributes:
        parameters: All of it, LoRA included.
        trained: Of them, those that are trained.
        forward: Floating-point operations of inference.
        step: Of a forward and a backward pass.
        kept: Bytes that are kept for the backward pass, attention fused.
        unfused: The same with the matrices of attention.
    """

    parameters: int
    trained: int
    forward: float
    step: float
    kept: float
    unfused: float


def params(pooling: lofi_costs.Pooling, *, average: bool) -> ModelParams:
    """The published recipe with one of the poolings."""
    return ModelParams(
        encoder="google/siglip2-so400m-patch16-512",
        encoder_revision="main",
        decoder="google/gemma-3-270m",
        decoder_revision="main",
        dtype="float32",  # so that nothing is cast by itself; the weights are made bfloat16 here
        attention="sdpa",
        pooling=pooling,
        visual_tokens=lofi_costs.VISUAL,
        average_patches=average,
        lora_r=16,
        decoder_lora_r=4,
        train_head=False,
        train_scale=False,
    )


def network(given: ModelParams) -> Any:
    """The network on the meta device: LoRA in float32, as in training, all else in bfloat16."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, SiglipConfig, SiglipModel

    from stages.lib.models.lofi.network import Network

    sizes = lofi_costs.TOWER, lofi_costs.TEXT
    vision, text = (
        {
            "hidden_size": size.hidden,
            "intermediate_size": size.inner,
            "num_hidden_layers": size.layers,
            "num_attention_heads": 16,
        }
        for size in sizes
    )
    vision |= {"image_size": lofi_costs.SIDE_PX, "patch_size": lofi_costs.PATCH_PX}
    text |= {"vocab_size": lofi_costs.TEXT_VOCABULARY, "max_position_embeddings": lofi_costs.TEXT.tokens}
    text |= {"projection_size": lofi_costs.TEXT.hidden}
    decoder = Gemma3TextConfig(
        vocab_size=lofi_costs.VOCABULARY,
        hidden_size=lofi_costs.DECODER.hidden,
        intermediate_size=lofi_costs.DECODER.inner,
        num_hidden_layers=lofi_costs.DECODER.layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        sliding_window=512,
    )
    with torch.device("meta"):
        made = Network(
            SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), Gemma3ForCausalLM(decoder), given
        )
        weights.add_lora(made)
    trained = {*weights.trained(made.to(torch.bfloat16))}
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name in trained)
        if ".lora_" in name:
            parameter.data = parameter.data.float()
    return made.train()


def passes(made: Any) -> dict[str, tuple[Callable[[], Any], tuple[str, ...]]]:
    """For each part, a forward pass of one image, and the names that its parameters begin with."""
    import torch

    d, h = lofi_costs.TOWER.hidden, lofi_costs.DECODER.hidden

    def fill(*shape: int) -> Any:
        return torch.empty(shape, device="meta", dtype=torch.bfloat16)

    def tower() -> Any:
        return made.image_embedding(made.patches(fill(1, 3, lofi_costs.SIDE_PX, lofi_costs.SIDE_PX)))

    def text() -> Any:
        return made.text_embedding(torch.zeros((1, lofi_costs.TEXT.tokens), dtype=torch.long, device="meta"))

    def pooling() -> Any:
        return made.pooling(made.condensed(fill(1, lofi_costs.TOWER.tokens, d).requires_grad_()))

    def projection() -> Any:
        return made.projection(fill(1, lofi_costs.VISUAL, d).requires_grad_())

    def decoder() -> Any:
        read = fill(1, TOKENS, h).requires_grad_()
        # made here, as the library looks at numbers of positions, which have no values on the meta device
        masks = dict.fromkeys(("full_attention", "sliding_attention"), fill(1, 1, TOKENS, TOKENS))
        return made.decoder.model(inputs_embeds=read, attention_mask=masks, use_cache=False).last_hidden_state

    def logits() -> Any:
        # Of all positions, as the usual loss has it; those of the answer alone are a fraction of it
        found = made.decoder.lm_head(fill(1, TOKENS, h).requires_grad_()).float()
        return torch.nn.functional.cross_entropy(found[0], torch.zeros(TOKENS, dtype=torch.long, device="meta"))

    return {
        "tower": (tower, ("encoder.vision_model.",)),
        "text": (text, ("encoder.text_model.",)),
        "pooling": (pooling, ("pooling.",)),
        "projection": (projection, ("projection.",)),
        "decoder": (decoder, ("decoder.model.",)),
        "logits": (logits, ()),
    }


def kept(work: Callable[[], Any], made: Any, square: int) -> float:
    """Bytes that a forward pass keeps for the backward pass: each storage once, weights not counted.

    Args:
        work: The pass.
        made: The network whose weights it uses.
        square: Tokens that attend to each other: their matrix of weights is not counted, as fused attention keeps none;
            0 to count it.
    """
    import torch

    own = {parameter.untyped_storage()._cdata for parameter in made.parameters()}
    seen: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and tuple(tensor.shape[-2:]) != (square, square):
            seen[storage._cdata] = storage
        return tensor

    with operations.without_values(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = work()
    del out
    return float(sum(storage.nbytes() for storage in seen.values()))


def parts(made: Any, names: Sequence[str]) -> dict[str, Part]:
    """Some parts of a network, of one image."""
    import torch

    squares = {"tower": lofi_costs.TOWER.tokens, "text": lofi_costs.TEXT.tokens, "decoder": TOKENS}
    found = {}
    for name, (work, begins) in passes(made).items():
        if name not in names:
            continue
        own = [one for label, one in made.named_parameters() if begins and label.startswith(begins)]

        def forward(work: Callable[[], Any] = work) -> None:
            with torch.no_grad():
                work()

        def step(work: Callable[[], Any] = work) -> None:
            work().sum().backward()

        found[name] = Part(
            parameters=sum(one.numel() for one in own),
            trained=sum(one.numel() for one in own if one.requires_grad),
            forward=operations.count(forward),
            step=operations.count(step),
            kept=kept(work, made, squares.get(name, 0)),
            unfused=kept(work, made, 0),
        )
    return found


def told(name: str, cost: Part) -> dict[str, Result]:
    """What is said of a part."""
    note = f"{cost.parameters / 1e6:.1f} M parameters; forward and backward {cost.step / TERA:.3f}"
    kept_note = f"attention fused; {BATCH * cost.unfused / GB:.1f} GB with its matrices"
    return {
        f"lofi.{name}": _counted(cost.forward / TERA, "TFLOP an image", note),
        f"lofi.{name}_kept": _counted(BATCH * cost.kept / GB, f"GB for {BATCH} images", kept_note),
    }


def checkpointed(name: str) -> float:
    """Bytes that one image leaves in a part whose activations are computed twice."""
    made = network(params("queries", average=False))
    made.checkpoint_activations("all")
    return kept(passes(made)[name][0], made, 0)


def bench() -> dict[str, Result]:
    """Parameters, operations and activations in both poolings, and what a step of 16 images takes."""
    found: dict[str, Result] = {}
    for name, cost in parts(network(params("queries", average=False)), SHARED).items():
        found |= told(name, cost)
    value = BATCH * checkpointed("tower") / GB
    found["lofi.tower_kept_checkpointed"] = _counted(value, f"GB for {BATCH} images", "inputs of layers", at_most=1.2)
    for pooling, average, most in WAYS:
        name = f"{pooling}{'_averaged' if average else ''}"
        made = network(params(pooling, average=average))
        number = sum(one.numel() for one in made.parameters() if one.requires_grad) / 1e6
        where = f"{'2 x 2 averages' if average else 'all patches'}, heads of the towers frozen"
        found[f"lofi.{name}.trained"] = _counted(number, "M parameters", where, at_most=most)
        found |= told(name, parts(made, ["pooling"])["pooling"])
        for again in lofi_costs.CHECKPOINTING:
            needs = lofi_costs.memory(
                pooling, average=average, checkpointing=again, batch=BATCH, at_once=BATCH, head=False
            )
            total = sum(needs.values()) / GB
            note = f"by formula: {lofi_costs.by_part(needs)}; {'fits' if total < 24 else 'does not fit'} 24 GB"
            found[f"lofi.{name}.memory_{again}"] = _counted(total, f"GB for {BATCH} images", note)
    return found


def _counted(value: float, unit: str, note: str, at_most: float | None = None) -> Result:
    return Result(value=value, unit=unit, label=COUNTED, command=COMMAND, note=note, at_most=at_most)

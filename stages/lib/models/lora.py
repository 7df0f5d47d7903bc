"""LoRA: a fresh adapter on a model, and activations that are computed twice instead of kept."""

from typing import TYPE_CHECKING, Any, Literal

from stages.lib.core import params
from stages.lib.core.errors import TrainingError

if TYPE_CHECKING:
    from peft import PeftModel

TARGETS = {
    "all-linear": "all-linear",
    "language": r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
    "vision": r".*vision_tower.*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)",
    "attention": r".*\.self_attn\.(q|k|v|o|out)_proj",
}


@params.section
class LoraParams:
    """Which layers get an adapter of which size."""

    lora_r: params.Count  # of LoRA's matrices
    lora_alpha: params.PositiveFloat  # LoRA's update is scaled by lora_alpha / lora_r
    lora_dropout: params.Fraction  # of LoRA's input
    lora_target_modules: Literal["all-linear", "language", "vision", "attention"]  # layers that get LoRA
    seed: params.Seed  # decides the adapter's first values


def add(model: Any, params: LoraParams) -> "PeftModel":
    """`model` with a fresh LoRA adapter on the layers that `lora_target_modules` names; the rest is frozen.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, equation 3.

    Raises:
        TrainingError: If no layer has such a name.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(params.seed)
    config = LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=params.lora_dropout,
        target_modules=TARGETS[params.lora_target_modules],
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise TrainingError(f"train.lora_target_modules {params.lora_target_modules!r}: {error}") from error


def checkpoint_activations(model: Any) -> None:
    """Make a model with an adapter compute its activations twice, in training, instead of keeping them.

    The library also asks for gradients of the embeddings, which only re-entrant checkpointing needs: they would run
    back through a frozen vision tower and double the cost of a step.
    """
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    model.get_base_model().disable_input_require_grads()

"""Loading and querying of vision-language models of MedGemma's architecture, Gemma 3.

The input is an image, an 8-bit square, and a text, in one conversation of one turn. A batch has one text and several
images, so all its rows have the same tokens and nothing is padded. torch, transformers and peft are imported inside.
"""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.lib.core import params
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.models import last_token, prompts
from stages.lib.models.last_token import Last

# llm_int8_skip_modules replaces the library's own list, so the head is named too; names are matched from the left.
# The vision tower stays as it is: it is a tenth of the weights (0.6 GB more than in 4 bits) and sees the nodule.
UNQUANTIZED = ("lm_head", "model.vision_tower", "model.multi_modal_projector")


@params.section
class ModelParams:
    """How the base model is held in memory, in training and in inference."""

    dtype: Literal["bfloat16", "float32"]  # of all weights that are not quantized; float16 overflows in Gemma 3
    attention: Literal["sdpa", "eager"]  # sdpa is the fast one; both give the same to rounding
    quantization: Literal["nf4", "none"]  # of the language model's linear layers; nf4 is doubly quantized
    cache_features: bool  # keep each image's vision features on the disk, where the tower is not tuned; same answers


@dataclass(frozen=True)
class Loaded:
    """A model ready to be queried.

    Attributes:
        model: Gemma3ForConditionalGeneration, or the PEFT model around it.
        processor: Its processor.
        tokenizer: Its tokenizer.
        device: Where it computes.
        side_px: Width and height of the images that it takes.
        image_tokens: How many tokens stand for one image.
        greys: Value that each of 256 grey values becomes, float32 tensor of shape (3, 256).
        tokens: Tokens of each conversation so far, by its text and whether the image stands first.
        masks: Attention masks of the same.
    """

    model: Any
    processor: Any
    tokenizer: Any
    device: Any
    side_px: int
    image_tokens: int
    greys: Any
    tokens: dict[tuple[str, bool], Any] = field(default_factory=dict, repr=False)
    masks: dict[tuple[str, bool], Any] = field(default_factory=dict, repr=False)

    @property
    def token_px(self) -> int:
        """Side of the square of pixels that one image token stands for."""
        return self.side_px // int(self.image_tokens**0.5)


def load(base: Path, params: ModelParams, *, adapter: Path | None = None, merged: bool = False) -> Loaded:
    """Model in a local folder, in eval mode, on the GPU if there is one.

    Args:
        base: Folder with weights, configuration, processor and tokenizer.
        params: See `ModelParams`.
        adapter: Folder of a PEFT adapter to put on it; `adapters.check` says whether it belongs to this base.
        merged: Whether to leave the base unquantized and add the adapter into its weights.

    Raises:
        ModelError: If the folder does not hold such a model, or quantization did not reach the layers it should.
    """
    quiet()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not (base / "config.json").is_file():
        raise ModelError(f"{base}: found no config.json, wanted the folder of a model; run fetch again")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else "cpu"
    options: dict[str, Any] = {"dtype": getattr(torch, params.dtype), "attn_implementation": params.attention}
    quantize = params.quantization == "nf4" and not merged
    if quantize:
        options["quantization_config"] = quantization_config(params)
    try:
        processor = AutoProcessor.from_pretrained(base, backend="pil", local_files_only=True)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            base, device_map={"": device}, local_files_only=True, **options
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{base}: cannot be loaded as a vision-language model: {error}") from error
    if quantize:
        _check_quantized(model)
        keep_autograd(model)
    if adapter is not None:
        from peft import PeftModel

        try:
            model = PeftModel.from_pretrained(model, str(adapter))
            model = model.merge_and_unload() if merged else model
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{adapter}: cannot be put on {base}: {error}") from error
    return ready(model.eval(), processor)


def ready(model: Any, processor: Any) -> Loaded:
    """A model and its processor with the facts that `encode` needs.

    Raises:
        ModelError: If the processor cuts images into several images.
    """
    image_processor = processor.image_processor
    if image_processor.do_pan_and_scan:
        raise ModelError("the image processor has do_pan_and_scan on; wanted each image whole")
    device = next(model.parameters()).device
    return Loaded(
        model=model,
        processor=processor,
        tokenizer=processor.tokenizer,
        device=device,
        side_px=model.config.vision_config.image_size,
        image_tokens=model.config.mm_tokens_per_image,
        greys=grey_values(image_processor).to(device),
    )


def grey_values(image_processor: Any) -> Any:
    """Value that an image processor makes of each of 256 grey values, float32 tensor of shape (3, 256)."""
    import torch

    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    seen = image_processor(np.dstack([ramp] * 3), do_resize=False, return_tensors="np")["pixel_values"]
    return torch.from_numpy(np.array(seen, dtype=np.float32).reshape(3, 256))


def quantization_config(params: ModelParams) -> Any:
    """Configuration of doubly quantized NF4 for the linear layers of the language model."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, params.dtype),
        llm_int8_skip_modules=list(UNQUANTIZED),
    )


def quantized(model: Any) -> dict[str, Any]:
    """4-bit layers of `model` by name."""
    from bitsandbytes.nn import Linear4bit

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}


def keep_autograd(model: Any) -> None:
    """Stop bitsandbytes from re-packing 4-bit weights at the first forward in eval mode on a CPU with AVX512-BF16.

    The re-packed weights have a kernel without autograd: training after an evaluation would raise, or go on with
    wrong gradients (0.49.2 and 0.50.2).
    """
    for module in quantized(model).values():
        module.support_avx512bf16_for_cpu = False


def answer_ids(loaded: Loaded, prompt: prompts.PromptParams) -> tuple[int, int]:
    """Token of the negative and of the positive answer.

    Raises:
        ModelError: If an answer is not exactly one known token of the model.
    """
    found = {
        answer: loaded.tokenizer.encode(answer, add_special_tokens=False)
        for answer in (prompt.negative_answer, prompt.positive_answer)
    }
    odd = {
        answer: loaded.tokenizer.convert_ids_to_tokens(ids)
        for answer, ids in found.items()
        if len(ids) != 1 or ids[0] == loaded.tokenizer.unk_token_id
    }
    if odd:
        raise ModelError(f"prompt: found the answers {odd} as tokens of the model, wanted one token each")
    return found[prompt.negative_answer][0], found[prompt.positive_answer][0]


def encode(loaded: Loaded, images: Any, text: str, *, image_first: bool) -> dict[str, Any]:
    """Inputs of the model for `text` with each image.

    Args:
        loaded: The model.
        images: n images, uint8 arrays of shape (side_px, side_px), or their vision features, as `features` gives them;
            a sequence, or one tensor.
        text: The prompt.
        image_first: Whether the image stands before it.

    Returns:
        input_ids, attention_mask and token_type_ids (which lets the tokens of an image attend both ways), int tensors
        of shape (n, tokens), and pixel_values, of shape (n, 3, side_px, side_px) in the type of the model, or
        mm_encoder_outputs, which holds the features.

    Raises:
        MismatchError: If an image has not the side that the model takes.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    stack = images if isinstance(images, torch.Tensor) else torch.stack([torch.as_tensor(image) for image in images])
    tokens = {name: ids.expand(len(stack), -1) for name, ids in _tokens(loaded, text, image_first).items()}
    if stack.is_floating_point():
        seen = BaseModelOutputWithPooling(pooler_output=stack.to(loaded.device, non_blocking=True))
        return {**tokens, "mm_encoder_outputs": {"image": seen}}
    return {**tokens, "pixel_values": _pixels(loaded, stack)}


def features(loaded: Loaded, images: Sequence[np.ndarray]) -> Any:
    """Vision features of each image, the projector's output, which `encode` takes instead of the image.

    Args:
        loaded: The model.
        images: n images, uint8 arrays of shape (side_px, side_px).

    Returns:
        Tensor of shape (n, image_tokens, hidden) in the type of the model.

    Raises:
        MismatchError: If an image has not the side that the model takes.
    """
    return vision(loaded, images).projected


@dataclass(frozen=True)
class Vision:
    """What the vision tower makes of n images, in the type of the model.

    Attributes:
        patches: Of each patch, before the projector: tensor of shape (n, patches, hidden of the tower).
        projected: Of each image token, behind it: tensor of shape (n, image_tokens, hidden).
    """

    patches: Any
    projected: Any


def vision(loaded: Loaded, images: Sequence[np.ndarray]) -> Vision:
    """One pass of the vision tower and the projector, as of `features`."""
    import torch

    with torch.no_grad():
        pixels = _pixels(loaded, torch.from_numpy(np.stack(images)))
        seen = loaded.model.get_image_features(pixels, return_dict=True)
    return Vision(seen.last_hidden_state, seen.pooler_output)


def _pixels(loaded: Loaded, images: Any) -> Any:
    """Images, uint8 tensor of shape (n, side_px, side_px), as the tower takes them."""
    wanted = (loaded.side_px, loaded.side_px)
    if tuple(images.shape[1:]) != wanted:
        raise MismatchError(
            f"found images of shape {tuple(images.shape[1:])}, wanted {wanted}, as the model takes; "
            "set data.normalize.side_px"
        )
    greys = loaded.greys[:, images.to(loaded.device, non_blocking=True).long()]
    return greys.transpose(0, 1).to(loaded.model.dtype)


def last_logits(loaded: Loaded, batch: Mapping[str, Any], tokens: Sequence[int], *, through: Any = None) -> Last:
    """Logits after the last token of a batch, those of two tokens in float32.

    Args:
        loaded: The model.
        batch: What the model takes.
        tokens: Ids of the two tokens.
        through: The model in a wrapper, such as DistributedDataParallel, if the pass has to go through it.
    """
    return last_token.logits(loaded.model, batch, tokens, through=through)


def ask(loaded: Loaded, images: Any, prompt: prompts.PromptParams, pair: Sequence[int], *, through: Any = None) -> Last:
    """Logits after the last token of the prompt with each image, the only ones computed.

    One forward pass, in whatever mode (train, eval, with gradients or without) the model is. The attention masks are
    the same for every batch and made once: of a tiny model's time they take a third.

    Args:
        loaded: The model.
        images: As of `encode`.
        prompt: The prompt.
        pair: Ids of its two answers, see `answer_ids`.
        through: As of `last_logits`.
    """
    batch = encode(loaded, images, prompt.question, image_first=prompt.image_first)
    batch["attention_mask"] = _masks(loaded, prompt.question, prompt.image_first)
    return last_logits(loaded, batch, pair, through=through)


def answer_logits(
    loaded: Loaded, images: Sequence[np.ndarray] | np.ndarray, prompt: prompts.PromptParams
) -> np.ndarray:
    """Logits of the two answers for each image, from one forward pass without generated text.

    Args:
        loaded: The model.
        images: n images, uint8 arrays of shape (side_px, side_px).
        prompt: Question and answers.

    Returns:
        Float64 array of shape (n, 3): logit of the negative answer's token, logit of the positive answer's, and the
        probability of the two together, in [0, 1].
    """
    import torch

    pair = list(answer_ids(loaded, prompt))
    with torch.inference_mode():
        return ask(loaded, images, prompt, pair).answers(pair)


@dataclass(frozen=True)
class Generated:
    """Generated text.

    Attributes:
        text: Without special tokens.
        cut: Whether it ended at `max_new_tokens`, and not by a token that ends a response: there may be more to say.
    """

    text: str
    cut: bool


def generate(
    loaded: Loaded, images: Sequence[np.ndarray], text: str, max_new_tokens: int, *, image_first: bool = True
) -> list[Generated]:
    """Response for each image by greedy decoding."""
    import torch

    with torch.inference_mode():
        batch = encode(loaded, images, text, image_first=image_first)
        words = loaded.model.generate(
            **batch,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            top_k=None,
            top_p=None,
            use_cache=True,
            pad_token_id=loaded.tokenizer.pad_token_id,
        )
    made = words[:, batch["input_ids"].shape[1] :]  # (n, new tokens); padded behind the token that ends a response
    ends = torch.as_tensor(loaded.model.generation_config.eos_token_id, device=made.device)
    cut = (~torch.isin(made, ends).any(dim=1)).tolist()
    texts = loaded.tokenizer.batch_decode(made, skip_special_tokens=True)
    return [Generated(said, was_cut) for said, was_cut in zip(texts, cut, strict=True)]


def _tokens(loaded: Loaded, text: str, image_first: bool) -> dict[str, Any]:
    """Tokens of one conversation, int tensors of shape (1, tokens), and check them once."""
    import torch

    key = (text, image_first)
    if key not in loaded.tokens:
        talk = loaded.processor.apply_chat_template(
            prompts.messages(text, image_first=image_first), tokenize=False, add_generation_prompt=True
        )
        blank = np.zeros((loaded.side_px, loaded.side_px, 3), dtype=np.uint8)
        with torch.inference_mode(False):  # kept for later passes, which may want gradients
            found = loaded.processor(text=[talk], images=[[blank]], add_special_tokens=False, return_tensors="pt")
        ids = found["input_ids"]
        counts = {
            "image tokens": (int((ids == loaded.model.config.image_token_id).sum()), loaded.image_tokens),
            "tokens of an image by type": (int((found["token_type_ids"] == 1).sum()), loaded.image_tokens),
            "beginnings": (int((ids == loaded.tokenizer.bos_token_id).sum()), 1),
        }
        odd = [f"{found} {name}, wanted {wanted}" for name, (found, wanted) in counts.items() if found != wanted]
        if odd:
            raise ModelError(f"the conversation {text!r} with an image: found {'; '.join(odd)}")
        names = ("input_ids", "attention_mask", "token_type_ids")
        loaded.tokens[key] = {name: found[name].to(loaded.device) for name in names}
    return loaded.tokens[key]


def _masks(loaded: Loaded, text: str, image_first: bool) -> Any:
    """Attention masks of one conversation by kind of layer, tensors of shape (1, 1, tokens, tokens)."""
    import torch

    key = (text, image_first)
    if key not in loaded.masks:
        tokens = _tokens(loaded, text, image_first)
        with torch.inference_mode(False):
            loaded.masks[key] = loaded.model.create_masks_for_generate(
                config=loaded.model.config,
                inputs_embeds=torch.empty(
                    (*tokens["input_ids"].shape, 1), dtype=loaded.model.dtype, device=loaded.device
                ),
                attention_mask=tokens["attention_mask"],
                past_key_values=None,
                position_ids=None,
                token_type_ids=tokens["token_type_ids"],
            )
    return loaded.masks[key]


def _check_quantized(model: Any) -> None:
    names = list(quantized(model))
    wrong = [name for name in names if name.startswith(UNQUANTIZED)]
    if wrong or not names:
        raise ModelError(
            f"quantization to 4 bits reached {len(names)} layers, of them {wrong[:3]} that were to stay as they are"
        )


def quiet() -> None:
    """Keep the hub's client off the network, before it is first imported, and known warnings out of the log."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # peft 0.21 asks transformers 5.23 for an attribute by its old name
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # On some processors bitsandbytes looks for a faster kernel of another package; without one it runs all the same.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_about_no_missing_kernel)


def _is_about_no_missing_kernel(record: logging.LogRecord) -> bool:
    return "gemm_4bit_forward from kernels-community" not in str(record.msg)

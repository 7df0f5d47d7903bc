"""Operations of grounding in context with the real 4B model: what kept features and a shared beginning save.

Attention is counted as if every layer saw all tokens, as the kernel of sdpa computes it behind a mask.
"""

from typing import Any

from stages.lib.models import conversation, gemma3, prompts
from workflow.bench import architecture
from workflow.bench.flops import TERA, count, images
from workflow.bench.result import COUNTED, Result

COMMAND = "make bench ONLY=in_context"
EXAMPLES = (20, 40)
EXAMPLE_TOKENS = 330  # of an example: 256 of its image, its sentence and its boxes, about, with Gemma's tokenizer
LAST_TOKENS = 400  # of the image that is asked about, the question and the marks around them
QUESTION_TOKENS = 60  # of these, behind the image
SENTENCES = 2.07  # with boxes on an image, in PadChest-GR
PROMPT = prompts.PromptParams(question="Where is it?", answers="Yes/No", image_first=True)


def read(loaded: gemma3.Loaded, tokens: int, behind: int) -> tuple[float, float]:
    """Operations of reading the beginning of a conversation, and the question behind what is kept of it.

    Args:
        loaded: The model, on the meta device.
        tokens: Of the conversation.
        behind: Of the question, behind the last image.
    """
    import torch

    ids = torch.zeros(tokens, dtype=torch.long, device="meta")
    prompt = conversation.Prompt(ids, ("question",), tokens - behind)
    kept: list[Any] = []
    first = count(lambda: kept.append(conversation.prefill(loaded, prompt, images(loaded, 1, cached=True))))

    def ask() -> None:
        with torch.inference_mode():
            loaded.model(input_ids=ids[None, -behind:], past_key_values=kept[0], use_cache=True, logits_to_keep=1)

    return first, count(ask)


def tower(loaded: gemma3.Loaded) -> float:
    """Operations of the vision features of one image."""
    import torch

    def work() -> None:
        with torch.no_grad():
            pixels = images(loaded, 1, cached=False)
            loaded.model.get_image_features(torch.zeros((1, 3, *pixels.shape[1:]), device="meta"), return_dict=True)

    return count(work)


def bench(examples: tuple[int, ...] = EXAMPLES) -> dict[str, Result]:
    """TFLOP of an image and all its sentences, and what is left of them by each of the two savings."""
    loaded = architecture.loaded(architecture.real_4b(), PROMPT, LAST_TOKENS)
    one = tower(loaded)
    made = {}
    for k in examples:
        tokens = k * EXAMPLE_TOKENS + LAST_TOKENS
        first, question = read(loaded, tokens, QUESTION_TOKENS)
        whole = SENTENCES * ((k + 1) * one + first + question)
        kept = one + SENTENCES * (first + question)  # the features of the image that is asked about are made once
        shared = one + first + SENTENCES * question
        note = f"{tokens} tokens, {SENTENCES} sentences an image"
        made[f"in_context.k{k}"] = _counted(whole / TERA, "TFLOP", note)
        made[f"in_context.k{k}_features_kept"] = _counted(kept / whole, "of it", "vision features on disk")
        made[f"in_context.k{k}_beginning_shared"] = _counted(
            shared / whole, "of it", "and one beginning for all sentences"
        )
    return made


def _counted(value: float, unit: str, note: str) -> Result:
    return Result(value=value, unit=unit, label=COUNTED, command=COMMAND, note=note)

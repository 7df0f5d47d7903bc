"""Operations and parameters of the study's model as it answers a question, counted without its weights."""

from pathlib import Path
from typing import NamedTuple

from stages.lib.core.errors import ModelError
from stages.lib.models import gemma3
from stages.lib.models.operations import count


class Size(NamedTuple):
    """Floating-point operations of one image in one pass, and parameters of the model."""

    operations: float
    parameters: int


def of_answer(base: Path, question: str) -> Size:
    """Size of MedGemma, or of a model of its class, that gives the logits of an answer to a question on one image.

    Args:
        base: Its folder; of the weights nothing is read.
        question: The question; only the number of its tokens counts.

    Raises:
        ModelError: If the folder holds no such model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    gemma3.quiet()
    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        processor = AutoProcessor.from_pretrained(base, backend="pil", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{base}: cannot be read as a vision-language model: {error}") from error
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config).eval()
    loaded = gemma3.ready(model, processor)
    image = torch.zeros((1, loaded.side_px, loaded.side_px), dtype=torch.uint8, device="meta")

    def work() -> None:
        with torch.no_grad():
            gemma3.last_logits(loaded, gemma3.encode(loaded, image, question, image_first=False), (0, 1))

    return Size(count(work), sum(one.numel() for one in model.parameters()))

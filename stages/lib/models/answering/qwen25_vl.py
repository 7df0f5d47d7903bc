"""Qwen2.5-VL, and models that were trained from it, such as CheXOne: one question about one image, one pass.

The image's patches and the prompt's tokens are put together by hand: the model's own processor wants a video processor
too, and another package beside it would change its pixels. The types of the tokens (text or image) are always handed
on: without them the model takes an image's tokens for text, gives their places one number in the place of three, and
answers otherwise without a word.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.lib.core.errors import ModelError
from stages.lib.core.log import LOG
from stages.lib.models import last_token, model_class, operations, preprocessor
from stages.lib.models.answerer import Answerer, AnswererParams, AnswererSetting, Wording, first_tokens, identity
from stages.lib.models.prompts import messages

CLASS = "Qwen2_5_VLForConditionalGeneration"
IMAGE = 1  # type of an image token; text is 0
TRAINED_PX = 512  # side of the images that CheXOne was trained on, at most
TEXT_TOKENS = 40  # of a question and the conversation around it, for the count of operations


def load(params: AnswererParams, setting: AnswererSetting) -> Answerer:
    """The model of a row.

    Raises:
        ModelError: If the folder does not hold such a model, whole, or the side is no multiple of an image token's.
    """
    import torch

    folder, row = setting.found.folder, setting.row
    document = model_class.check(folder, [CLASS], row)
    with model_class.reading(folder, CLASS, row):
        vision = document.get("vision_config") or {}
        patch, merged = int(vision.get("patch_size", 14)), int(vision.get("spatial_merge_size", 2))
    token_px = patch * merged
    if params.side_px % token_px:
        near = params.side_px // token_px * token_px
        raise ModelError(
            f"{row}: found side_px {params.side_px}, wanted a multiple of {token_px}, an image token's side, such as "
            f"{near or token_px} or {near + token_px}"
        )
    if params.side_px > TRAINED_PX:
        LOG.warning("%s: side_px %d is more than the %d that CheXOne was trained on", row, params.side_px, TRAINED_PX)
    values = torch.from_numpy(preprocessor.greys(folder, row))  # (3, 256)
    tokenizer = _tokenizer(folder, row)
    model = model_class.load(folder, CLASS, row, dtype=params.dtype)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, values = model.to(device), values.to(device)
    frames = int(vision.get("temporal_patch_size", 2))

    def ask(images: Sequence[np.ndarray], wording: Wording) -> np.ndarray:
        pair = answer_tokens(tokenizer, wording, row)
        pixels = preprocessor.pixels(values, images, params.side_px, row)  # (n, 3, side, side)
        prompt = prompt_tokens(tokenizer, wording, (params.side_px // token_px) ** 2, model.config.image_token_id, row)
        cut = patches(pixels, patch, merged, frames).to(model.dtype)
        given = inputs(cut, prompt, params.side_px // patch, len(images), model.config.image_token_id)
        with torch.inference_mode():
            last = last_token.logits(model, {name: found.to(device) for name, found in given.items()}, pair)
        return last.answers(pair)

    return Answerer(
        ask=ask,
        compares=False,
        token_px=token_px,
        identity=identity(__name__, CLASS, setting.found.sha256, params.dtype, device, params.side_px),
        parameters=sum(one.numel() for one in model.parameters()),
        operations=_operations(model.config, params.side_px // patch, merged),
        random_weights=model_class.has_random_weights(document),
    )


def answer_tokens(tokenizer: Any, wording: Wording, row: str) -> tuple[int, int]:
    """First token of the negative and of the positive answer, as the model would begin it.

    Raises:
        ModelError: If the two begin with the same token.
    """
    ids = {one: tokenizer.encode(one, add_special_tokens=False) for one in (wording.negative, wording.positive)}
    found = first_tokens(ids, row)
    return found[wording.negative], found[wording.positive]


def prompt_tokens(tokenizer: Any, wording: Wording, count: int, image_token: int, row: str) -> np.ndarray:
    """Tokens of the conversation up to where the answer begins, the image's `count` times.

    Raises:
        ModelError: If the chat template puts no image, or several, into the prompt.
    """
    text = tokenizer.apply_chat_template(
        messages(wording.question or "", image_first=True), add_generation_prompt=True, tokenize=False
    )
    ids = np.array(tokenizer.encode(text, add_special_tokens=False), np.int64)
    where = np.flatnonzero(ids == image_token)
    if len(where) != 1:
        raise ModelError(
            f"{row}: its chat template puts {len(where)} images into the prompt, wanted one; look at chat_template in "
            "its folder"
        )
    return np.concatenate([ids[: where[0]], np.full(count, image_token), ids[where[0] + 1 :]])


def patches(pixels: Any, patch: int, merged: int, frames: int) -> Any:
    """Patches of images as the tower takes them, the four of an image token beside each other.

    Args:
        pixels: Float tensor of shape (n, channels, side, side).
        patch: Side of a patch, pixels.
        merged: Patches along a side of an image token.
        frames: Frames of one patch in time; an image is repeated for each.

    Returns:
        Tensor of shape (n * patches, channels * frames * patch * patch).
    """
    n, channels, side, _ = pixels.shape
    rows = side // patch // merged
    cut = pixels.reshape(n, channels, rows, merged, patch, rows, merged, patch)
    cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (n, rows, columns, merged, merged, channels, patch, patch)
    cut = cut.unsqueeze(6).expand(*cut.shape[:6], frames, patch, patch)
    return cut.reshape(n * (side // patch) ** 2, channels * frames * patch * patch)


def inputs(pixel_values: Any, prompt: np.ndarray, rows: int, count: int, image_token: int) -> dict[str, Any]:
    """What the model takes: the same prompt with each of `count` images.

    Args:
        pixel_values: Of `patches`.
        prompt: Of `prompt_tokens`.
        rows: Rows of patches of an image; columns are as many.
        count: Number of images.
        image_token: Token that stands for an image.
    """
    import torch

    ids = torch.from_numpy(prompt)[None].expand(count, -1)  # (n, tokens)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == image_token).long() * IMAGE,
        "pixel_values": pixel_values,
        "image_grid_thw": torch.tensor([[1, rows, rows]]).expand(count, -1),
    }


def _tokenizer(folder: Any, row: str) -> Any:
    from transformers import AutoTokenizer

    with model_class.reading(folder, f"{CLASS}, for its tokenizer", row):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _operations(config: Any, rows: int, merged: int) -> float:
    """Operations of one image and a short question in one pass.

    Those of the language model are counted; those of the tower, whose windows are cut by numbers that meta tensors do
    not have, are summed up over the shapes of its layers: each weight once a token, and attention within its windows.
    """
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    text = config.text_config
    tokens = (rows // merged) ** 2 + TEXT_TOKENS
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config).eval()
        embedded = torch.zeros(1, tokens, text.hidden_size)
        places = torch.zeros(3, 1, tokens, dtype=torch.long)

    def work() -> None:
        seen = model.model.language_model(inputs_embeds=embedded, position_ids=places, use_cache=False)
        model.lm_head(seen.last_hidden_state[:, -1:])

    return operations.count(work) + _of_tower(model.model.visual, config.vision_config, rows)


def _of_tower(tower: Any, config: Any, rows: int) -> float:
    """Operations of the tower on one image of rows x rows patches, two per multiply-add."""
    patches_ = rows * rows
    window = min((config.window_size // config.patch_size) ** 2, patches_)
    total = 2.0 * patches_ * tower.patch_embed.proj.weight.numel()
    for number, block in enumerate(tower.blocks):
        total += 2.0 * patches_ * sum(one.numel() for name, one in block.named_parameters() if one.ndim == 2)
        seen = patches_ if number in config.fullatt_block_indexes else window
        total += 4.0 * patches_ * seen * config.hidden_size
    merged = patches_ // config.spatial_merge_size**2
    return total + 2.0 * merged * sum(one.numel() for one in tower.merger.parameters() if one.ndim == 2)

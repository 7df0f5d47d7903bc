"""SigLIP, and models that were trained from it, such as MedSigLIP: which of two texts is more like an image.

Source: Zhai et al. (2023), Sigmoid loss for language image pre-training: a logit is a cosine, scaled and moved.
"""

from collections.abc import Sequence

import numpy as np

from stages.lib.core.errors import ModelError
from stages.lib.models import model_class, operations, preprocessor
from stages.lib.models.answerer import Answerer, AnswererParams, AnswererSetting, Wording, identity
from stages.lib.models.lofi import words

CLASS = "SiglipModel"


def load(params: AnswererParams, setting: AnswererSetting) -> Answerer:
    """The model of a row, both sides.

    Raises:
        ModelError: If the folder does not hold such a model, whole, or the patch does not divide the row's side.
    """
    import torch

    folder, row = setting.found.folder, setting.row
    document = model_class.check(folder, [CLASS], row)
    model = model_class.load(folder, CLASS, row, dtype=params.dtype)
    patch = int(model.config.vision_config.patch_size)
    if params.side_px % patch:
        near = params.side_px // patch * patch
        raise ModelError(
            f"{row}: found side_px {params.side_px}, wanted a multiple of {patch}, its patch, such as {near or patch} "
            f"or {near + patch}"
        )
    tower = words.tower_words(folder, model.config.text_config.max_position_embeddings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device)
    values = torch.from_numpy(preprocessor.greys(folder, row)).to(device)  # (3, 256)
    known: dict[str, torch.Tensor] = {}

    def text(of: str) -> torch.Tensor:
        if of not in known:
            ids = torch.from_numpy(tower.encode([of])).to(device)
            found = model.get_text_features(input_ids=ids).pooler_output.float()  # (1, d)
            known[of] = torch.nn.functional.normalize(found, dim=-1)[0]
        return known[of]

    def ask(images: Sequence[np.ndarray], wording: Wording) -> np.ndarray:
        pixels = preprocessor.pixels(values, images, params.side_px, row).to(model.dtype)
        with torch.inference_mode():
            seen = model.get_image_features(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output.float()
            texts = torch.stack([text(wording.negative), text(wording.positive)])  # (2, d)
            cosine = torch.nn.functional.normalize(seen, dim=-1) @ texts.T  # (n, 2)
            logits = cosine * model.logit_scale.float().exp() + model.logit_bias.float()
        whole = torch.ones(len(logits), 1, device=device)  # there is nothing beside the two texts
        return np.asarray(torch.cat([logits, whole], dim=1).double().cpu().numpy())

    return Answerer(
        ask=ask,
        compares=True,
        token_px=patch,
        identity=identity(__name__, CLASS, setting.found.sha256, params.dtype, device, params.side_px),
        parameters=sum(one.numel() for one in model.parameters()),
        operations=_operations(model.config, params.side_px),
        random_weights=model_class.has_random_weights(document),
    )


def _operations(config: object, side_px: int) -> float:
    """Operations of one image; its two texts are read once for all images."""
    import torch
    from transformers import SiglipModel

    with torch.device("meta"):
        model = SiglipModel._from_config(config).eval()
        pixels = torch.zeros(1, 3, side_px, side_px)
    return operations.count(lambda: model.get_image_features(pixel_values=pixels, interpolate_pos_encoding=True))

"""MedGemma, the study's own base without an adapter, asked other questions than the study's."""

from collections.abc import Sequence

import numpy as np

from stages.lib.core.errors import ModelError
from stages.lib.models import gemma3, gemma3_size, model_class
from stages.lib.models.answerer import Answerer, AnswererParams, AnswererSetting, Wording, identity
from stages.lib.models.prompts import PromptParams

CLASS = "Gemma3ForConditionalGeneration"
QUESTION = "Does this chest X-ray show a lung nodule?"  # for the count of operations alone


def load(params: AnswererParams, setting: AnswererSetting) -> Answerer:
    """The base model of the study, held as `nodules.model` says.

    Raises:
        ModelError: If it cannot be loaded, or takes images of another side than the row's.
    """
    if setting.model is None:
        raise ModelError(f"{setting.row}: found no nodules.model, wanted it: how MedGemma is held")
    document = model_class.check(setting.found.folder, [CLASS], setting.row)
    loaded = gemma3.load(setting.found.folder, setting.model)
    if params.side_px != loaded.side_px:
        raise ModelError(f"{setting.row}: found side_px {params.side_px}, wanted {loaded.side_px}, as the model takes")

    def ask(images: Sequence[np.ndarray], wording: Wording) -> np.ndarray:
        prompt = PromptParams(
            question=wording.question or "", answers=f"{wording.positive}/{wording.negative}", image_first=True
        )
        return gemma3.answer_logits(loaded, images, prompt)

    size = gemma3_size.of_answer(setting.found.folder, QUESTION)
    return Answerer(
        ask=ask,
        compares=False,
        token_px=loaded.token_px,
        identity=identity(__name__, CLASS, setting.found.sha256, setting.model, loaded.device),
        parameters=size.parameters,
        operations=size.operations,
        random_weights=model_class.has_random_weights(document),
    )

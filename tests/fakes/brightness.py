"""Mean brightness, as a classifier."""

import numpy as np

from stages.lib.core import params
from stages.lib.images import normalized
from stages.lib.models.classify import Classifier, Setting


@params.section
class Params:
    """Nothing but a scale."""

    scale: params.PositiveFloat


def classifier(params: Params, setting: Setting) -> Classifier:
    """Classifier whose margin is the mean grey value."""

    def logits(images: list[np.ndarray]) -> np.ndarray:
        margin = np.array([image.mean() / params.scale for image in images])
        return np.stack([-margin, margin, np.ones(len(images))], axis=1)

    return Classifier(logits=logits, load=normalized.load, token_px=14)

"""Scores of images by an image network, at all places of an image."""

from typing import TYPE_CHECKING

from stages.lib.learn.candidate import Scores, Setting
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models import classify

if TYPE_CHECKING:
    from stages.lib.models.image_network import Loaded


def score_images(loaded: "Loaded", shifts: int, setting: Setting) -> Scores:
    """Sigmoid of each image's logit, the mean over its places.

    Args:
        loaded: The network.
        shifts: Places along a side of a patch.
        setting: Images, with pixels.

    Raises:
        ModelError: If the shifts do not divide a patch.
        MismatchError: If an image has another side.
    """
    from stages.lib.models import image_network

    load, ask = classify.averaged(image_network.classifier(loaded), shifts, f"{setting.row}: shifts")
    pixels = setting.images.pixels or ()
    found = classify.in_batches(pixels, ask, load, setting.batch_size, setting.readers)  # (n, 3)
    return Scores(score=sigmoid(found[:, 1] - found[:, 0]), logits=found[:, :2])

"""Scores of images by an image network, at all places of an image."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.learn.candidate import Scores, Setting
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models import classify

if TYPE_CHECKING:
    from stages.lib.models.image_network import Loaded


def score_images(loaded: "Loaded", shifts: int, setting: Setting) -> Scores:
    """Sigmoid of each image's logit, the mean over its places.

    Args:
        loaded: The network, in eval mode.
        shifts: Places along a side of a patch.
        setting: Images, with pixels.

    Raises:
        ModelError: If there are no pixels, or the shifts do not divide a patch.
        MismatchError: If an image has another side.
    """
    from stages.lib.models import image_network

    pixels = setting.images.pixels
    if pixels is None:
        raise ModelError(f"{setting.row}: found no images, wanted normalized ones at {loaded.described.side_px} px")
    load, ask = classify.averaged(image_network.classifier(loaded), shifts, f"{setting.row}: shifts")
    found = classify.in_batches(pixels, ask, load, setting.batch_size, setting.readers)  # (n, 3)
    return Scores(score=sigmoid(found[:, 1] - found[:, 0]), logits=found[:, :2])


def score_folder(folder: Path, architecture: str | None, side_px: int, shifts: int, setting: Setting) -> Scores:
    """The same by a network that was written to a folder.

    Args:
        folder: Its weights, and what they are.
        architecture: Class that the row wants; None for any one.
        side_px: Side that the row wants.
        shifts: As `score_images`.
        setting: Likewise.

    Raises:
        DocumentError: If nothing was fitted.
        ModelError: If the weights are not all and only those of the class.
        MismatchError: If another class, or another side, was fitted.
    """
    from stages.lib.models import image_network

    told = image_network.described(folder)
    wanted = architecture or told.architecture
    if (told.architecture, told.side_px) != (wanted, side_px):
        raise MismatchError(
            f"{setting.row}: fitted as {told.architecture} at {told.side_px} px, wanted {wanted} at {side_px} px; run "
            "zoo.fit of this row again"
        )
    return score_images(image_network.read(folder, setting.row), shifts, setting)

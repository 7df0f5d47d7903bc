"""Scores of images by an image network, at all places of an image."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import files
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.learn.candidate import Scores, Setting
from stages.lib.learn.kept_logits import KeptLogits
from stages.lib.metrics.calibration import sigmoid
from stages.lib.models import classify
from stages.lib.models.answerer import identity

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
    return _scores(_logits(loaded, shifts, setting))


def _scores(found: NDArray[np.float64]) -> Scores:
    return Scores(score=sigmoid(found[:, 1] - found[:, 0]), logits=found[:, :2])


def _logits(loaded: "Loaded", shifts: int, setting: Setting) -> NDArray[np.float64]:
    """Logits of both answers, means over the places, and 1; shape (n, 3). Errors as of `score_images`."""
    from stages.lib.models import image_network

    pixels = setting.images.pixels
    if pixels is None:
        raise ModelError(f"{setting.row}: found no images, wanted normalized ones at {loaded.described.side_px} px")
    load, ask = classify.averaged(image_network.classifier(loaded), shifts, f"{setting.row}: shifts")
    return np.asarray(classify.in_batches(pixels, ask, load, setting.batch_size, setting.readers), np.float64)


def score_folder(folder: Path, architecture: str | None, side_px: int, shifts: int, setting: Setting) -> Scores:
    """The same by a network that was written to a folder; images that it has seen before are not shown to it again.

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
    loaded = image_network.read(folder, setting.row)
    written = [files.sha256_file(folder / name) for name in (image_network.WEIGHTS, image_network.FILE)]
    facts = [identity(image_network.__name__, *written, loaded.network.greys.device), shifts]
    return _scores(KeptLogits(setting).find(facts, partial(_logits, loaded, shifts, setting)))

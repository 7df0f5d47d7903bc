"""Logits of images, found where the same model was asked the same about the same images before.

The logits of all images of a call are in one file, named after all that decides them: the model, what it is asked, how
many images are in a pass, and the bytes of each image. The name of a row does not, so a row that is renamed, or another
one with the same model, finds them. Two processes that make the same file replace each other's whole.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import files
from stages.lib.learn.candidate import Setting
from stages.lib.models import kept

FOLDER = "asked"
WIDTH = 3  # logit of the negative answer, of the positive one, and the probability of the two


class KeptLogits:
    """Logits of the images of a setting.

    Args:
        setting: Images with pixels, images in a pass, and the folder that they are kept in.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    @cached_property
    def _digests(self) -> list[str]:
        return [files.sha256_file(path) for path in self._setting.images.pixels or ()]

    def find(self, facts: Sequence[object], make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Logits of all images, shape (n, 3): those that are kept, or else those that are made, which are kept then.

        Args:
            facts: What decides them, beside the images.
            make: Makes them. What is no number is handed on, and not kept.
        """
        decides = [*map(str, facts), self._setting.batch_size, self._digests]
        at = kept.path(self._setting.kept / FOLDER, files.sha256_json(decides))
        known = kept.read(at, kept.DOUBLE)
        if known is not None and known.size == WIDTH * len(self._digests):
            return np.asarray(known.reshape(-1, WIDTH), np.float64)
        found = make()
        if np.isfinite(found).all():
            kept.write(at, found, kept.DOUBLE)
        return found

"""The brightest place of a view, as a localizer."""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.lib.core import params
from stages.lib.detect import driver
from stages.lib.detect.detection import Detection, Query, Response


@params.section
class Params:
    """Nothing to choose but the prompts, which are not looked at."""

    prompts: tuple[params.Text, ...]


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """Localizer that finds one point per view."""

    def ask(queries: Sequence[Query]) -> Iterator[Response]:
        for query in queries:
            pixels = query.pixels().astype(float)
            v, u = np.unravel_index(pixels.argmax(), pixels.shape)
            place = ((u + 0.5) / pixels.shape[1], (v + 0.5) / pixels.shape[0])
            yield Response("", "ok", (Detection(*place, box=None, confidence=pixels.max() / 255, phrase=None),))

    return ask

"""A map of a sentence over an image, without generated text: its hills are the boxes, its heights the confidences."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages.lib.core import params
from stages.lib.detect import similarity
from stages.lib.detect.grounder import Answered, Asked, Grounder, Setting, wanted
from stages.lib.images.extent import extent
from stages.lib.models import snapshot
from stages.lib.models.lofi import card, weights


@params.section
class Params:
    """Which encoder, how the map is made, and what of it becomes a box."""

    encoder: params.Text  # row of lofi.encoders, of the kind lofi or siglip
    method: similarity.Method  # each patch alone through the head of images, or the tower's own tokens
    max_boxes: params.Count  # of a sentence, the surest
    box_fraction: Annotated[float, Field(gt=0, le=1)]  # of a hill's height above the median, at which its box ends


def grounder(params: Params, setting: Setting) -> Grounder:
    """A grounder that asks LoFi's two towers.

    Raises:
        ParamsError: If the encoder's record was not given.
        MismatchError: If the adapter is of another base, or of other pixels.
        ModelError: If the encoder cannot be loaded.
    """
    base = snapshot.read(wanted("base", setting.base))
    model = wanted("model", setting.model)
    adapter = Path(setting.adapter) if setting.adapter else None
    if adapter:
        card.check(adapter, setting.preprocessing_hash, base.identity, None, model)
    loaded = weights.load(base, None, model, adapter)

    def ask(asked: Sequence[Asked]) -> Iterator[Answered]:
        texts = {text: loaded.embed_texts([text])[0] for text in dict.fromkeys(one.text for one in asked)}
        for _, group in groupby(asked, key=lambda one: one.group):
            image = None
            for one in group:
                if image is None:
                    image = one.pixels(loaded.network.side_px)
                    patches = similarity.patch_embeddings(loaded, image, params.method)
                found = similarity.hills(
                    similarity.cosines(patches, texts[one.text]),
                    most=params.max_boxes,
                    box_fraction=params.box_fraction,
                    image=extent(image),
                )
                sure = tuple(similarity.confidence(loaded, hill.value) for hill in found)
                yield Answered("ok" if found else "empty", None, tuple(hill.box for hill in found), sure)

    return ask

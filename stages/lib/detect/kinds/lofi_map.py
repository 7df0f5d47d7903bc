"""LoFi as a localizer, without generated text: hills of the map of a sentence over an image.

A point is the top of a hill, its box goes around it, and its confidence is the sigmoid of LoFi's own scale and bias.
The weights are those of lofi.model.encoder, not those of the study's base model.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages.lib.core import params
from stages.lib.detect import driver, similarity
from stages.lib.detect.detection import Detection, Query, Response, batches
from stages.lib.images.extent import extent
from stages.lib.models import snapshot
from stages.lib.models.encoders.lofi import trained_as
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.params import ModelParams

BARE: Mapping[str, Any] = {  # how a network without an adapter is joined: LoRA of it changes nothing
    "decoder": "none",
    "decoder_revision": "none",
    "dtype": "float32",
    "attention": "sdpa",
    "pooling": "queries",
    "visual_tokens": 1,
    "average_patches": False,
    "lora_r": 1,
    "decoder_lora_r": 1,
    "train_head": False,
    "train_scale": False,
}


@params.section
class Params:
    """Which sentences are asked about, and what of their maps becomes a detection."""

    prompts: tuple[params.Text, ...]  # the bank: sentences, each put to images that choose, the best to all
    lofi_adapter: params.Text  # folder of a LoFi adapter, such as lofi.train makes; none: LoFi's encoder as it is
    method: similarity.Method  # each patch alone through the head of images, or the tower's own tokens
    max_boxes: params.Count  # of an image, the surest
    box_fraction: Annotated[float, Field(gt=0, le=1)]  # of a hill's height above the median, at which its box ends
    min_confidence: params.Fraction  # weaker hills are left out
    batch_size: params.Count  # images read at once


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """A localizer that takes the hills of LoFi's maps.

    Raises:
        ParamsError: If no record of the model's files was given.
        MismatchError: If the adapter is of another base, or of images that were normalized otherwise.
        ModelError: If the model cannot be loaded.
    """
    base = snapshot.read(setting.path("fetched"))
    loaded = load(base, params, setting.preprocessing_hash)

    def ask(queries: Sequence[Query]) -> Iterator[Response]:
        for batch in batches(queries, params.batch_size):
            text = loaded.embed_texts([batch[0].prompt])[0]
            for query in batch:
                image = query.pixels()
                values = similarity.cosines(similarity.patch_embeddings(loaded, image, params.method), text)
                found = similarity.hills(
                    values, most=params.max_boxes, box_fraction=params.box_fraction, image=extent(image)
                )
                yield response(loaded, found, query.prompt, params.min_confidence)

    return ask


def load(base: snapshot.Snapshot, params: Params, preprocessing_hash: str) -> weights.Loaded:
    """LoFi's towers, with the adapter if there is one, which says how the network is joined.

    Args:
        base: Files of the SiglipModel.
        params: See `Params`.
        preprocessing_hash: Of the images; empty if there is none to compare.
    """
    if params.lofi_adapter == "none":
        return weights.load(base, None, ModelParams(encoder=base.base, encoder_revision=base.revision, **BARE))
    folder = Path(params.lofi_adapter)
    model = trained_as(folder)
    if preprocessing_hash:
        card.check(folder, preprocessing_hash, base.identity, None, model)
    return weights.load(base, None, model, folder)


def response(loaded: weights.Loaded, found: Sequence[similarity.Hill], prompt: str, least: float) -> Response:
    """Hills as a localizer's answer; its text are boxes and confidences as JSON.

    Args:
        loaded: The network, whose scale and bias make the confidences.
        found: Hills, the highest first.
        prompt: What was asked.
        least: Weaker ones are left out.
    """
    pairs = [(hill, similarity.confidence(loaded, hill.value)) for hill in found]
    kept = [(hill, sure) for hill, sure in pairs if sure >= least]
    rows = [[round(value, 6) for value in (*hill.box, sure)] for hill, sure in kept]
    detections = tuple(Detection(*hill.top, box=hill.box, confidence=sure, phrase=prompt) for hill, sure in kept)
    return Response(json.dumps({"hills": rows}), "ok" if kept else "empty", detections)

"""MedGemma as a classifier: the logits of its two answers at one position, without generating text."""

from pathlib import Path

from stages.lib.core import params
from stages.lib.images import normalized, shifts
from stages.lib.models import adapters, features, gemma3, snapshot
from stages.lib.models.classify import Classifier, Setting


@params.section
class Params:
    """Which weights."""

    adapter: params.Text  # folder of a trained adapter; none: the base as it is


def classifier(params: Params, setting: Setting) -> Classifier:
    """Base model, with its adapter if the row names one.

    Raises:
        MismatchError: If the adapter was trained on other pixels, another base or another prompt.
        ModelError: If the model cannot be loaded, or the shifts do not divide an image token.
    """
    base = snapshot.read(setting.base)
    adapter = None if params.adapter == "none" else Path(params.adapter)
    if adapter and setting.preprocessing_hash:
        adapters.check(adapter, setting.preprocessing_hash, base.identity, setting.prompt)
    loaded = gemma3.load(base.folder, setting.model, adapter=adapter, merged=setting.merged)
    root = setting.features if setting.model.cache_features else None
    store = features.store(root, loaded, setting.preprocessing_hash)
    if store:
        for place in shifts.places(setting.shifts, loaded.token_px, "nodules.infer.shifts"):
            store.fill(loaded, setting.images, place)
    return Classifier(
        logits=lambda images: gemma3.answer_logits(loaded, images, setting.prompt),
        load=store.load if store else normalized.load,
        token_px=loaded.token_px,
        reworded=lambda images, prompt: gemma3.answer_logits(loaded, images, prompt),
    )

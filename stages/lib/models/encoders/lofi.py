"""LoFi: a SigLIP model with an adapter of `lofi.train` on both towers. A merged one is a SigLIP model as any other."""

from pathlib import Path

from stages.lib.core import documents, files
from stages.lib.core import params as parameters
from stages.lib.models.adapters import CARD
from stages.lib.models.encoder import Pair, PairSetting, Reader, identity
from stages.lib.models.lofi import card, weights
from stages.lib.models.lofi.params import ModelParams

READS = True  # texts, too


@parameters.section
class Params:
    """Which adapter; how the network is held is that of its training."""

    adapter: parameters.Text  # folder that lofi.train wrote


def pair(params: Params, setting: PairSetting) -> Pair:
    """Both towers with the adapter.

    Args:
        params: See `Params`.
        setting: `found` is the encoder that the adapter was trained on; `adapter` goes before that of the row.

    Raises:
        DocumentError: If the folder is not a LoFi adapter of this project.
        MismatchError: If it was trained on other pixels or another encoder.
        ModelError: If it, or the encoder, is not whole.
        ParamsError: If its parameters are no longer those of a LoFi network.
    """
    folder = setting.adapter or Path(params.adapter)
    model = trained_as(folder)
    card.check(folder, setting.preprocessing_hash, setting.found.identity, None, model)
    loaded = weights.load(setting.found, None, model, folder)
    digest = files.sha256_json([files.sha256_file(folder / name) for name in (weights.LORA, weights.WHOLE)])
    name = f"{identity('lofi', setting.found.sha256, model.dtype)} {digest} {loaded.network.device.type}"
    return Pair(name, loaded.embed_images, Reader(loaded.tower.fit, loaded.embed_texts))


def trained_as(folder: Path) -> ModelParams:
    """How the network of an adapter was held and joined in its training.

    Raises:
        DocumentError: If the folder is not a LoFi adapter of this project.
        ParamsError: If its parameters are no longer those of a LoFi network.
    """
    told = documents.read(folder / CARD, card.Card, "train it, or name the folder of a LoFi adapter of this project")
    model: ModelParams = parameters.parse({"model": dict(told.model)}, {"model": ModelParams}).model
    return model

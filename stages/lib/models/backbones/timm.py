"""Vision models of timm, by a process of the vision environment."""

from stages.lib.models.backbone import Backbone, BackboneParams, BackboneSetting
from stages.lib.models.vision import client


def load(params: BackboneParams, setting: BackboneSetting) -> Backbone:
    """A model of the library, opened in a process of its own.

    Args:
        params: Which model, and the side of the images.
        setting: Where its files, the record of the environment and the folder for private files are.

    Raises:
        ModelError: If the folder does not hold that model, whole, or its side is none that the model takes.
        EnvironmentBuildError: If the environment is not there, or not as it was built.
        WorkerError: If the process died or hangs.
    """
    model = client.open_model(params, setting)
    return Backbone(model.facts, model.tokens, model.close)

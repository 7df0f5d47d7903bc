"""Cases with alike images, by MedGemma's own vision tower."""

from stages.lib.core import params
from stages.lib.models import image_retrieval, snapshot
from stages.lib.models.encoders import medgemma
from stages.lib.models.retriever import Retriever, Setting


@params.section
class Params(image_retrieval.ImageParams, medgemma.Params):
    """Encoder, and how its features are compared."""


def retriever(params: Params, setting: Setting) -> Retriever:
    """Finds cases by features of their images.

    Raises:
        DocumentError: If the record of its files cannot be read.
        ModelError: If its files are not there.
        ParamsError: If the record of its files was not given.
    """
    encoder = medgemma.encoder(params, snapshot.read(setting.record()))
    return image_retrieval.retriever(params, encoder, setting.features)

"""The fraction of training images with a nodule, said of every image: what a row has to beat."""

from pathlib import Path

import numpy as np

from stages.lib.core import documents, params
from stages.lib.learn.candidate import Fitted, Scores, Setting
from stages.lib.models.backbone import Row

READS = "labels"
FILE = "prevalence.json"


@params.section
class Params(Row):
    """It has nothing to be set."""


@params.section
class Prevalence:
    """What was found on training images."""

    prevalence: params.Fraction


def fit(params: Params, setting: Setting, folder: Path) -> Fitted:
    """Count the training images.

    Args:
        params: See `Params`.
        setting: Its training images.
        folder: Where the fraction is written.
    """
    labels = setting.train.labels if setting.train is not None else None
    fraction = float(labels.mean()) if labels is not None and len(labels) else 0.0
    documents.write(folder / FILE, Prevalence(prevalence=fraction))
    return Fitted(trained_parameters=1, parameters=1, operations=0.0)


def score(params: Params, setting: Setting, folder: Path) -> Scores:
    """The same score for each image."""
    found = documents.read(folder / FILE, Prevalence).prevalence
    return Scores(score=np.full(len(setting.images), found))

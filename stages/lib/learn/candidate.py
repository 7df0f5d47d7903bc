"""Interface of the kinds of `zoo.models`: how a row is fitted on training and validation images, and scores others.

A kind is a module of `stages.lib.learn.zoo` with

    Params   class of the row, `backbone.Row` and, where it has one, `backbone.BackboneParams`
    READS    what it reads of images: "features", "tokens", "pixels", "scores" or "labels"
    fit      fit(params, setting, folder) -> Fitted; what `score` needs is written to `folder`
    score    score(params, setting, folder) -> Scores, in the order of the images; reads no label

Each choice of `fit` is made on validation images by average precision, and all that was tried is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.models.gemma3 import ModelParams
from stages.lib.models.snapshot import Snapshot

Reads = Literal["features", "tokens", "pixels", "scores", "labels"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Images as a kind reads them; what it does not read is None.

    Attributes:
        ids: image_id of each image, in ascending order, n of them.
        patients: Patient of each, shape (n,).
        labels: 0 or 1, shape (n,); None of images that are to be scored.
        features: By statistic (`feature_tables.STATISTICS`, prefix), float16 of shape (n, places, features).
        tokens: Patch tokens, `stages.lib.learn.feature_files.TokenFiles`, by number of the image: float16 of shape
            (places, rows, columns, features).
        pixels: Paths of the normalized images at the row's side.
        scores: By member, score of each image, shape (n,).
        margins: By member that has the two logits of each image, the positive one's less the negative one's, shape
            (n,). It tells apart what scores near 1 do not.
    """

    ids: Sequence[str]
    patients: NDArray[Any]
    labels: NDArray[np.int64] | None = None
    features: Mapping[str, NDArray[np.float16]] | None = None
    tokens: Any = None
    pixels: Sequence[Path] | None = None
    scores: Mapping[str, NDArray[np.float64]] | None = None
    margins: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@params.section
class Bank:
    """Questions and pairs of texts, `zoo.bank`; each row that is asked tries all that fit it, on validation."""

    questions: tuple[params.Text, ...]
    answers: tuple[params.Text, ...]  # of each question: positive/negative, such as Yes/No
    text_pairs: tuple[tuple[params.Text, params.Text], ...]  # positive, negative: for models that compare texts

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if not self.questions or len(self.questions) != len(self.answers):
            raise ValueError(f"{len(self.questions)} questions and {len(self.answers)} answers, wanted as many of both")
        pairs = {f"answers {pair!r}": tuple(pair.split("/")) for pair in self.answers}
        pairs |= {f"text_pairs {list(pair)}": tuple(pair) for pair in self.text_pairs}
        for what, parts in pairs.items():
            words = [part.strip() for part in parts]
            if len(words) != 2 or not all(words) or words[0] == words[1]:
                raise ValueError(f"{what}, wanted two different ones, as Yes/No: of equal ones none can be told")
        if not self.text_pairs:
            raise ValueError("text_pairs that is empty, wanted at least one pair")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What `fit` and `score` get beside the row.

    Attributes:
        row: Name of the row, for errors.
        images: Images to be scored, without labels; of `fit` the validation images, with labels.
        train: Training images, with labels; None for `score`.
        found: The model's files; None of a kind without a model, or whose model is several.
        model: How MedGemma is held, `nodules.model`.
        bank: Questions and text pairs.
        preprocessing_hash: Of the images; empty if there is none.
        batch_size: Images in one forward pass.
        readers: Threads that read images ahead.
        seed: Of all randomness of the fit, beside a seed of the row's own.
        environment: Record of the vision (or CheXagent) environment; None if the row has none.
        work: Folder for the row's own private files; kept between runs, safe to delete.
        cache: Folder of what rows have asked and trained, under names of all that decides it and not of the row; kept
            between runs, safe to delete. None: it lies in `work`.
        members: Folders that the members of an ensemble were fitted to, by name.
        parts: Record of a model that consists of several sets of files, as the kind reads it; None of others.
    """

    row: str
    images: Inputs
    train: Inputs | None
    found: Snapshot | None
    model: ModelParams | None
    bank: Bank
    preprocessing_hash: str
    batch_size: int
    readers: int
    seed: int
    environment: Path | None
    work: Path
    members: Mapping[str, Path] = field(default_factory=dict)
    parts: Path | None = None
    cache: Path | None = None

    @property
    def kept(self) -> Path:
        """Folder of what was asked and trained."""
        return self.cache or self.work


@params.section
class Tried:
    """One thing that was tried on validation images."""

    option: params.Text  # such as "pool largest+smallest, strength 0.01"
    average_precision: float | None  # on validation; null if it failed or is undefined
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit came to.

    Attributes:
        tried: All that was tried, in the order of the row.
        chosen: Option that was taken; empty if there was no choice.
        trained_parameters: Parameters that were fitted; 0 of a model as it is.
        parameters: All parameters that score an image; None if not known here (the backbone's record knows).
        operations: Floating-point operations of one image in one pass, counted; None likewise.
        passes: Forward passes per image when scoring.
        random_weights: Whether it started from random weights (and is no pretrained model).
        notes: Sentences that the report has to repeat.
    """

    tried: tuple[Tried, ...] = ()
    chosen: str = ""
    trained_parameters: int = 0
    parameters: int | None = None
    operations: float | None = None
    passes: int = 1
    random_weights: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of images.

    Attributes:
        score: Probability-like score, [0, 1], shape (n,).
        logits: Logits of the negative and the positive answer, shape (n, 2), of a head with one logit 0 and that one:
            what a calibration looks at. None of a kind without any.
        answer_mass: Probability of the two answers together, shape (n,); None likewise.
    """

    score: NDArray[np.float64]
    logits: NDArray[np.float64] | None = None
    answer_mass: NDArray[np.float64] | None = None

    @property
    def evidence(self) -> NDArray[np.float64]:
        """What images are ranked by, as `calibration.evidence` of their table: a score near 1 ties with others."""
        return self.score if self.logits is None else self.logits[:, 1] - self.logits[:, 0]


def of_one(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits of the negative and the positive answer of a kind that has one logit for both, shape (n, 2).

    >>> of_one(np.array([2.5])).tolist()
    [[0.0, 2.5]]
    """
    return np.stack([np.zeros(len(logit)), logit], axis=1)

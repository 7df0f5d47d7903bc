"""A kind by hand, of any sort of input, that remembers what it was given; and the command lines of fit and infer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zoo_backbone as fake

from stages.lib.core import documents, kinds, params, tables
from stages.lib.learn.candidate import Fitted, Scores, Setting, Tried
from stages.lib.models.backbone import Row
from stages.zoo import fit, infer
from stages.zoo.records import Fit, Inferred

ROW = {"kind": "by_hand", "seen": "no", "licence": "none", "commercial": True, "side_px": fake.SIDE}
BANK = {"questions": ["Nodule?"], "answers": ["Yes/No"], "text_pairs": [["a nodule", "no nodule"]]}


@params.section
class Params(Row):
    """A row of the kind."""

    side_px: int


class ByHand:
    """The kind: the difference of the classes' means, along which an image is scored."""

    Params = Params

    def __init__(self, reads: str, fitted: Fitted | None = None, scores: Any = None) -> None:
        self.READS = reads
        self.fitted = fitted or Fitted(tried=(Tried(option="mean", average_precision=0.5),), chosen="mean")
        self.scores = scores
        self.fits: list[Setting] = []
        self.scored: list[Setting] = []

    def numbers(self, images) -> np.ndarray:
        """One number of each image, whatever the kind reads."""
        if self.READS == "features":
            return images.features["mean"].astype(float).mean((1, 2))
        if self.READS == "tokens":
            return np.array([images.tokens[number].astype(float).mean() for number in range(len(images))])
        if self.READS == "pixels":
            return np.array([path.stat().st_size for path in images.pixels], float)
        return np.zeros(len(images))

    def fit(self, row: Params, setting: Setting, folder: Path) -> Fitted:
        """Write the mean of each class of training images, and the number of validation labels."""
        self.fits.append(setting)
        found, labels = self.numbers(setting.train), setting.train.labels
        means = [float(found[labels == label].mean()) for label in (0, 1)]
        said = {"means": means, "positive": int(setting.images.labels.sum())}
        (folder / "means.json").write_text(json.dumps(said))
        return self.fitted

    def score(self, row: Params, setting: Setting, folder: Path) -> Scores:
        """Where an image lies between the means."""
        self.scored.append(setting)
        if self.scores is not None:
            return self.scores(setting)
        negative, positive = json.loads((folder / "means.json").read_text())["means"]
        away = (self.numbers(setting.images) - (negative + positive) / 2) * np.sign(positive - negative)
        logits = np.stack([np.zeros(len(away)), away], axis=1)
        return Scores(score=1 / (1 + np.exp(-away)), logits=logits, answer_mass=np.full(len(away), 0.5))


def plant(patch, kind: ByHand) -> ByHand:
    """Let the kind `by_hand` be this one; `patch(object, name, value)` is pytest's."""
    found, names = kinds.module, kinds.names
    patch(kinds, "module", lambda package, name: kind if name == "by_hand" else found(package, name))
    patch(kinds, "names", lambda package: [*names(package), *(["by_hand"] if package == kinds.MODELS else [])])
    return kind


def options(study: Path, out: Path, model: str, row: Mapping[str, Any], without=(), **named) -> list[str]:
    """Options that fit and infer share; `named` are further ones, paths or lists of them."""
    document = {
        "zoo": {"models": {model: row}, "embed": fake.EMBED, "bank": BANK},
        "nodules": {"cohort": {"sources": ["nih"]}, "model": fake.MODEL},
    }
    found = {"model": model, "manifest": study / "manifest.parquet", "split": study / "split.parquet"}
    found |= {"work": out / "work", "results": study, "fitted": out / model, "fit": out / f"{model}.json", **named}
    out.mkdir(parents=True, exist_ok=True)
    words = ["--params", json.dumps(document)]
    for name, value in found.items():
        if name not in without:
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return words


def run_fit(study: Path, out: Path, model: str = "hand", row: Mapping[str, Any] = ROW, **named) -> Fit:
    """Record of a fit."""
    fit.main(options(study, out, model, row, **named))
    return documents.read(out / f"{model}.json", Fit)


def run_infer(study: Path, out: Path, model: str = "hand", row: Mapping[str, Any] = ROW, **named):
    """Rows of the scores, and their record."""
    named = {"infer": out / f"raw/{model}.parquet", "record": out / f"raw/{model}.json"} | named
    Path(named["infer"]).parent.mkdir(parents=True, exist_ok=True)
    infer.main(options(study, out, model, row, **named))
    return tables.read(named["infer"], tables.INFER).to_pylist(), documents.read(named["record"], Inferred)

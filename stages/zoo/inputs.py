"""Inputs of the chapter's steps: which images they are about, and what a row's kind reads of them."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import documents, params, tables
from stages.lib.core.errors import DataError, MismatchError, ParamsError
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.learn import feature_files
from stages.lib.learn.candidate import Inputs, Reads, Setting
from stages.lib.metrics import calibration
from stages.lib.models import snapshot
from stages.zoo.images import normalized_rows, rows_at
from stages.zoo.records import Embedded, Failure, Fit

LEAST_PATIENTS = 2  # of each class in training, and in validation
FILES = ("features", "tokens", "scores", "members", "member_fits", "embedded")
READS = (
    "model",
    "manifest",
    "split",
    "normalized",
    "results",
    "weights",
    "parts",
    "environment",
    "work",
    "cache",
    *FILES,
)
OPTIONAL = ("normalized", "results", "weights", "parts", "environment", "cache", *FILES)


@dataclass(frozen=True)
class Given:
    """What the rule gives to a row beside the images, and what is known of it.

    Attributes:
        row: Name of the row.
        files: Arguments of the stage.
        embedded: Records of the features or tokens that it reads.
        members: Records of the fits of an ensemble's members.
    """

    row: str
    files: argparse.Namespace
    embedded: Sequence[Embedded]
    members: Sequence[Fit]

    @property
    def failures(self) -> list[Failure]:
        """Failures of what it stands on, in the order of the steps."""
        own = [one.failure for one in self.embedded if one.failure]
        return [*own, *(_of_member(one.model, one.failure) for one in self.members if one.failure)]


def _of_member(member: str, failure: Failure) -> Failure:
    return Failure(stage=failure.stage, error=failure.error, reason=f"its member {member} failed: {failure.reason}")


def given(args: argparse.Namespace) -> Given:
    """What the arguments of the stage name."""
    return Given(
        args.model,
        args,
        [documents.read(path, Embedded) for path in args.embedded or ()],
        [documents.read(path, Fit) for path in args.member_fits or ()],
    )


def row_of(args: argparse.Namespace) -> params.Row:
    """The row that is asked for.

    Raises:
        ParamsError: If there is none of that name.
    """
    rows = args.params.models
    if args.model not in rows:
        raise ParamsError("--model:", [params.unknown(args.model, rows)])
    row: params.Row = rows[args.model]
    return row


def of_images(
    given: Given, reads: Reads, images: pa.Table, wanted_hash: str | None, *, labelled: bool, scored: bool = True
) -> tuple[Inputs, str]:
    """What a kind reads of images, and their preprocessing hash; empty of a kind that reads no pixels.

    Args:
        given: Files of the row.
        reads: What its kind reads.
        images: Table with image_id, in ascending order, patient_id and label.
        wanted_hash: Preprocessing hash that the images must be of; None for any one.
        labelled: Whether labels are handed on.
        scored: Whether members have scored these images; they have not scored those of the train split.

    Raises:
        TableError: If a file lacks an image, or cannot be read.
        MismatchError: If images are not of one preprocessing hash, or not of the one that is wanted.
    """
    args, row = given.files, given.row
    ids: list[str] = images["image_id"].to_pylist()
    bare = Inputs(
        ids=ids,
        patients=np.array(images["patient_id"].to_pylist(), str),
        labels=images["label"].to_numpy().astype(np.int64) if labelled else None,
    )
    told = next((one.preprocessing_hash for one in given.embedded if one.preprocessing_hash), None)
    hash_ = wanted_hash or told
    if reads == "features":
        _has(row, "--features", args.features)
        found = feature_files.features(row, [Path(path) for path in args.features], ids, hash_, varied=labelled)
        return replace(bare, features=found), hash_ or ""
    if reads == "tokens":
        _has(row, "--tokens", args.tokens)
        tokens = feature_files.TokenFiles(row, [Path(path) for path in args.tokens], ids, hash_)
        return replace(bare, tokens=tokens), hash_ or ""
    if reads == "pixels":
        _has(row, "--normalized", args.normalized)
        rows = normalized_rows(tables.read(args.normalized, tables.NORMALIZED), ids)
        seen = preprocessing_hash(rows)
        if wanted_hash and ids and seen != wanted_hash:
            raise MismatchError(
                f"{row}: {args.normalized} is of images of the preprocessing hash {seen}, wanted {wanted_hash}, which "
                "the row was fitted on; run zoo.fit again"
            )
        return replace(bare, pixels=[Path(args.results or ".") / png for png in rows["png"].to_pylist()]), seen
    if reads == "scores" and scored:
        _has(row, "--scores", args.scores)
        made = {Path(path).stem: _scored(Path(path), ids) for path in args.scores}
        scores = {name: table["score"].to_numpy().astype(np.float64) for name, table in made.items()}
        margins = {name: known for name, table in made.items() if (known := calibration.margins(table)) is not None}
        return replace(bare, scores=scores, margins=margins), ""
    return bare, ""


def _scored(path: Path, ids: Sequence[str]) -> pa.Table:
    """Rows of the images in one table of tables.INFER."""
    table = tables.read(path, tables.INFER)
    remedy = "that row failed, or was asked about other images; run it again"
    return table.take(rows_at(ids, table, f"scores of {path.stem}", remedy))


def read_mass(given: Given, ids: Sequence[str]) -> NDArray[np.float64] | None:
    """Probability of the two answers together, of each image, where a row's scores are those of one table; else None.

    Shape (n,); NaN where the table has none.
    """
    table = _one_table(given, ids)
    return None if table is None else table["answer_mass"].to_numpy().astype(np.float64)


def read_logits(given: Given, ids: Sequence[str]) -> NDArray[np.float64] | None:
    """Logits of the negative and the positive answer, where a row's scores are those of one table that has them.

    Shape (n, 2). A calibration looks at them, and knows more of an image than by a score that is near 0 or 1.
    """
    table = _one_table(given, ids)
    columns = [] if table is None else [table["logit_negative"], table["logit_positive"]]
    if not columns or any(column.null_count for column in columns):
        return None
    return np.stack([column.to_numpy() for column in columns], axis=1)


def _one_table(given: Given, ids: Sequence[str]) -> pa.Table | None:
    """Rows of the images in the one table that a row's scores are those of; None if there is not one."""
    paths: Sequence[str] = given.files.scores or []
    if len(paths) != 1:
        return None
    return _scored(Path(paths[0]), ids)


def _has(row: str, option: str, found: object) -> None:
    if not found:
        raise ParamsError(f"{option}:", [f"found none, wanted the files that {row} reads"])


def check_classes(row: str, train: Inputs, val: Inputs) -> None:
    """Refuse a row that has too little to learn from or to choose by.

    Raises:
        DataError: If training or validation has fewer than two patients of a class; all problems at once.
    """
    problems = []
    for name, images in (("training", train), ("validation", val)):
        for label, what in ((1, "with a nodule"), (0, "without one")):
            found = 0 if images.labels is None else len(np.unique(images.patients[images.labels == label]))
            if found < LEAST_PATIENTS:
                problems.append(
                    f"{name}: found {found} patients with images {what}, wanted at least {LEAST_PATIENTS}; look at "
                    "data.split and nodules.cohort.sources"
                )
    if problems:
        raise DataError(f"{row}: cannot be fitted:", problems)


def setting(given: Given, images: Inputs, train: Inputs | None, preprocessing: str) -> Setting:
    """What `fit` and `score` of a kind get.

    Raises:
        DocumentError: If the record of the model's files is missing.
        ModelError: If they could not be had.
    """
    args, asked = given.files, given.files.params
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    return Setting(
        row=given.row,
        images=images,
        train=train,
        found=snapshot.read(args.weights) if args.weights else None,
        model=asked.model,
        bank=asked.bank,
        preprocessing_hash=preprocessing,
        batch_size=asked.embed.batch_size,
        readers=asked.embed.readers,
        seed=asked.embed.seed,
        environment=Path(args.environment) if args.environment else None,
        work=work,
        members={Path(path).name: Path(path) for path in args.members or ()},
        parts=Path(args.parts) if args.parts else None,
        cache=Path(args.cache) if args.cache else None,
    )

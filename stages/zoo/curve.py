"""Learning curve of a row: fitted anew on ever fewer training patients, and each fit measured on the same test images.

A measuring stage beside `measure`: test labels are read here to report how well each fit does, and nothing is chosen by
them. What a fit has to choose, it chooses on validation images, anew for each draw.

in   model      name of the row of zoo.models, of a kind that reads features or patch tokens
     manifest   tables.MANIFEST
     split      tables.SPLIT
     features   feature_tables.FEATURES of all shards, or
     tokens     feature_tables.TOKENS of all shards, with
     embedded   their record
     work       folder for what is fitted; safe to delete
out  curve      tables.MEASURES: task learning_curve, subset test/<training patients>, a seed per draw from 0; without a
                seed their mean and standard deviation
     record     JSON, as records.Learned
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, kinds, params, tables
from stages.lib.core.errors import DataError, NoduleflowError, ParamsError, PreemptedError, TrainingError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.learn.candidate import Fitted, Inputs
from stages.lib.metrics import binary, measures, over_seeds
from stages.lib.metrics.bootstrap import attempt
from stages.lib.metrics.measures import Estimate, Key, Subject, estimate
from stages.zoo import inputs
from stages.zoo.fit import SECTIONS
from stages.zoo.images import cohort
from stages.zoo.notes import CHAPTER
from stages.zoo.records import Drawn, Learned

TASK, SUBSET = "learning_curve", "test"
CHEAP = ("features", "tokens")  # what a kind may read: fitting it makes no forward pass
METRICS: Mapping[Key, Callable[..., float]] = {
    Key("roc_auc"): binary.roc_auc,
    Key("pr_auc"): binary.average_precision,
}
Measured = dict[Subject, dict[Key, Estimate]]


@params.section
class CurveParams:
    """Which rows get a learning curve, and how patients are drawn for it."""

    rows: tuple[params.Text, ...]  # of zoo.models, each of a kind that reads features or tokens
    fractions: tuple[params.PositiveFloat, ...]  # of the training patients
    draws: params.Count  # of each fraction; their spread is shown
    seed: params.Seed  # of the draws

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = [] if self.fractions else ["fractions that are empty, wanted one or more"]
        if any(fraction > 1 for fraction in self.fractions) or len({*self.fractions}) < len(self.fractions):
            problems.append(f"fractions {list(self.fractions)}, wanted each once, above 0 and up to 1")
        if self.draws < 2:
            problems.append(f"draws {self.draws}, wanted two or more: of one there is no spread")
        if problems:
            raise ValueError("; ".join(problems))


def patients(train: pa.Table, fraction: float, seed: int, draw: int) -> set[str]:
    """Training patients of one draw, some with a nodule and some without, so that no draw lacks a class.

    A patient with a nodule is one of whom an image has one. Of each of both groups the same fraction is drawn, rounded,
    and two patients at least. In one draw the patients of a smaller fraction are among those of a larger one, so that
    the curve of a draw shows what more patients add.

    Args:
        train: Training images: patient_id and label.
        fraction: Of the patients, in (0, 1].
        seed: Of all draws.
        draw: Number of the draw.

    >>> train = pa.table({"patient_id": list("abcdefgh"), "label": [1, 1, 1, 1, 0, 0, 0, 0]})
    >>> half = patients(train, 0.5, 1, 0)
    >>> len(half), len(half & {*"abcd"}), patients(train, 0.75, 1, 0) > half
    (4, 2, True)
    """
    labels = train["label"].to_numpy()
    names = np.array(train["patient_id"].to_pylist(), str)
    positive = np.unique(names[labels == 1])
    rng = np.random.default_rng([seed, draw])
    drawn: set[str] = set()
    for group in (positive, np.setdiff1d(names, positive)):
        count = max(round(fraction * len(group)), min(inputs.LEAST_PATIENTS, len(group)))
        drawn |= {str(name) for name in rng.permutation(group)[:count]}
    return drawn


def steps(train: pa.Table, how: CurveParams) -> Iterator[tuple[float, int]]:
    """Each fraction and how many patients it comes to; of fractions that come to as many, the first alone."""
    seen: set[int] = set()
    for fraction in sorted(how.fractions):
        count = len(patients(train, fraction, how.seed, 0))
        if count not in seen:
            yield fraction, count
        seen.add(count)


def curve(
    given: inputs.Given, row: params.Row, train: pa.Table, val: pa.Table, test: pa.Table, how: CurveParams
) -> tuple[dict[int, Measured], list[Drawn]]:
    """Measures of each draw on test images, and what was fitted.

    Args:
        given: Files of the row.
        row: The row.
        train: Training images: image_id, patient_id and label.
        val: Validation images, likewise.
        test: Test images, likewise.
        how: See `CurveParams`.

    Raises:
        ParamsError: If the kind reads neither features nor tokens.
        DataError: If there are too few patients of a class.
        TrainingError: If not one fit succeeds.
        TableError: If a file lacks an image, or cannot be read.
    """
    reads = kinds.module(kinds.MODELS, row.kind).READS
    if reads not in CHEAP:
        wrong = f"found {given.row}, whose kind {row.kind} reads {reads}; wanted kinds that read features or tokens"
        raise ParamsError("zoo.curve.rows:", [wrong])
    bare = [inputs.of_images(given, "labels", images, None, labelled=True)[0] for images in (train, val)]
    inputs.check_classes(given.row, *bare)
    points = [(draw, *step) for draw in range(how.draws) for step in steps(train, how)]
    found: dict[int, Measured] = {}
    told: list[Drawn] = []
    names = train["patient_id"].combine_chunks()
    for draw, fraction, count in track(points, total=len(points), what=f"fits of {given.row}"):
        mine = pa.array(sorted(patients(train, fraction, how.seed, draw)), pa.string())
        measured, one = _fit(given, row, train.filter(pc.is_in(names, mine)), val, test, draw)
        found.setdefault(draw, {})[Subject(TASK, given.row, f"{SUBSET}/{count}")] = measured
        told.append(replace(one, fraction=fraction, patients=count))
    if all(one.failure for one in told):
        raise TrainingError(f"{given.row}: none of {len(told)} fits succeeded; the first: {told[0].failure}")
    return found, told


def _fit(
    given: inputs.Given, row: params.Row, train: pa.Table, val: pa.Table, test: pa.Table, draw: int
) -> tuple[dict[Key, Estimate], Drawn]:
    """Fit on some training images, choose on validation, score the test images without labels, and measure."""
    kind = kinds.module(kinds.MODELS, row.kind)
    read = []

    def of(images: pa.Table, *, labelled: bool) -> Inputs:
        read.append(inputs.of_images(given, kind.READS, images, None, labelled=labelled))
        return read[-1][0]

    with tempfile.TemporaryDirectory(dir=_folder(given)) as folder:
        try:
            setting = inputs.setting(given, of(val, labelled=True), of(train, labelled=True), read[0][1])
            work, fitted = Path(folder) / "work", Path(folder) / "fitted"
            work.mkdir()
            fitted.mkdir()
            setting = replace(setting, work=work, seed=setting.seed + draw)
            made: Fitted = kind.fit(row.params, setting, fitted)
            asked = replace(setting, images=of(test, labelled=False), train=None)
            scores = kind.score(row.params, asked, fitted).evidence
        except PreemptedError:
            raise
        except NoduleflowError as error:
            return _measured(test, None, str(error)), _drawn(train, draw, None, str(error))
        finally:
            for images, _ in read:
                if images.tokens is not None:
                    images.tokens.close()
    return _measured(test, scores, ""), _drawn(train, draw, made, None)


def _folder(given: inputs.Given) -> Path:
    work = Path(given.files.work)
    work.mkdir(parents=True, exist_ok=True)
    return work


def _drawn(train: pa.Table, draw: int, made: Fitted | None, failure: str | None) -> Drawn:
    """What one fit came to; fraction and patients are the caller's."""
    reached = {one.option: one.average_precision for one in made.tried} if made else {}
    return Drawn(
        fraction=1.0,
        draw=draw,
        patients=0,
        images=train.num_rows,
        positive_images=int(train["label"].to_numpy().sum()),
        chosen=made.chosen if made else "",
        validation_average_precision=reached.get(made.chosen) if made else None,
        notes=made.notes if made else (),
        failure=failure,
    )


def _measured(test: pa.Table, scores: np.ndarray | None, why: str) -> dict[Key, Estimate]:
    """Measures of scores of the test images; without scores, the reason why there are none."""
    labels = test["label"].to_numpy().astype(np.int64)
    facts = {
        "n": len(labels),
        "n_patients": len(pc.unique(test["patient_id"])),
        "n_positive": int(labels.sum()),
        "n_negative": int((labels == 0).sum()),
    }
    if scores is None:
        return {key: Estimate(value=None, reason=why, **facts) for key in METRICS}
    return {key: estimate(attempt(metric, labels, scores), **facts) for key, metric in METRICS.items()}


def means(found: Mapping[int, Measured]) -> Measured:
    """Mean and standard deviation over the draws; a step at which a fit failed has none, and says why.

    There is no interval: the draws share patients, so their spread tells how much the draw matters, and not how far the
    mean is from that of other patients.
    """
    joined = over_seeds.join(found, {}, confidence=0.95)  # without an interval the confidence plays no part
    facts = {
        subject: {name: getattr(one, name) for name in ("n", "n_patients", "n_positive", "n_negative")}
        for subject, measured in next(iter(found.values())).items()
        for one in measured.values()
    }
    return {
        subject: {key: replace(one, **facts[subject]) for key, one in measured.items()}
        for subject, measured in joined.items()
    }


def table(found: Mapping[int, Measured]) -> pa.Table:
    """Table `tables.MEASURES` of all draws, and of their means without a seed."""
    parts = [measures.table(CHAPTER, measured, draw) for draw, measured in found.items()]
    return tables.check(pa.concat_tables([*parts, measures.table(CHAPTER, means(found))]), tables.MEASURES)


def main(argv: Sequence[str] | None = None) -> None:
    """Read features, fit and measure, write."""
    names = {"manifest", "split", "model", "features", "tokens", "embedded", "work"}
    args = cli.parse(
        __doc__,
        argv,
        params={**SECTIONS, "zoo.curve": CurveParams, "zoo.models": kinds.rows(kinds.MODELS)},
        reads=[name for name in inputs.READS if name in names],
        writes=["curve", "record"],
        many=[name for name in inputs.FILES if name in names],
        optional=["features", "tokens", "embedded"],
    )
    vars(args).update({name: None for name in inputs.READS if name not in names})  # what no cheap kind reads
    row, given = inputs.row_of(args), inputs.given(args)
    for failure in given.failures:
        raise DataError(f"{args.model}: has no learning curve:", [f"{failure.stage} failed: {failure.reason}"])
    split, manifest = tables.read(args.split, tables.SPLIT), tables.read(args.manifest, tables.MANIFEST)
    sources = args.params.cohort.sources
    train, val, test = (cohort(split, manifest, sources, (one,)) for one in ("train", "val", "test"))
    found, told = curve(given, row, train, val, test, args.params.curve)
    tables.write(args.curve, table(found), tables.MEASURES)
    documents.write(args.record, Learned(model=args.model, draws=tuple(told)))
    LOG.info("curve: %s fitted %d times", args.model, len(told))


if __name__ == "__main__":
    cli.run(main)

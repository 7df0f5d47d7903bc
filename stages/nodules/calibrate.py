"""Turn scores into probabilities that hold at the world's prevalence, and choose thresholds: on validation only.

All classifiers of a study are calibrated in one form, so that their calibrated scores can be compared.

in   raw          tables.INFER of each classifier, not calibrated; the file's name is the classifier's
     manifest     tables.MANIFEST, for source and patient of each image (not needed with --fitted)
     trained      names of the classifiers that
     train        train.json is the log of, as lib.learn.train_log.TrainLog
     fitted       calibrations to apply instead of fitting, one for each of raw, in their order
out  infer        tables.INFER with score_calibrated, one for each of raw, in their order
     calibration  JSON, as lib.metrics.calibration.Calibration, likewise
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import cli, documents, params, tables
from stages.lib.core.errors import CalibrationError, TableError
from stages.lib.core.log import LOG
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import calibration, evaluation_sets, thresholds
from stages.lib.metrics.calibration import Calibration, Form, Sample
from stages.lib.metrics.cohort import CohortParams

VALIDATION = "validation"


@params.section
class CalibrateParams:
    """How scores are calibrated."""

    world_prevalence: (
        float | str
    )  # fraction of images with a nodule where it is used, or "validation" for the fraction there

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        found = self.world_prevalence
        if not (found == VALIDATION or (not isinstance(found, str) and 0 < found < 1)):
            raise ValueError(f"world_prevalence is {found!r}, wanted a fraction between 0 and 1 or {VALIDATION!r}")


@params.section
class Params(CalibrateParams, CohortParams):
    """How scores are calibrated, and on validation images of which sources."""


def calibrate(
    infer: Mapping[str, pa.Table], manifest: pa.Table, params: Params, *, training: Mapping[str, TrainLog]
) -> dict[str, Calibration]:
    """Fit the calibration of each classifier on its validation images, all in the form that suits them best.

    If the world's prevalence is not that of the validation images, these are weighted as if it were.

    Args:
        infer: Table tables.INFER of each classifier, by its name.
        manifest: Table tables.MANIFEST.
        params: How.
        training: Log of the training of those classifiers that were trained here, by name. Others are taken as if they
            had seen as many images with a nodule as without.

    Returns:
        Calibration by name. Without both classes on validation nothing is fitted, and the reason is kept.

    Raises:
        TableError: If a number in `infer` is not finite, or an image is not in the manifest.
        CalibrationError: If the odds of training are out of range.
    """
    samples = {}
    for name, table in infer.items():
        check_finite(name, table)
        chosen = evaluation_sets.classifier_images(table, manifest, params.sources, "val")
        samples[name] = _sample(chosen, params, training.get(name))
    form, losses = calibration.choose_form([one for one in samples.values() if _both(one)])
    return {name: _fit(name, sample, params, form, losses) for name, sample in samples.items()}


def _sample(chosen: pa.Table, params: Params, training: TrainLog | None) -> Sample:
    """Validation images of a classifier, weighted to the world's prevalence if they have both classes."""
    labels = chosen["label"].to_numpy().astype(np.int64)
    weights, here = np.ones(len(labels)), float(labels.mean()) if len(labels) else 0.0
    if 0 < here < 1:
        world = _world(params, here)
        weights = np.where(labels == 1, *thresholds.world_weights(np.array(here), world))
    offset = calibration.training_offset(training.training_odds, training.positive_weight) if training else 0.0
    return Sample(
        labels=labels,
        evidence=calibration.evidence(chosen),
        weights=weights,
        patients=np.array(chosen["patient_id"].to_pylist(), str),
        offset=None if chosen["logit_positive"].null_count else offset,
    )


def _world(params: Params, here: float) -> float:
    return here if isinstance(params.world_prevalence, str) else params.world_prevalence


def _both(sample: Sample) -> bool:
    return 0 < sample.labels.sum() < len(sample.labels)


def _fit(model: str, sample: Sample, params: Params, form: Form, losses: Mapping[str, float]) -> Calibration:
    """Calibration of one classifier in the form of all."""
    n, n_positive = len(sample.labels), int(sample.labels.sum())
    if not _both(sample):
        return Calibration(
            model=model,
            method="none",
            intercept=None,
            temperature=None,
            at_bound=False,
            world_prevalence=None,
            sources=params.sources,
            n=n,
            n_positive=n_positive,
            form_losses={},
            thresholds_on="score",
            thresholds={**dict.fromkeys(thresholds.NAMES), "half": thresholds.HALF},
            reason=f"validation has {n_positive} images with and {n - n_positive} without a nodule, wanted both",
        )
    curve = calibration.fit(sample, form)
    return Calibration(
        model=model,
        method="platt" if sample.offset is None else form,
        intercept=curve.intercept,
        temperature=curve.temperature,
        at_bound=calibration.at_bound(curve.temperature),
        world_prevalence=_world(params, n_positive / n),
        sources=params.sources,
        n=n,
        n_positive=n_positive,
        form_losses=losses,
        thresholds_on="score_calibrated",
        thresholds=thresholds.choose(sample.labels, curve.probability(sample.evidence), sample.weights),
        reason=None,
    )


def apply(infer: pa.Table, fitted: Calibration) -> pa.Table:
    """`infer` with score_calibrated as `fitted` has it; null if nothing was fitted.

    Raises:
        TableError: If a number in `infer` is not finite.
    """
    check_finite(fitted.model, infer)
    probability = fitted.probability(calibration.evidence(infer))
    column = pa.nulls(infer.num_rows, pa.float64()) if probability is None else pa.array(probability, pa.float64())
    place = infer.column_names.index("score_calibrated")
    return tables.check(infer.set_column(place, "score_calibrated", column), tables.INFER)


def check_finite(model: str, infer: pa.Table) -> None:
    """Refuse numbers that are NaN or infinite.

    Raises:
        TableError: Naming the images.
    """
    bad = np.zeros(infer.num_rows, bool)
    for name in ("logit_negative", "logit_positive", "score", "answer_mass"):
        known = pc.fill_null(infer[name], 0.0)
        bad |= ~np.isfinite(known.to_numpy())
    if bad.any():
        names = infer["image_id"].filter(pa.array(bad)).to_pylist()
        more = ", ..." if len(names) > 20 else ""
        raise TableError(
            f"{model}: {len(names)} of {infer.num_rows} images have a score that is not a number: "
            f"{', '.join(names[:20])}{more}; wanted finite logits (float16 overflows: use bfloat16 or float32)"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Read, calibrate, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.calibrate": CalibrateParams, "nodules.cohort": CohortParams},
        reads=("raw", "manifest", "trained", "train", "fitted"),
        writes=("infer", "calibration"),
        many=("raw", "trained", "fitted", "infer", "calibration"),
        optional=("manifest", "trained", "train", "fitted", "calibration"),
    )
    found = {
        name: len(getattr(args, name)) for name in ("raw", "infer", "calibration", "fitted") if getattr(args, name)
    }
    if len(set(found.values())) > 1:
        raise CalibrationError(f"found {found} files, wanted as many of each")
    raw = {Path(path).stem: tables.read(path, tables.INFER) for path in args.raw}
    if args.fitted:
        fitted = dict(zip(raw, (documents.read(path, Calibration) for path in args.fitted), strict=True))
    elif args.manifest:
        log = documents.read(args.train, TrainLog) if args.train else None
        fitted = calibrate(
            raw,
            tables.read(args.manifest, tables.MANIFEST),
            Params(**vars(args.params.calibrate), sources=args.params.cohort.sources),
            training={name: log for name in args.trained or () if log},
        )
    else:
        raise CalibrationError("found neither --fitted nor --manifest; wanted one of them")
    for (name, table), path in zip(raw.items(), args.infer, strict=True):
        tables.write(path, apply(table, fitted[name]), tables.INFER)
    for name, path in zip(raw, args.calibration or (), strict=bool(args.calibration)):
        documents.write(path, fitted[name])
    for name, one in fitted.items():
        LOG.info("calibrate: %s by %s", name, one.method)
        if one.reason:
            LOG.warning("%s: nothing was fitted: %s", name, one.reason)
        if one.at_bound:
            LOG.warning("%s: the temperature stopped at its bound, %.2f", name, one.temperature)


if __name__ == "__main__":
    cli.run(main)

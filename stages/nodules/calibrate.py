"""Turn scores into probabilities that hold at the world's prevalence, and choose thresholds: on validation only.

in   shards       tables.INFER, the shards of one model
     manifest     tables.MANIFEST, for the source of each image (not needed with --fitted)
     train        train.json of a tuned model, as lib.learn.train_log.TrainLog (left out: Platt's fit)
     fitted       a calibration to apply instead of fitting one
out  infer        tables.INFER, all shards, with score_calibrated
     calibration  JSON, as lib.metrics.calibration.Calibration
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core import cli, documents, params, shards, tables
from stages.lib.core.errors import CalibrationError, TableError
from stages.lib.core.log import LOG
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import calibration, evaluation_sets, thresholds
from stages.lib.metrics.calibration import Calibration
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
    infer: pa.Table, manifest: pa.Table, params: Params, *, model: str, training: TrainLog | None
) -> tuple[pa.Table, Calibration]:
    """Fit a model's calibration on its validation images and apply it to all.

    If the world's prevalence is not that of the validation images, these are weighted as if it were.

    Args:
        infer: Table tables.INFER, all images of the model.
        manifest: Table tables.MANIFEST.
        params: How.
        model: Name of the model.
        training: Log of its training, for the odds; None for a model that was not trained here, whose shift is fitted.

    Returns:
        The table with score_calibrated, and the calibration. Without both classes on validation nothing is fitted:
        score_calibrated is null, and the reason is kept.

    Raises:
        TableError: If a number in `infer` is not finite, or an image is not in the manifest.
        CalibrationError: If the odds of training are out of range.
    """
    check_finite(infer)
    chosen = evaluation_sets.classifier_images(infer, manifest, params.sources, "val")
    fitted = _fit(chosen["label"].to_numpy().astype(np.int64), difference(chosen), params, model, training)
    return apply(infer, fitted), fitted


def _fit(
    y: NDArray[np.int64], z: NDArray[np.float64], params: Params, model: str, training: TrainLog | None
) -> Calibration:
    """Calibration fitted on labels and differences of logits of validation images, each of shape (n,)."""
    n, n_positive = len(y), int(y.sum())
    if n_positive in (0, n):
        return Calibration(
            model=model,
            method="none",
            shift=None,
            temperature=None,
            at_bound=False,
            world_prevalence=None,
            sources=params.sources,
            n=n,
            n_positive=n_positive,
            thresholds_on="score",
            thresholds={**dict.fromkeys(thresholds.NAMES), "half": thresholds.HALF},
            reason=f"validation has {n_positive} images with and {n - n_positive} without a nodule, wanted both",
        )
    here = n_positive / n
    world = here if isinstance(params.world_prevalence, str) else params.world_prevalence
    weights = np.where(y == 1, world / here, (1 - world) / (1 - here))
    if training:
        shift = calibration.prior_shift(world, training.training_odds, training.positive_weight)
        temperature = calibration.fit_temperature(y, z + shift, weights)
    else:
        shift, temperature = calibration.fit_platt(y, z, weights)
    scores = calibration.sigmoid((z + shift) / temperature)
    return Calibration(
        model=model,
        method="prior and temperature" if training else "platt",
        shift=shift,
        temperature=temperature,
        at_bound=calibration.at_bound(temperature),
        world_prevalence=world,
        sources=params.sources,
        n=n,
        n_positive=n_positive,
        thresholds_on="score_calibrated",
        thresholds=thresholds.choose(y, scores, weights),
        reason=None,
    )


def apply(infer: pa.Table, fitted: Calibration) -> pa.Table:
    """`infer` with score_calibrated as `fitted` has it; null if nothing was fitted.

    Raises:
        TableError: If a number in `infer` is not finite.
    """
    check_finite(infer)
    probability = fitted.probability(difference(infer))
    column = pa.nulls(infer.num_rows, pa.float64()) if probability is None else pa.array(probability, pa.float64())
    place = infer.column_names.index("score_calibrated")
    return tables.check(infer.set_column(place, "score_calibrated", column), tables.INFER)


def difference(infer: pa.Table) -> NDArray[np.float64]:
    """Logit_positive - logit_negative of every image, shape (n,)."""
    return infer["logit_positive"].to_numpy() - infer["logit_negative"].to_numpy()


def check_finite(infer: pa.Table) -> None:
    """Refuse numbers that are NaN or infinite.

    Raises:
        TableError: Naming the images.
    """
    bad = np.zeros(infer.num_rows, bool)
    for name in ("logit_negative", "logit_positive", "score", "answer_mass"):
        bad |= ~np.isfinite(infer[name].to_numpy())
    if bad.any():
        names = infer["image_id"].filter(pa.array(bad)).to_pylist()
        more = ", ..." if len(names) > 20 else ""
        raise TableError(
            f"infer: {len(names)} of {infer.num_rows} images have a score that is not a number: "
            f"{', '.join(names[:20])}{more}; wanted finite logits (float16 overflows: use bfloat16 or float32)"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Read, calibrate, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.calibrate": CalibrateParams, "nodules.cohort": CohortParams},
        reads=("shards", "manifest", "train", "fitted"),
        writes=("infer", "calibration"),
        many=("shards",),
        optional=("manifest", "train", "fitted", "calibration"),
    )
    infer = shards.gather([tables.read(path, tables.INFER) for path in args.shards], tables.INFER)
    if args.fitted:
        fitted = documents.read(args.fitted, Calibration)
        table = apply(infer, fitted)
    elif args.manifest:
        manifest = tables.read(args.manifest, tables.MANIFEST)
        training = documents.read(args.train, TrainLog) if args.train else None
        section = Params(**vars(args.params.calibrate), sources=args.params.cohort.sources)
        table, fitted = calibrate(infer, manifest, section, model=Path(args.infer).stem, training=training)
    else:
        raise CalibrationError("found neither --fitted nor --manifest; wanted one of them")
    if fitted.reason:
        LOG.warning("%s: nothing was fitted: %s", fitted.model, fitted.reason)
    if fitted.at_bound:
        LOG.warning("%s: the temperature stopped at its bound, %.2f", fitted.model, fitted.temperature)
    tables.write(args.infer, table, tables.INFER)
    if args.calibration:
        documents.write(args.calibration, fitted)


if __name__ == "__main__":
    cli.run(main)

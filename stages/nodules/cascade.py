"""Leave points on those images alone whose score speaks for a nodule: the classifier first, the localizer then.

in   localize     tables.LOCALIZE; responses  tables.RESPONSES of the localizer
     infer        tables.INFER of the classifier; calibration  its thresholds, chosen on validation
out  cascade      tables.LOCALIZE; all_responses  tables.RESPONSES: what became of each image
"""

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

from stages.lib.core import cli, documents, params, tables
from stages.lib.core.errors import TableError
from stages.lib.core.log import LOG
from stages.lib.metrics.calibration import Calibration


@params.section
class Params:
    """Which images keep their points."""

    classifier: params.Text  # whose scores decide
    localizer: params.Text  # whose detections are kept
    threshold: Literal["half", "f1", "youden", "specificity_95"]  # least score, chosen on validation


def cascade(
    localize: pa.Table, responses: pa.Table, infer: pa.Table, fitted: Calibration, params: Params
) -> tuple[pa.Table, pa.Table]:
    """Findings on images whose score reaches the threshold, and a sentence about each image with a score.

    An image without a score is left out of both: the cascade has no response to it.

    Args:
        localize: Table of `tables.LOCALIZE`.
        responses: Table of `tables.RESPONSES`: the images that the localizer was asked about.
        infer: Table of `tables.INFER`.
        fitted: Calibration of its scores.
        params: See `Params`.

    Raises:
        CalibrationError: If the threshold was not chosen.
        TableError: If no image of the localizer has a score.
    """
    threshold = fitted.threshold(params.threshold)
    scores = tables.mapping(infer, threshold.column)
    asked = sorted({name for name in responses["image_id"].to_pylist() if scores.get(name) is not None})
    if not asked and responses.num_rows:
        raise TableError(f"none of the {responses.num_rows} images that were localized has a {threshold.column}")
    passed = {name for name in asked if scores[name] >= threshold.value}
    kept = localize.filter(pa.array([name in passed for name in localize["image_id"].to_pylist()], pa.bool_()))
    found = set(kept["image_id"].to_pylist())
    all_responses = [
        {"image_id": name, "prompt": "cascade", "view": "whole", "parsed": "ok" if name in found else "empty"}
        | {"response": f"score {scores[name]:.3f} {'reaches' if name in passed else 'is below'} {threshold.value:.3f}"}
        for name in asked
    ]
    return tables.check(kept, tables.LOCALIZE), tables.from_rows(all_responses, tables.RESPONSES)


def main(argv: Sequence[str] | None = None) -> None:
    """Read, keep the points of images that pass, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.cascade": Params},
        reads=["localize", "responses", "infer", "calibration"],
        writes=["cascade", "all_responses"],
    )
    table, all_responses = cascade(
        tables.read(args.localize, tables.LOCALIZE),
        tables.read(args.responses, tables.RESPONSES),
        tables.read(args.infer, tables.INFER),
        documents.read(args.calibration, Calibration),
        args.params.cascade,
    )
    LOG.info("cascade: points on %d of %d images", len(set(table["image_id"].to_pylist())), all_responses.num_rows)
    tables.write(args.cascade, table, tables.LOCALIZE)
    tables.write(args.all_responses, all_responses, tables.RESPONSES)


if __name__ == "__main__":
    cli.run(main)

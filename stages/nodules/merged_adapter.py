"""How much it matters in which form the weights are: the tuned model asked twice about the validation images.

Once in the form of `infer.weights`, once in the other: the adapter on the base as it was trained (as a rule in 4 bits),
and merged into the unquantized base.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core.errors import TableError, UndefinedMetricError
from stages.lib.metrics import binary_suite
from stages.lib.metrics.binary_suite import Scored, Settings
from stages.lib.metrics.scorecard import entry

OTHER = {"as_trained": "merged", "merged": "as_trained"}
METRICS = ("roc_auc", "pr_auc", "brier")


def measure(
    infer: pa.Table, twin: pa.Table, patients: Mapping[str, str], weights: str, settings: Settings
) -> dict[str, Any]:
    """Return how the answers in the two forms differ on labelled validation images.

    Args:
        infer: Table of `tables.INFER` in the form that is used.
        twin: The same in the other form; validation images alone.
        patients: Patient by image_id of the images that are measured.
        weights: The form that is used, `infer.weights`.
        settings: How the metrics are measured.

    Returns:
        By form, the metrics of `METRICS`, each with its interval over patients; their differences, the form that is
        used minus the other; and median and largest change of the margin (logit of the positive answer minus that of
        the negative one) and the images whose call at 0.5 changes.

    Raises:
        TableError: If an image was asked about in one form alone.
    """
    used, other = (
        {
            row["image_id"]: row
            for row in table.to_pylist()
            if row["split"] == "val" and row["label"] is not None and row["image_id"] in patients
        }
        for table in (infer, twin)
    )
    if used.keys() != other.keys():
        odd = sorted(used.keys() ^ other.keys())
        raise TableError(
            f"{len(odd)} validation images were asked about with the weights in one form alone (first: {odd[0]}); run "
            "the pipeline again"
        )
    names = sorted(used)
    sides = {weights: [used[name] for name in names], OTHER[weights]: [other[name] for name in names]}
    scored = {form: _scored(rows, [patients[name] for name in names]) for form, rows in sides.items()}
    measured = {form: binary_suite.measure(images, settings) for form, images in scored.items()}
    first, second = measured.values()
    differences = binary_suite.compare(first, second, (scored[weights], scored[OTHER[weights]]), settings)
    gap = np.abs(np.subtract(*(_margins(rows) for rows in sides.values())))
    calls = [images.scores >= binary_suite.HALF for images in scored.values()]
    facts, nothing = {"n": len(names)}, UndefinedMetricError("there is no labelled validation image")
    return {
        "weights": weights,
        "forms": {form: {name: document[name] for name in METRICS} for form, (document, _) in measured.items()},
        "difference": {name: differences[name] for name in METRICS if name in differences},
        "margin_change_median": entry(float(np.median(gap)) if names else nothing, facts),
        "margin_change_largest": entry(float(gap.max()) if names else nothing, facts),
        "calls_changed": entry(int((calls[0] != calls[1]).sum()), facts),
    }


def _margins(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([row["logit_positive"] - row["logit_negative"] for row in rows], np.float64)


def _scored(rows: list[dict[str, Any]], patients: list[str]) -> Scored:
    return Scored(
        labels=np.array([row["label"] for row in rows], np.int64),
        patients=np.array(patients, str),
        scores=np.array([row["score"] for row in rows], np.float64),
        calibrated=None,
        thresholds={},
        reason="scores in the other form are not calibrated",
    )

"""How much it matters in which form the weights are: the tuned model asked twice about the validation images.

Once in the form of `infer.weights`, once in the other: the adapter on the base as it was trained (as a rule in 4 bits),
and merged into the unquantized base.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.lib.core.errors import TableError, UndefinedMetricError
from stages.lib.metrics import binary_suite
from stages.lib.metrics.binary_suite import Settings
from stages.lib.metrics.measures import Estimate, Key, Subject, estimate
from stages.lib.metrics.thresholds import HALF

OTHER = {"unmerged": "merged", "merged": "unmerged"}
TASK = "adapter"
METRICS = ("roc_auc", "pr_auc", "brier")


def measure(used: pa.Table, other: pa.Table, weights: str, settings: Settings) -> dict[Subject, Mapping[Key, Estimate]]:
    """How the answers in the two forms differ on labelled validation images.

    Args:
        used: Rows of `tables.INFER` with patient_id, in the form that is used.
        other: The same images in the other form.
        weights: The form that is used, `infer.weights`.
        settings: How the metrics are measured.

    Returns:
        The metrics of `METRICS` of each form; and their differences, the form that is used minus the other, with median
        and largest change of the margin (logit of the positive answer minus that of the negative one) and the images
        whose call at 0.5 changes.

    Raises:
        TableError: If an image was asked about in one form alone.
    """
    ids = [table["image_id"].to_pylist() for table in (used, other)]
    if ids[0] != ids[1]:
        odd = sorted(set(ids[0]) ^ set(ids[1]))
        raise TableError(
            f"{len(odd)} validation images were asked about with the weights in one form alone (first: {odd[0]}); run "
            "the pipeline again"
        )
    forms = (weights, OTHER[weights])
    scored = (binary_suite.with_scores(used, None), binary_suite.with_scores(other, None))
    first, second = (binary_suite.measure(images, settings) for images in scored)
    differences = binary_suite.compare(first, second, scored, settings)
    gap = np.abs(_margins(used) - _margins(other))
    positive = [images.scores >= HALF for images in scored]
    n, nothing = len(ids[0]), UndefinedMetricError("there is no labelled validation image")
    changes = {
        Key("margin_change_median"): estimate(float(np.median(gap)) if n else nothing, n=n),
        Key("margin_change_largest"): estimate(float(gap.max()) if n else nothing, n=n),
        Key("calls_changed"): estimate(int((positive[0] != positive[1]).sum()), n=n),
    }
    kept = {key: one for key, one in differences.items() if key.metric in METRICS}
    return {
        **{
            Subject(TASK, form, "val"): {key: one for key, one in found.measured.items() if key.metric in METRICS}
            for form, found in zip(forms, (first, second), strict=True)
        },
        Subject(TASK, forms[0], "val", forms[1]): {**kept, **changes},
    }


def _margins(images: pa.Table) -> NDArray[np.float64]:
    return np.asarray(images["logit_positive"].to_numpy() - images["logit_negative"].to_numpy(), np.float64)

"""A localizer as a classifier: an image's score is the highest confidence of a point on it. No model is run."""

import pyarrow as pa

from stages.lib.core import params
from stages.lib.core.errors import TableError


@params.section
class Params:
    """Whose points."""

    localizer: params.Text  # row of nodules.localizers, or combined; its points need confidences


def scores(localizer: str, localize: pa.Table, responses: pa.Table) -> dict[str, float]:
    """Highest confidence of a point on each image, shown or not; 0 where none was found.

    Args:
        localizer: Name of the localizer, for errors.
        localize: Table `tables.LOCALIZE`.
        responses: Table `tables.RESPONSES`: the images that the localizer was asked about.

    Raises:
        TableError: If points have no confidence.
    """
    unsure = localize["confidence"].null_count
    if unsure:
        raise TableError(
            f"{localizer}: {unsure} of {localize.num_rows} points have no confidence; wanted a localizer that gives "
            "each one, as a row of nodules.classifiers of the kind points ranks images by them"
        )
    found = dict.fromkeys(responses["image_id"].to_pylist(), 0.0)
    for image, confidence in zip(localize["image_id"].to_pylist(), localize["confidence"].to_pylist(), strict=True):
        found[image] = max(found[image], confidence)
    return found

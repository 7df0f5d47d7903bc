"""What is submitted: whose scores and points, and the threshold that calls an image. The joint score uses it too."""

from typing import Literal

from stages.lib.core import params

Threshold = Literal["half", "f1", "youden", "specificity_95"]


@params.section
class SubmitParams:
    """What is submitted."""

    classifier: params.Text  # whose scores
    localizer: params.Text  # whose points
    threshold: Threshold  # that calls an image Nodule, here and in the joint score; chosen on validation
    max_points: params.Count  # points of an image at most, the most confident or the first ones
    points_for: Literal["positive_images", "all_images"]  # images whose points are submitted

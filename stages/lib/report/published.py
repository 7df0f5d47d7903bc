"""What the published system reported, for the reader's eye: measured on other images, so never ranked against ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stages.lib.report.blocks import Block, Column, Heading, Note, Row, Rows, Table
from stages.lib.report.numbers import decimal, label


@dataclass(frozen=True)
class Challenge:
    """Best figures of the challenge, which need not be one team's.

    Source: abstract of arXiv 2606.21290.
    """

    balanced_accuracy: float
    roc_auc: float
    count_exact: float
    median_distance_mm: float
    note: str


NOTE = (
    "Published, other data: an image-level split of the NIH images (9,460 test images, 406 with a nodule) and all 113 "
    "LIDC images with points, and no negative image; patients were shared between training and test"
)
CHALLENGE = Challenge(
    balanced_accuracy=0.72,
    roc_auc=0.79,
    count_exact=0.53,
    median_distance_mm=12.83,
    note=(
        "the best figures of five teams on the external test set of NoduLoCC2026, which need not be one team's "
        "(abstract of arXiv 2606.21290)"
    ),
)
CLASSIFICATION: Mapping[str, Mapping[str, float]] = {
    "zero-shot": {
        "precision": 0.1087,
        "sensitivity": 0.1478,
        "specificity": 0.9457,
        "f1": 0.1253,
        "roc_auc": 0.6913,
        "pr_auc": 0.0850,
    },
    "tuned": {
        "precision": 0.3740,
        "sensitivity": 0.3621,
        "specificity": 0.9728,
        "f1": 0.3680,
        "roc_auc": 0.7864,
        "pr_auc": 0.2384,
    },
}
LOCALIZATION: Mapping[str, Mapping[str, float]] = {
    "tight": {
        "true_positives": 10,
        "false_positives": 43,
        "false_negatives": 169,
        "precision": 0.1887,
        "recall": 0.0559,
        "f1": 0.0862,
        "pck": 0.0559,
        "mean_radial_error_px": 35.10,
        "std_radial_error_px": 14.39,
        "median_radial_error_px": 36.42,
    },
    "tolerant": {
        "true_positives": 28,
        "false_positives": 25,
        "false_negatives": 151,
        "precision": 0.5283,
        "recall": 0.1564,
        "f1": 0.2414,
        "pck": 0.1564,
        "mean_radial_error_px": 73.58,
        "std_radial_error_px": 36.33,
        "median_radial_error_px": 66.73,
    },
}


def classifiers() -> Iterator[Block]:
    """Published numbers of classifiers, apart."""
    rows = tuple(
        Row(title=f"Published, {system}", cells=tuple(decimal(value) for value in values.values()))
        for system, values in CLASSIFICATION.items()
    )
    columns = tuple(Column(title=label(metric)) for metric in next(iter(CLASSIFICATION.values())))
    yield Heading(title="Published, other data: not comparable")
    yield Table(columns=columns, groups=(Rows(rows=rows),), style="aside")
    yield Note(text=(f"{NOTE}. Read these beside ours; do not rank them with ours.",))

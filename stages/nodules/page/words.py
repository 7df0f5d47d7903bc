"""What the chapter calls what is no metric: sources, splits, labels, forms of the weights, facts of training."""

from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "nih": "NIH",
    "lidc": "LIDC",
    "train": "Training",
    "val": "Validation",
    "unmerged": "Unmerged adapter, on the base as it was trained",
    "merged": "Adapter merged into the unquantized base",
    "positive_images": "Images with a nodule",
    "positive_validation_images": "Validation images with a nodule",
    "coverage_of_negatives": "Fraction of the negative images seen",
    "loss_first": "Loss, first tenth of the steps",
    "loss_last": "Loss, last tenth of the steps",
    "training_odds": "Odds of a nodule as sampled",
    "f1": "F1",
    "val_loss": "Loss on validation",
    "val_f1": "F1 on validation",
    "val_balanced_accuracy": "Balanced accuracy on validation",
    "val_average_precision": "Average precision on validation",
}
LABELS = {1: "Nodule", 0: "No finding", None: "Not labelled"}


def name(key: str) -> str:
    """What a key is called on the page.

    >>> name("nih"), name("selected_step")
    ('NIH', 'Selected step')
    """
    return NAMES.get(key) or key.replace("_", " ").capitalize()

"""Prompts chosen for a localizer on images that are not test images, and the document of the choice."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from stages.lib.core import documents, params
from stages.lib.core.errors import ChoiceError


@params.section
class SelectParams:
    """How prompts and cutoffs are chosen, on images that are not test images."""

    # localizers are not trained, so train images choose as well as val ones
    splits: tuple[Literal["train", "val"], ...]
    max_prompts: params.Count  # best prompts of a bank that are put to all images
    negative_images: params.Count  # that choose beside those with marked nodules, of as many patients as there are
    false_points_per_image: params.PositiveFloat  # on these at most: points of less confidence are not shown
    seed: params.Seed  # of the sample of negative images

    @property
    def sample(self) -> dict[str, int]:
        """Which negative images choose, as `evaluation_sets.choosing_images` takes it."""
        return {"negative_images": self.negative_images, "seed": self.seed}


@params.section
class BankRow:
    """What a prompt of the bank finds on the images that choose, at its cutoff."""

    prompt: params.Text
    cutoff: float | None  # least confidence of a point that counts; null if all do
    f1: params.Fraction
    true_positives: params.NonNegativeInt  # points on a nodule, one to one
    points: params.NonNegativeInt
    nodules: params.NonNegativeInt
    images: params.Count
    negatives: params.NonNegativeInt  # negative ones among the images
    false_points_per_image: params.NonNegativeFloat | None  # of these
    responses: params.NonNegativeInt  # to it, one per image and view
    malformed: params.NonNegativeInt  # of these, could not be read
    cut: params.NonNegativeInt  # of these, ended at max_new_tokens


@params.section
class Choice:
    """The prompts that are put to all images, and what the whole bank found."""

    written_by: ClassVar[str] = "select"

    prompts: tuple[params.Text, ...]  # none if nothing could be chosen: the first of the bank are put then
    splits: tuple[Literal["train", "val"], ...]  # whose images chose
    bank: tuple[BankRow, ...]  # the best first
    reason: str | None = None  # why nothing could be chosen


def prompts(path: str | Path, bank: Sequence[str], kept: int) -> list[str]:
    """Chosen prompts; the first of the bank if none was chosen.

    Args:
        path: The file of the choice.
        bank: All prompts.
        kept: How many are put, `select.max_prompts`.

    Raises:
        DocumentError: If the file cannot be read.
        ChoiceError: If it names a prompt that is not in the bank.
    """
    found = documents.read(path, Choice).prompts
    strange = [prompt for prompt in found if prompt not in bank]
    if strange:
        raise ChoiceError(
            f"{path}: found the prompts {strange}, wanted some of the bank {list(bank)}; run select again"
        )
    return list(found or bank[:kept])

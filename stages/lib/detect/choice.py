"""Prompts chosen for a localizer on images that are not test images, and the document of the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from stages.lib.core import documents, params
from stages.lib.core.errors import ChoiceError, ParamsError
from stages.lib.detect.cutoff import Cutoff, Splits
from stages.lib.metrics import evaluation_sets


@params.section
class SelectParams:
    """How prompts and cutoffs are chosen, on images that are not test images."""

    # train images choose as well as val ones, but not for a localizer with an adapter, which they taught
    splits: Splits
    max_prompts: params.Count  # best prompts of a bank that are put to all images
    negative_images: params.Count  # that choose beside those with marked nodules, of as many patients as there are
    false_points_per_image: params.PositiveFloat  # on these at most: points of less confidence are not shown
    seed: params.Seed  # of the sample of negative images

    @property
    def sample(self) -> dict[str, int]:
        """Which negative images choose, as `evaluation_sets.choosing_images` takes it."""
        return {"negative_images": self.negative_images, "seed": self.seed}


def of_localizer(select: SelectParams, rows: Mapping[str, params.Row], name: str) -> SelectParams:
    """How prompts and cutoff of one localizer are chosen: without train images, if they taught it.

    They taught one with an adapter, and one whose class of parameters says so in `TAUGHT`.

    Args:
        select: How those of all localizers are.
        rows: The localizers.
        name: The localizer.

    Raises:
        ParamsError: If there is no such row, or no split is left that could choose.
    """
    if name not in rows:
        raise ParamsError("--localizer:", [params.unknown(name, rows)])
    given = rows[name].params
    if getattr(given, "adapter", "none") == "none" and not getattr(given, "TAUGHT", False):
        return select
    return untaught(select, name)


def untaught(select: SelectParams, name: str) -> SelectParams:
    """How prompts and cutoff of a localizer are chosen that train images taught: on the other images alone.

    Args:
        select: How those of all localizers are.
        name: The localizer, for the error.

    Raises:
        ParamsError: If no split is left that could choose.
    """
    splits = evaluation_sets.untaught(select.splits)
    if not splits:
        wanted = f"val among them: train images taught {name}, so they choose nothing for it"
        raise ParamsError("nodules.select.splits:", [f"found {list(select.splits)}, wanted {wanted}"])
    return replace(select, splits=splits)


def shared(select: SelectParams, cutoffs: Mapping[str, Cutoff]) -> SelectParams:
    """How the cutoff of a combination is chosen: on splits that chose for all localizers that are combined.

    Args:
        select: How those of all localizers are.
        cutoffs: Cutoff of each localizer.
    """
    known = [set(one.splits) for one in cutoffs.values() if one.splits is not None]
    return replace(select, splits=tuple(split for split in select.splits if all(split in one for one in known)))


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
    splits: Splits  # whose images chose
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

"""What was chosen for a localizer, on images that are not test images: which images choose, and the file of the
choice.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from stages.lib.core import params
from stages.lib.core.errors import ChoiceError


@params.section
class SelectParams:
    """How requests and cutoffs are chosen, on images that are not test images."""

    splits: tuple[
        Literal["train", "val"], ...
    ]  # localizers are not trained, so train images choose as well as val ones
    max_prompts: params.Count  # best requests of a bank that are put to all images


def images(split: Sequence[Mapping[str, Any]], marked: Collection[str], splits: Sequence[str]) -> set[str]:
    """Return the images that choose: those with points in some splits, and as many negative ones, the first by id.

    Args:
        split: Rows of `tables.SPLIT`.
        marked: image_id of every image with points.
        splits: The splits, `select.splits`; the test split is none of them.
    """
    known = [row for row in split if row["split"] in splits]
    with_points = {row["image_id"] for row in known if row["image_id"] in marked}
    negatives = sorted(row["image_id"] for row in known if row["label"] == 0)
    return with_points | set(negatives[: len(with_points)])


def read(path: str | Path) -> dict[str, Any]:
    """Return a choice as `choose` or `merge` wrote it.

    Raises:
        ChoiceError: If the file is missing or not JSON.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ChoiceError(
            f"{path}: found no choice of requests or cutoffs ({error}); run the study, or set predict.localize: none"
        ) from error
    if not isinstance(document, dict):
        raise ChoiceError(f"{path}: found {type(document).__name__}, wanted a mapping")
    return document


def prompts(path: str | Path, bank: Sequence[str], kept: int) -> list[str]:
    """Return the chosen requests; the first of the bank if none was chosen.

    Args:
        path: The file of the choice.
        bank: All requests.
        kept: How many are put, `select.max_prompts`.

    Raises:
        ChoiceError: If the file cannot be read, or names a request that is not in the bank.
    """
    found = read(path).get("requests", [])
    strange = [request for request in found if request not in bank]
    if strange:
        raise ChoiceError(
            f"{path}: found the requests {strange}, wanted some of the bank {list(bank)}; run select again"
        )
    return list(found or bank[:kept])

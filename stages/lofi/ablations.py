"""Parameters of the ablations: which changes of model and training, and with which seeds."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated

from pydantic import Field

from stages.lib.core import params
from stages.lib.core.errors import ParamsError
from stages.lib.learn.lofi import NAMES
from stages.lofi import train

AS_IS = "as_is"  # the variant without a change, which the others are compared with
NONE = "none"  # in place of a grounder: nothing is grounded
NAME = r"^[A-Za-z0-9][A-Za-z0-9_]*$"  # of a variant: it is the name of a folder
Change = str | int | float | bool | tuple[str, ...]


@params.section
class Params:
    """Variants of the chapter's encoder, each trained anew with each seed, tuned alike and measured."""

    seeds: tuple[params.NonNegativeInt, ...]  # added to lofi.train.seed and lofi.tune.seed
    # row of lofi.grounders of the kind tuned: how each variant is fine-tuned and asked; none: retrieval alone
    grounder: params.Text
    variants: Mapping[
        Annotated[str, Field(pattern=NAME)], Mapping[str, Change]
    ]  # of each, values of lofi.train or lofi.model that differ

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds {list(self.seeds)}, wanted one or more, none of them twice")
        if AS_IS in self.variants:
            problems.append(f"variants without {AS_IS!r}: that is the name of no change")
        if problems:
            raise ValueError("; ".join(problems))


def names() -> list[str]:
    """Parameters of lofi.train that a variant may change: all but the seed."""
    return [one.name for one in fields(train.Params) if one.name != "seed"]


def model_names() -> list[str]:
    """Parameters of lofi.model that a variant may change: all but the bases, which are fetched once for all."""
    return [one.name for one in fields(train.ModelParams) if one.name not in NAMES]


def problems(given: Params, of_train: train.Params, of_model: train.ModelParams) -> list[str]:
    """A sentence for each change of a variant that lofi.train and lofi.model do not know, or do not take.

    Args:
        given: The ablations.
        of_train: Parameters of lofi.train.
        of_model: Parameters of lofi.model.
    """
    known = sorted([*names(), *model_names()])
    said = [
        f"lofi.ablations.variants.{variant}: {params.unknown(key, known)}"
        for variant, changes in given.variants.items()
        for key in changes
        if key not in known
    ]
    as_is = {"train": asdict(of_train), "model": asdict(of_model)}
    sections: Mapping[str, params.Section] = {"lofi.train": train.Params, "lofi.model": train.ModelParams}
    for variant, changes in given.variants.items():
        changed = {
            name: {key: changes[key] if key in changes and key in known else value for key, value in values.items()}
            for name, values in as_is.items()
        }
        try:
            params.parse({"lofi": changed}, sections)
        except ParamsError as error:
            said += [f"lofi.ablations.variants.{variant}: {one}" for one in error.problems]
    return said

"""Parameters of the ablations: which changes of model and training, and with which seeds."""

from collections.abc import Mapping
from dataclasses import fields

from stages.lib.core import params
from stages.lofi import train

AS_IS = "as_is"  # the variant without a change, which the others are compared with
Change = str | int | float | bool | tuple[str, ...]


@params.section
class Params:
    """Variants of the chapter's encoder, each trained anew with each seed, tuned alike and measured."""

    seeds: tuple[params.NonNegativeInt, ...]  # added to lofi.train.seed and lofi.tune.seed
    grounder: params.Text  # row of lofi.grounders of the kind tuned: how each variant is fine-tuned and asked
    variants: Mapping[str, Mapping[str, Change]]  # of each, values of lofi.train or lofi.model that differ

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        problems = []
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds {list(self.seeds)}, wanted one or more, none of them twice")
        if AS_IS in self.variants:
            problems.append(f"variants without {AS_IS!r}: that is the name of no change")
        known = {*names(), *model_names()}
        problems += [
            f"variants.{variant}: {params.unknown(key, known)}"
            for variant, changes in self.variants.items()
            for key in changes
            if key not in known
        ]
        if problems:
            raise ValueError("; ".join(problems))


def names() -> list[str]:
    """Parameters of lofi.train that a variant may change: all but the seed."""
    return [one.name for one in fields(train.Params) if one.name != "seed"]


def model_names() -> list[str]:
    """Parameters of lofi.model that a variant may change."""
    return [one.name for one in fields(train.ModelParams)]

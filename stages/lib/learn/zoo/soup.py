"""A soup: the mean of the weights of tuned rows of one architecture, which scores images as one network.

The kind ensemble asks all its members about an image; this one asks none of them, and costs what one costs. Which
members a greedy soup keeps is chosen by average precision on validation images, at all places of each.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from stages.lib.core import params
from stages.lib.core.errors import MismatchError, ModelError
from stages.lib.learn import soups
from stages.lib.learn.candidate import Fitted, Scores, Setting, Tried
from stages.lib.learn.network_scores import score_folder, score_images
from stages.lib.metrics import binary
from stages.lib.models.backbone import Row

if TYPE_CHECKING:
    from pathlib import Path

    from stages.lib.models.image_network import Loaded

READS = "pixels"


@params.section
class Params(Row):
    """Which rows, and how they are put together."""

    members: tuple[params.Text, ...]  # names of rows of kind tuned, from the same source
    method: Literal["uniform_soup", "greedy_soup"]  # all of them, or those by which validation gets no worse
    side_px: params.Count  # of the images, as of the members
    shifts: params.Count  # places along a side of a patch; each image is seen at shifts x shifts places

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if len(set(self.members)) < 2 or len(set(self.members)) < len(self.members):
            raise ValueError(f"members {list(self.members)}, wanted at least two different rows")


def fit(params: Params, setting: Setting, folder: "Path") -> Fitted:
    """Average the members' weights; see the module.

    Raises:
        ModelError: If a member is missing, or they are not of one architecture.
        MismatchError: If they were tuned at another side.
    """
    from stages.lib.models import image_network

    members = _members(params, setting)
    network = next(iter(members.values()))
    states = {name: {key: one.clone() for key, one in _state(each).items()} for name, each in members.items()}
    labels = setting.images.labels
    if labels is None:
        raise ModelError(f"{setting.row}: validation images without labels; wanted labelled ones to choose by")

    def merit(state: soups.State) -> float:
        network.network.load_state_dict(dict(state))
        return binary.average_precision(labels, score_images(network, params.shifts, setting).evidence)

    alone = {name: merit(state) for name, state in states.items()}
    if params.method == "greedy_soup":
        kept, together = soups.greedy_soup(states, alone, merit)
    else:
        kept = params.members
        together = {kept: merit(soups.uniform_soup(states))}
    network.network.load_state_dict(soups.uniform_soup({name: states[name] for name in kept}))
    image_network.write(network, folder)
    tried = [Tried(option=name, average_precision=value) for name, value in alone.items()]
    tried += [Tried(option=_name(names), average_precision=value) for names, value in together.items()]
    return Fitted(
        tried=tuple(tried),
        chosen=_name(kept),
        parameters=sum(one.numel() for one in network.network.parameters()),
        operations=network.operations,
        passes=params.shifts**2,
        random_weights=any(one.described.random_weights for one in members.values()),
        notes=_notes(network, kept, params),
    )


def _state(loaded: "Loaded") -> dict[str, Any]:
    return dict(loaded.network.state_dict())


def _name(names: tuple[str, ...]) -> str:
    return " + ".join(names)


def _notes(network: "Loaded", kept: tuple[str, ...], params: Params) -> tuple[str, ...]:
    from torch import nn

    notes = []
    if params.method == "greedy_soup":
        notes.append(
            "A greedy soup is never worse on validation than its best member, by the way it is made: what it gains on "
            "it there may be luck."
        )
    if len(kept) == 1:
        notes.append(f"The greedy soup of {len(params.members)} rows keeps one of them: it is {kept[0]} itself.")
    if any(isinstance(module, nn.BatchNorm2d) for module in network.network.modules()):
        notes.append("Running statistics of norms are the mean of the members', not measured again on training images.")
    return tuple(notes)


def _members(params: Params, setting: Setting) -> Mapping[str, "Loaded"]:
    """Networks of the members, by name.

    Raises:
        ModelError: See `fit`.
        MismatchError: See `fit`.
    """
    from stages.lib.models import image_network

    missing = [name for name in params.members if name not in setting.members]
    if missing:
        raise ModelError(
            f"{setting.row}: found no folder of {', '.join(missing)}, wanted what each member was fitted to"
        )
    told = {name: image_network.described(setting.members[name]) for name in params.members}
    shapes = {(one.architecture, one.config) for one in told.values()}
    if len(shapes) > 1:
        raise ModelError(
            f"{setting.row}: {', '.join(f'{name} ({one.architecture})' for name, one in told.items())} are not of one "
            "architecture and configuration; wanted members that were tuned from one source"
        )
    sides = {name: one.side_px for name, one in told.items() if one.side_px != params.side_px}
    if sides:
        found = ", ".join(f"{name} at {side} px" for name, side in sides.items())
        raise MismatchError(f"{setting.row}: found {found}, wanted members tuned at side_px {params.side_px}")
    return {name: image_network.read(setting.members[name], f"{setting.row}: {name}") for name in params.members}


def score(params: Params, setting: Setting, folder: "Path") -> Scores:
    """Score of each image.

    Raises:
        DocumentError: If nothing was fitted.
        ModelError: If the weights are not all and only those of the class.
        MismatchError: If another side was fitted.
    """
    return score_folder(folder, None, params.side_px, params.shifts, setting)

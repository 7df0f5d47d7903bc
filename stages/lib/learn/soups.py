"""Soups: one network whose weights are the mean of several networks' that were tuned from the same beginning.

A soup costs what one network costs. It wants networks that training left in one basin: one architecture, tuned from
the same weights.

Source: Wortsman et al., Model soups, ICML 2022 (arXiv 2203.05482): the uniform soup, and the greedy soup of its recipe
1. The paper's networks have no norm of the batch; here running statistics are averaged as weights are.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stages.lib.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]  # a network's weights and statistics by name


def uniform_soup(states: Mapping[str, Any]) -> dict[str, "Tensor"]:
    """Mean of networks' weights.

    What is the same in all is kept bit by bit, and what is no floating-point number, as a norm's count of batches, is
    that of the first.

    Args:
        states: Of each network, by its name; one or more, of one shape.

    Raises:
        ModelError: If they have not the same weights in the same shapes; all such networks are named.

    >>> import torch
    >>> uniform_soup({"a": {"w": torch.tensor([1.0, 2.0])}, "b": {"w": torch.tensor([3.0, 2.0])}})
    {'w': tensor([2., 2.])}
    """
    import torch

    _check(states)
    first, *others = states.values()
    found = {}
    for name, held in first.items():
        if held.is_floating_point() and not all(torch.equal(held, other[name]) for other in others):
            stack = torch.stack([state[name].double() for state in states.values()])  # (networks, ...)
            found[name] = stack.mean(dim=0).to(held.dtype)
        else:
            found[name] = held.clone()
    return found


def greedy_soup(
    states: Mapping[str, Any], merits: Mapping[str, float], merit: Callable[[State], float]
) -> tuple[tuple[str, ...], dict[tuple[str, ...], float]]:
    """Networks of the soup that takes each in turn, the best first, and keeps it where the soup does not get worse.

    Args:
        states: Of each network, by its name.
        merits: Metric of each network alone; more is better.
        merit: The same metric of a soup's weights.

    Returns:
        Names of the networks that are kept, in the order of their merit, and the metric of each soup that was tried by
        the names of its networks.

    Raises:
        ModelError: If they are not of one shape.
    """
    order = sorted(states, key=lambda name: -merits[name])  # of equals the first
    best = merits[order[0]]
    kept: tuple[str, ...] = (order[0],)
    tried: dict[tuple[str, ...], float] = {}
    for name in order[1:]:
        names = (*kept, name)
        found = tried[names] = merit(uniform_soup({one: states[one] for one in names}))
        if found >= best:
            kept, best = names, found
    return kept, tried


def _check(states: Mapping[str, Any]) -> None:
    """Refuse networks of several shapes.

    Raises:
        ModelError: Naming them.
    """
    if not states:
        raise ModelError("a soup of no network, wanted at least one")
    shapes = {one: {name: tuple(held.shape) for name, held in state.items()} for one, state in states.items()}
    first, *others = states
    problems = []
    for one in others:
        odd = sorted(
            name for name in {*shapes[first], *shapes[one]} if shapes[first].get(name) != shapes[one].get(name)
        )
        if odd:
            problems.append(f"{one} differs from {first} in {', '.join(odd[:3])} ({len(odd)} such)")
    if problems:
        raise ModelError(f"a soup of other architectures: {'; '.join(problems)}; wanted the same weights in all")

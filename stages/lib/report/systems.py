"""Systems of a page: what each is called there, and its look, which goes by its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class System:
    """One system: its name, what it is called on the page, its look there, and its row of parameters."""

    name: str
    label: str
    look: int
    row: Mapping[str, Any] = field(default_factory=dict, repr=False)


def systems(names: Sequence[str], rows: Mapping[str, Mapping[str, Any]], first: int = 0) -> dict[str, System]:
    """Systems by name, in the order of `names`.

    Args:
        names: Their names.
        rows: Their rows of parameters; a row may carry a `label`, and without one the name is the label.
        first: Look of the first one.

    >>> systems(["zero_shot", "b"], {"b": {"label": "Model B"}}, 3)["zero_shot"]
    System(name='zero_shot', label='Zero shot', look=3)
    """
    return {
        name: System(name, str(rows.get(name, {}).get("label") or spoken(name)), look, rows.get(name, {}))
        for look, name in enumerate(names, start=first)
    }


def ordered(names: Sequence[str], rows: Mapping[str, Mapping[str, Any]], first: int = 0) -> dict[str, System]:
    """Systems by name, in the order of their rows; what has no row stands behind.

    >>> list(ordered(["b", "a"], {"a": {"label": "Model A"}}))
    ['a', 'b']
    """
    names = [name for name in rows if name in names] + [name for name in names if name not in rows]
    return systems(names, rows, first)


def spoken(name: str) -> str:
    """A name of a row as words.

    >>> spoken("few_shot")
    'Few shot'
    """
    return name.replace("_", " ").capitalize()

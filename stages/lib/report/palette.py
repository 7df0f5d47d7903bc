"""Colour, shape and dash of the systems of a page, by index: no system has a look of its own by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """One colour: on a light page and paper, and on a dark page or a radiograph."""

    light: str
    dark: str


COLOURS = (
    Colour("#a5661a", "#e0a458"),
    Colour("#0067ac", "#5eb3f0"),
    Colour("#c02a7f", "#ff86c3"),
    Colour("#1c8a34", "#7fe38a"),
    Colour("#7a4fd0", "#c3a6ff"),
    Colour("#c8441b", "#ff8f6b"),
    Colour("#007f86", "#4fd0d6"),
    Colour("#767a00", "#d3d65a"),
    Colour("#7d4b3a", "#d0a08f"),
    Colour("#51627a", "#b3c4dc"),
    Colour("#9a2fb5", "#e79bff"),
    Colour("#3f6b2a", "#a9d68a"),
)
SHAPES = (
    "M{left} {top}l3 3m0-3l-3 3",
    "M{x} {y}m0-2v4m-2-2h4",
    "M{x} {top}l1.7 2.8h-3.4z",
    "M{x} {top}l1.5 1.5l-1.5 1.5l-1.5-1.5z",
    "M{left} {top}h3v3h-3z",
    "M{left} {top}h3l-1.5 3z",
    "M{x} {top}v3m-1.7-3h3.4m-3.4 3h3.4",
)  # cross, plus, triangle, diamond, square, triangle on its tip, I-beam; about 3 wide
DASHES = ("6 3.5", "none", "2 3", "9 3 2 3", "12 4")


def style(index: int) -> str:
    """CSS classes of the system at an index from 0: its colour, and the dash of its lines.

    >>> style(0), style(13)
    ('c0 d0', 'c1 d3')
    """
    return f"c{index % len(COLOURS)} d{index % len(DASHES)}"


def mark(x: float, y: float, index: int) -> str:
    """SVG path of the shape of the system at an index from 0, about (x, y).

    Colour and shape together repeat after 84 systems.

    >>> mark(50, 50, 1)
    'M50 50m0-2v4m-2-2h4'
    """
    corner = {"left": f"{round(x - 1.5, 2):g}", "top": f"{round(y - 1.5, 2):g}"}
    return SHAPES[index % len(SHAPES)].format(x=f"{x:g}", y=f"{y:g}", **corner)

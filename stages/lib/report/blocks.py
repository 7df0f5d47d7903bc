"""Blocks: the few kinds of content that a section of the report is made of, and the section's file.

A chapter writes one `Section` as JSON; the page draws it without knowing the chapter. A system is known by its index
alone (`look`), which `palette` turns into colour, shape and dash.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stages.lib.core import params
from stages.lib.core.params import section as block

Look = Annotated[int, Field(ge=0)]
Unit = Annotated[float, Field(ge=0, le=1)]


@block
class Number:
    """A measured number, ready to be shown."""

    text: str  # the value as it is printed, or a dash
    interval: str  # "[low, high]"; empty without one
    value: float | None  # None if it is undefined
    low: float | None
    high: float | None
    note: str  # what stands behind it, or why there is no value
    beside: str = ""  # a second interval, with what it takes as known


Sentence = tuple[str | Number, ...]  # text, with numbers in it


@block
class Heading:
    """A heading within a part."""

    kind: Literal["heading"] = "heading"
    title: str
    note: str = ""


@block
class Note:
    """A paragraph."""

    kind: Literal["note"] = "note"
    text: Sentence
    style: Literal["plain", "soft", "strong", "warning", "code"] = "soft"


@block
class Tile:
    """One number to remember."""

    title: str
    number: Number
    more: str = ""


@block
class Tiles:
    """Numbers to remember, side by side."""

    kind: Literal["tiles"] = "tiles"
    tiles: tuple[Tile, ...]


@block
class Column:
    """A column of a table."""

    title: str
    look: Look | None = None  # of the system that it is about
    count: bool = False  # whether it holds counts, set to the right


@block
class Row:
    """A row of a table."""

    title: str
    cells: tuple[str | Number, ...]  # one per column
    key: str = ""  # what the row is about, for a program that reads the page
    hint: str = ""
    selected: bool = False
    look: Look | None = None  # of the system that it is about
    failed: str = ""  # why it has no cells


@block
class Rows:
    """Rows under one title."""

    title: str = ""
    note: str = ""
    rows: tuple[Row, ...]


@block
class Table:
    """A table: a title and cells per row, in groups."""

    kind: Literal["table"] = "table"
    name: str = ""  # what the table is about, for a program that reads the page
    corner: str = ""  # heading of the rows' titles
    columns: tuple[Column, ...]
    groups: tuple[Rows, ...]
    whiskers: Annotated[int, Field(ge=0)] = 0  # so many columns, from the left, are also drawn from 0 to 1
    style: Literal["plain", "measured", "systems", "aside"] = "plain"  # systems: a row of many numbers for each
    scroll: bool = False  # whether a long table scrolls


@block
class Axis:
    """An axis of a chart."""

    low: float  # value at its left or lower end
    high: float
    ticks: tuple[float, ...]
    title: str  # what is measured, with unit
    labels: tuple[str, ...] = ()  # text of each tick, where it is not its number


@block
class Point:
    """A point of a chart, in data units."""

    x: float
    y: float
    title: str  # tooltip
    radius: float = 4.5
    low: float | None = None  # ends of its whisker
    high: float | None = None
    open: bool = False


@block
class Series:
    """A line of a chart with its points, in data units."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    look: Look | None = None  # None: a reference line
    label: str = ""  # in the legend; empty keeps it out
    faint: bool = False
    points: tuple[Point, ...] = ()


@block
class Chart:
    """Lines and points over two axes."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]


@block
class Charts:
    """Charts, side by side."""

    kind: Literal["charts"] = "charts"
    charts: tuple[Chart, ...]


@block
class MatrixCell:
    """A count of a confusion matrix."""

    name: str
    count: int
    fraction: Unit  # of its row
    right: bool


@block
class MatrixRow:
    """A true class and what it was called."""

    title: str
    cells: tuple[MatrixCell, ...]


@block
class Matrix:
    """A confusion matrix: a row per true class, a column per predicted one."""

    title: str
    note: str = ""
    look: Look
    columns: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


@block
class Matrices:
    """Confusion matrices, side by side."""

    kind: Literal["matrices"] = "matrices"
    matrices: tuple[Matrix, ...]


@block
class Ring:
    """A true point on an image, and the radii within which a prediction counts: per cent of the square."""

    x: float
    y: float
    radii: tuple[float, ...]  # from the inside; those behind the first are dotted
    title: str


@block
class Mark:
    """A predicted point on an image, per cent of the square."""

    x: float
    y: float
    look: Look
    title: str
    box: tuple[float, float, float, float] | None = None  # x, y, width and height


@block
class Quote:
    """What a system said, verbatim."""

    title: str
    text: str


@block
class Card:
    """One image with what is true and what was predicted."""

    name: str
    image: str  # data URI
    rings: tuple[Ring, ...] = ()
    marks: tuple[Mark, ...] = ()
    facts: tuple[str, ...] = ()
    quotes: tuple[Quote, ...] = ()


@block
class Album:
    """Images of one kind: what they have in common, how many there are, and those that are shown."""

    title: str
    rule: str
    total: int
    cards: tuple[Card, ...]


@block
class Gallery:
    """Example images."""

    kind: Literal["gallery"] = "gallery"
    albums: tuple[Album, ...]


@block
class Key:
    """A mark and what it stands for."""

    title: str
    look: Look | None = None  # None: a true point


@block
class Keys:
    """The key to the marks on images."""

    kind: Literal["keys"] = "keys"
    keys: tuple[Key, ...]


@block
class Fact:
    """A plain fact: its name and its text, or the facts within it."""

    name: str
    text: str = ""
    facts: "tuple[Fact, ...]" = ()


@block
class Facts:
    """Plain facts, nested."""

    kind: Literal["facts"] = "facts"
    facts: tuple[Fact, ...]


@block
class HeatColumn:
    """A column of a heat map, and the group of columns that it stands in."""

    title: str
    group: str = ""
    hint: str = ""


@block
class HeatCell:
    """A number, and how dark its field is; no fraction where there is no value."""

    number: Number
    fraction: Unit | None


@block
class HeatRow:
    """A row of a heat map."""

    title: str
    look: Look | None = None
    cells: tuple[HeatCell, ...]  # one per column
    key: str = ""


@block
class HeatMap:
    """Numbers of several systems on several parts of the images, each on a field that is darker the higher it is."""

    kind: Literal["heat_map"] = "heat_map"
    name: str = ""  # what it is about, for a program that reads the page
    title: str
    note: str = ""
    columns: tuple[HeatColumn, ...]
    rows: tuple[HeatRow, ...]


Outcome = Literal["plain", "gold", "found", "missed", "invented", "wrong_side", "wrong_presence"]
Tags = dict[str, tuple[str, ...]]  # values of each filter


@block
class Span:
    """A piece of a text, and what became of the finding that it names."""

    text: str
    outcome: Outcome = "plain"
    title: str = ""  # tooltip


@block
class Finding:
    """A finding of the gold text or of an answer, and whether the other has it."""

    text: str
    outcome: Outcome


@block
class Rating:
    """What one judge said of one answer."""

    judge: str
    rating: str  # or why there is none
    failed: bool = False
    facts: tuple[str, ...] = ()
    reason: str = ""


@block
class Answer:
    """What one system said of a case."""

    status: str = ""  # what is odd about it; empty if nothing
    text: tuple[Span, ...]
    findings: tuple[Finding, ...] = ()
    ratings: tuple[Rating, ...] = ()
    facts: tuple[str, ...] = ()
    tags: Tags


@block
class Shot:
    """An image of a case; without a source its caption says why."""

    image: str  # data URI; empty without one
    width: int
    height: int
    caption: str


@block
class Case:
    """A case: its images, what is told of it, and what each system said."""

    name: str
    facts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    shots: tuple[Shot, ...] = ()
    history: str = ""
    gold: tuple[Span, ...] = ()
    answers: tuple[Answer, ...]  # one per system
    tags: Tags


@block
class Option:
    """A value that cases are filtered by."""

    value: str
    title: str


@block
class Filter:
    """What cases are filtered by: a tag of theirs, or of the answer of the system on the left."""

    name: str
    title: str
    of: Literal["case", "answer"] = "case"
    options: tuple[Option, ...]


@block
class Browser:
    """Cases one by one, with the answers of any two systems side by side. It is the one block with a script."""

    kind: Literal["browser"] = "browser"
    name: str  # of its anchors
    systems: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    cases: tuple[Case, ...]


@block
class Fold:
    """Blocks that are folded away under a title."""

    kind: Literal["fold"] = "fold"
    title: str
    blocks: "tuple[Block, ...]"


Block = Annotated[
    Heading | Note | Tiles | Table | Charts | Matrices | Gallery | Keys | Facts | HeatMap | Browser | Fold,
    Field(discriminator="kind"),
]


@block
class Part:
    """A part of a section, with an entry in the page's navigation."""

    name: str  # of its anchor
    title: str
    short: str  # its entry
    blocks: tuple[Block, ...]


@block
class Section:
    """What one chapter has to show."""

    written_by: ClassVar[str] = "the chapter's section"
    keeps_defaults: ClassVar[bool] = True  # blocks are told apart by their `kind`

    chapter: params.Text
    title: str
    finding: Sentence  # the first sentence of the page
    warnings: tuple[str, ...]  # what a reader has to know before any number
    tiles: tuple[Tile, ...]
    parts: tuple[Part, ...]

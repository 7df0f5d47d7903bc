"""What a folder of images with reports holds, in the one shape that every layout is read into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.lib.images.dataset import Context, Image
from stages.lib.images.listing import Entry
from stages.lib.images.notices import Notice

SILENT = Context()
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
Edges = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Options:
    """How a folder is read; see `lofi.ingest` in params.yaml.

    Attributes:
        layout: Name of the layout; auto: told by its files.
        min_quality: Least quality of an image where the data tell it, [0, 1].
        grades: Of boxes that are taken, where the data grade them.
    """

    layout: str = "auto"
    min_quality: float = 0.0
    grades: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence about an image.

    Attributes:
        number: In the report, as the data number them.
        text: As the data have it.
        abnormal: Whether it tells of something abnormal; None if not known.
        labels: Groups of findings that it is about.
        in_report: Whether it stands in the report; False of one that the data bring for its boxes alone.
    """

    number: int
    text: str
    abnormal: bool | None = None
    labels: tuple[str, ...] = ()
    in_report: bool = True


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a sentence, as the data have it.

    Attributes:
        number: Of the sentence.
        reader: first or second.
        edges: Left, top, right, bottom; NaN where the data have no number.
        unit: pixels (of the original) or fraction (of its sides), both from edge to edge.
        told: The edges as the data spell them, for messages.
        where: The row, for messages.
    """

    number: int
    reader: str
    edges: Edges
    unit: str
    told: str
    where: str


@dataclass
class Told:
    """What the tables say of one image.

    Attributes:
        name: The image, as they spell it.
        where: The row, for messages.
        patient: The patient; None if they do not tell.
        study: The study; None if they do not tell.
        split: train, val or test; None if they bring no split.
        context: Projection, sex, age.
        sentences: In the order of the report.
        boxes: Of all sentences.
        notices: What is odd about it.
    """

    name: str
    where: str
    patient: str | None = None
    study: str | None = None
    split: str | None = None
    context: Context = SILENT
    sentences: list[Sentence] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def split_named(word: str) -> str | None:
    """Split that a table calls so; None if it is none.

    >>> split_named("Validation"), split_named("later")
    ('val', None)
    """
    return SPLITS.get(word.casefold())


def edges_of(box: Any) -> Edges:
    """Left, top, right, bottom of a list of four numbers; NaN for what is none.

    >>> edges_of([0, 0.5, 1, 1]), edges_of([1, None, 2, True])
    ((0.0, 0.5, 1.0, 1.0), (1.0, nan, 2.0, nan))
    """
    values = box if isinstance(box, list) and len(box) == 4 else [None] * 4
    numbers = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else float("nan") for v in values]
    return numbers[0], numbers[1], numbers[2], numbers[3]


@dataclass
class Tables:
    """What all tables of a folder say, as a layout reads them.

    Attributes:
        told: Of each image once.
        entries: Files that may be its images; those of an archive lie below its name.
        problems: Sentences about what stops the study.
        remarks: Sentences about what was left out, and how much.
        flat: Whether an image is known by the bare name of its file; else by its path.
    """

    told: list[Told] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    flat: bool = False


@dataclass(frozen=True)
class Reported:
    """One image of a folder, with its file, and what is said of it."""

    image: Image
    told: Told


@dataclass
class ReportFolder:
    """A folder of images with reports, read.

    Attributes:
        layout: Name of the layout that it was read by.
        images: All images.
        problems: Sentences about what stops the study: contradictory or unreadable tables.
        remarks: Sentences about what was left out, and how much.
    """

    layout: str
    images: list[Reported] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

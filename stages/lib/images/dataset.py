"""What a data folder holds, in the one shape that every layout is read into. No image is opened here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stages.lib.images.notices import Notice

RESIZED_SQUARE = 0.05  # relative difference of the sides of a pixel up to which a resized image counts as square


@dataclass(frozen=True, slots=True)
class Context:
    """Projection (PA, AP, lateral), and the patient's sex (F, M, other) and age in years; None if not known."""

    view: str | None = None
    sex: str | None = None
    age_years: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A nodule: its centre in pixels of the original, and its size and contrast as far as they are known.

    Attributes:
        x: Column.
        y: Row.
        diameter_mm: Diameter, millimetres on the image.
        diameter_px: The same in pixels.
        contrast: In the unit of the data's own table.
        box_width_px: Width of the box that it was marked with, pixels of the original.
        box_height_px: Height of that box.
    """

    x: float
    y: float
    diameter_mm: float | None = None
    diameter_px: float | None = None
    contrast: float | None = None
    box_width_px: float | None = None
    box_height_px: float | None = None

    def diameter(self, spacing_mm: float | None) -> float | None:
        """Diameter in millimetres; None if it is not known. That of a box is its longer side.

        >>> Point(1, 2, diameter_px=20).diameter(0.5), Point(1, 2, diameter_px=20).diameter(None)
        (10.0, None)
        >>> Point(1, 2, box_width_px=8, box_height_px=10).diameter(0.5)
        5.0
        """
        if self.diameter_mm is not None:
            return self.diameter_mm
        sides = [side for side in (self.box_width_px, self.box_height_px) if side is not None]
        size_px = self.diameter_px if self.diameter_px is not None else max(sides, default=None)
        return None if size_px is None or spacing_mm is None else size_px * spacing_mm


@dataclass(frozen=True, slots=True)
class Record:
    """What one row of a table says of one image.

    Attributes:
        name: The image, as the table spells it.
        where: The row, for messages: "labels.csv line 3".
        label: 1, 0, or None.
        patient: The patient; None if the row says nothing.
        spacing_mm: Millimetres per pixel of the image as it is stored.
        context: Projection and patient.
        folder: Folder, relative to the data folder, that the row says the image is in; None if it says nothing.
        notices: What is odd about the row.
        listed: Whether the row by itself makes the image one of the study. A table of points alone does not.
        spacing_size_px: Width and height of the image that `spacing_mm` is of, if it is stored in another size.
        patient_from: Who says whose it is: table or name.
    """

    name: str
    where: str
    label: int | None = None
    patient: str | None = None
    spacing_mm: float | None = None
    context: Context = Context()
    folder: str | None = None
    notices: tuple[Notice, ...] = ()
    listed: bool = True
    spacing_size_px: tuple[float, float] | None = None
    patient_from: str = "table"

    @property
    def table(self) -> str:
        """The table of the row."""
        return self.where.rsplit(" ", 2)[0]


@dataclass(frozen=True, slots=True)
class Mark:
    """One nodule that a table marks on an image, in the unit of the table.

    Attributes:
        name: The image, as the table spells it.
        where: The row, for messages.
        point: Place and size.
    """

    name: str
    where: str
    point: Point


@dataclass
class Tables:
    """What the tables of a folder say, as a layout reads them.

    Attributes:
        records: Of images; several of one image agree, or the folder is refused.
        marks: Of nodules, in the order of the tables.
        label_table: File name of the table that the labels are from; None without one.
        read: Paths relative to the folder of all tables that were read.
        problems: Sentences about what stops the study.
        remarks: Sentences about what a reader must know, by the path of the table that they are about.
        points_unit: Unit of its points, where the layout says so; auto: pixels of the image, unless they cannot be.
        marked_on: Size, as 1024x1024, of all images of the data set on which its points were marked; None if any.
    """

    records: list[Record] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    label_table: str | None = None
    read: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)
    points_unit: str = "auto"
    marked_on: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a data folder.

    Attributes:
        image_id: Its name in every table of the study.
        file_name: As in the table; in a folder without tables the path relative to it.
        path: The file, below the root as the root was given.
        source: nih, lidc or other.
        patient: The patient, as far as tables and names tell.
        patient_from: Who says so: table, pattern or name.
        label: 1, 0, or None.
        label_from: File name of the table that says so, or that leaves it open.
        spacing_mm: Millimetres per pixel, if a table says so.
        context: Projection and patient, as far as a table says.
        notices: What is odd about it, or why it must not be opened.
        spacing_size_px: Width and height of the image that `spacing_mm` is of, if it is stored in another size.
    """

    image_id: str
    file_name: str
    path: str
    source: str
    patient: str | None = None
    patient_from: str | None = None
    label: int | None = None
    label_from: str | None = None
    spacing_mm: float | None = None
    context: Context = Context()
    notices: tuple[Notice, ...] = ()
    spacing_size_px: tuple[float, float] | None = None

    def spacing(self, width_px: int | None, height_px: int | None) -> tuple[float | None, list[Notice]]:
        """Millimetres per pixel of the image as it is stored, by the tables; None if they do not tell, or it is not
        known in which size it is stored.

        An image that was resized to another shape has pixels that are not square. One up to `RESIZED_SQUARE` is taken
        by its width; beyond it no distance is measured, and the notice says so.

        Args:
            width_px: Width as stored.
            height_px: Height as stored.
        """
        if self.spacing_mm is None or self.spacing_size_px is None:
            return self.spacing_mm, []
        if not width_px or not height_px:
            return None, []
        across, down = (
            self.spacing_mm * size / stored
            for size, stored in zip(self.spacing_size_px, (width_px, height_px), strict=True)
        )
        if abs(across - down) > RESIZED_SQUARE * max(across, down):
            text = f"a pixel as stored is {across:.3g} by {down:.3g} mm, not square, so no distance in mm is measured"
            return None, [Notice("spacing", text)]
        return across, []


@dataclass(frozen=True)
class Options:
    """How a folder is to be read; see `data.ingest` in params.yaml."""

    layout: str = "auto"
    patient_column: str = "auto"
    patient_pattern: str = "none"
    positive_labels: Sequence[str] = ()
    negative_labels: Sequence[str] = ()
    reader_rule: str = "any"
    points_unit: str = "auto"


@dataclass(frozen=True)
class PassedOver:
    """A file of the folder that is no image, and what it was taken for.

    Attributes:
        file_name: Path relative to the folder.
        role: table, index, archive, litter or other.
        reason: A sentence; None if there is nothing to say.
    """

    file_name: str
    role: str
    reason: str | None = None


@dataclass
class Folder:
    """A data folder, read.

    Attributes:
        layout: Name of the layout that it was read by.
        images: All images.
        points: Those of each image, by image_id, in the order of the table, in the unit of the table.
        points_unit: That unit; see `points`.
        marked_on: As that of `Tables`.
        passed_over: All files that are no images.
        problems: Sentences about what stops the study: contradictory or unreadable tables.
    """

    layout: str
    images: list[Image] = field(default_factory=list)
    points: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    points_unit: str = "auto"
    marked_on: str | None = None
    passed_over: list[PassedOver] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

"""A decoded image, and what its file says of it: the one shape that every reader of a file format returns."""

from dataclasses import dataclass

import numpy as np

from stages.lib.images.notices import Notice


@dataclass(frozen=True)
class Header:
    """What the file itself says of its image; None where it says nothing of use.

    Attributes:
        patient: Keyed pseudonym of the patient.
        study: Keyed pseudonym of the study.
        view: PA, AP or lateral.
        sex: F, M or other.
        age_years: Age of the patient at the image.
        spacing_mm: Millimetres per pixel.
        spacing_from: Field that says so.
    """

    patient: str | None = None
    study: str | None = None
    view: str | None = None
    sex: str | None = None
    age_years: float | None = None
    spacing_mm: float | None = None
    spacing_from: str | None = None


SILENT = Header()  # of a file that says nothing


@dataclass(frozen=True)
class Decoded:
    """One image.

    Attributes:
        pixels: Grey values, uint8 or uint16, shape (height, width), dense is bright.
        bit_depth: Bits per grey value as stored.
        header: What the file itself says.
        notices: What is odd about it.
        histogram: How often each grey value occurs, without padding, as `preprocess.histogram`; None before it was
            counted.
    """

    pixels: np.ndarray
    bit_depth: int
    header: Header = SILENT
    notices: tuple[Notice, ...] = ()
    histogram: np.ndarray | None = None

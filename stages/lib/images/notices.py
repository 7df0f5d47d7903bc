"""Notices: what is odd about an image, its file or its rows in the tables, each of a named kind.

A kind decides what follows. `REJECTED`: the image takes no part. `ACCEPTABLE`: it takes no part, unless
`data.ingest.accept` lists the kind. `REMARKED`: it takes part, and the manifest says so.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

REJECTED = {
    "file": "there is no such file, its name is unsafe, or it cannot be opened",
    "unreadable": "it is damaged, or not one grey image that can be decoded here",
    "frames": "it has several frames",
    "no_image": "it is too small or too large, or nearly all of one grey value",
    "points_unit": "its points do not seem to be in pixels",
    "contradiction": "its label and its points contradict each other, or a point lies outside of it",
    "listing": "the tables of its data set contradict each other about it, or a row of them is none",
    "report": "its report has no sentence, or the tables of its data set contradict each other about it",
    "box": "a box of one of its sentences is none: outside of it, without area, corners swapped, in another unit",
    "no_slice": "its own description says that it is no slice: a drawing, a photograph, a montage, a reconstruction",
    "text": "a text of its case is none, or cannot be written as UTF-8",
    "gold": "its case has no findings",
    "region": "the region of its case is not given, not known, or several",
    "images": "its case has no image that takes part",
}
ACCEPTABLE = {
    "modality": "its header says another modality than a radiograph",
    "body_part": "its header says another part of the body than the chest",
    "view": "its header or its table says that it is no frontal view",
}
REMARKED = {
    "for_processing": "its header says FOR PROCESSING: the detector's raw values, not what a reader sees",
    "laterality": "its header says that it shows one side of the body",
    "presentation_lut": "its PresentationLUTShape contradicts its photometric interpretation",
    "burned_in": "its header says that there may be text about the patient in the pixels",
    "spacing": "what it says of the size of a pixel cannot be used",
    "lossy": "it was compressed with loss",
    "inverted": "bone seems to be dark and air bright",
    "nearly_black": "almost all of it is black after normalization",
    "nearly_white": "almost all of it is white after normalization",
    "marker": "a marker or a border takes most of the range of grey",
    "colour": "it had colours, which were taken as grey",
    "rotated": "it seems to be rotated",
    "patient": "its patient is not known",
    "label": "it has no label",
    "points": "something is odd about its points",
    "table": "something is odd about its rows in the tables",
    "same_pixels": "another image has the same pixels",
    "near_duplicate": "another image is nearly the same",
    "name": "its name in the table and on disk differ",
    "history": "nothing is told of the history of its case",
}
KINDS = REJECTED | ACCEPTABLE | REMARKED


@dataclass(frozen=True)
class Notice:
    """One sentence about an image, without its name, and the kind that it is of."""

    kind: str
    text: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"found the kind of notice {self.kind!r}, wanted one of {', '.join(KINDS)}")


def rejecting(notices: Iterable[Notice], accept: Collection[str]) -> list[Notice]:
    """The notices for which an image takes no part.

    >>> rejecting([Notice("view", "lateral"), Notice("lossy", "JPEG")], [])
    [Notice(kind='view', text='lateral')]
    >>> rejecting([Notice("view", "lateral")], ["view"])
    []
    """
    return [one for one in notices if one.kind in REJECTED or (one.kind in ACCEPTABLE and one.kind not in accept)]

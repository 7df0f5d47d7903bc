"""Simulate chest images with the sentences of a report, and the boxes that they speak of, in the project's own layout.

out  out  a folder: images/, images.csv (image, patient_id, study_id, split, view), sentences.csv (image, number, text,
          abnormal, labels) and boxes.csv (image, number, reader, x0, y0, x1, y1; pixels of the image, 0 at its left and
          top border)

Boxes of the first reader are the truth. The second reader saw the images that are not for training, less exactly, and
not everything.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.lib.core import cli, files, params
from stages.lib.core.csvtext import csv_bytes
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.demo import parallel
from stages.lib.demo.synthetic import chest_cases
from stages.lib.demo.synthetic.chest_sentences import Box, Sentence

SPLITS = ("train", "val", "test")
VIEWS = ("PA", "AP")
IMAGES, SENTENCES, BOXES = "images.csv", "sentences.csv", "boxes.csv"
HEADINGS = {
    IMAGES: ("image", "patient_id", "study_id", "split", "view"),
    SENTENCES: ("image", "number", "text", "abnormal", "labels"),
    BOXES: ("image", "number", "reader", "x0", "y0", "x1", "y1"),
}
FIRST_READER, SECOND_READER = "first", "second"
LABELS_BY = ";"
PLAN_STREAM, PATIENT_STREAM, IMAGE_STREAM, READER_STREAM = 0, 1, 2, 3
LEAST_BOX_PX = 1.0  # width and height of a box of the second reader


@params.section
class Params(chest_cases.Content):
    """Number, size and content of the images, and how their reports are worded."""

    seed: params.Seed
    train_images: params.Count
    val_images: params.Count
    test_images: params.Count
    max_images_per_patient: params.Count  # a patient has 1 to this many images, each number equally likely
    jitter_fraction: params.Fraction  # spread of the second reader's edges, of a box's width or height
    missed_fraction: params.Fraction  # of the boxes, that the second reader does not draw


@dataclass(frozen=True)
class Order:
    """One image to be made.

    Attributes:
        number: Its number; with the seed it decides the image's random numbers.
        patient: Number of its patient.
        split: One of SPLITS.
    """

    number: int
    patient: int
    split: str

    @property
    def image(self) -> str:
        """Name of its file."""
        return f"{self.number + 1:06d}.png"


class Made(NamedTuple):
    """One image as drawn.

    Attributes:
        grey: uint8 of shape (h, w).
        sentences: Its report.
        view: One of VIEWS.
    """

    grey: np.ndarray
    sentences: tuple[Sentence, ...]
    view: str


def plan(params: Params) -> list[Order]:
    """Images to make; each split has as many as asked, and patients of its own."""
    rng = np.random.default_rng([params.seed, PLAN_STREAM])
    orders: list[Order] = []
    patient = 0
    for split, wanted in zip(SPLITS, (params.train_images, params.val_images, params.test_images), strict=True):
        end = len(orders) + wanted
        while len(orders) < end:
            count = min(int(rng.integers(1, params.max_images_per_patient + 1)), end - len(orders))
            orders += [Order(len(orders) + i, patient, split) for i in range(count)]
            patient += 1
    return orders


def simulate(order: Order, params: Params) -> Made:
    """One image with its report; it depends on the seed, the order, and the parameters of images and wording alone."""
    of_patient = np.random.default_rng([params.seed, PATIENT_STREAM, order.patient])
    rng = np.random.default_rng([params.seed, IMAGE_STREAM, order.number])
    case = chest_cases.draw(of_patient, rng, params)
    return Made(case.grey, case.sentences, VIEWS[int(rng.integers(len(VIEWS)))])


def second_reading(
    rng: np.random.Generator, boxes: Sequence[Box], width_px: int, height_px: int, params: Params
) -> list[Box]:
    """Boxes of the second reader.

    Args:
        rng: Source of the reader's errors.
        boxes: The true ones: left, top, right, bottom.
        width_px: Width of the image; no box goes beyond.
        height_px: Height of it.
        params: See `Params`.
    """
    read = []
    for x0, y0, x1, y1 in boxes:
        missed = rng.random() < params.missed_fraction
        off = rng.normal(0, params.jitter_fraction, 4) * np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
        left, right = np.clip(sorted([x0 + off[0], x1 + off[2]]), 0, width_px).tolist()
        top, bottom = np.clip(sorted([y0 + off[1], y1 + off[3]]), 0, height_px).tolist()
        if not missed and min(right - left, bottom - top) >= LEAST_BOX_PX:
            read.append((left, top, right, bottom))
    return read


def rows(order: Order, made: Made, params: Params) -> dict[str, list[tuple[str | int | float, ...]]]:
    """Rows of each table about one image."""
    height, width = made.grey.shape
    rng = np.random.default_rng([params.seed, READER_STREAM, order.number])
    sentences: list[tuple[str | int | float, ...]] = []
    boxes: list[tuple[str | int | float, ...]] = []
    for number, told in enumerate(made.sentences):
        labels = LABELS_BY.join(told.labels)
        sentences.append((order.image, number, told.text, "true" if told.abnormal else "false", labels))
        readings = {FIRST_READER: list(told.boxes)}
        if order.split != "train":
            readings[SECOND_READER] = second_reading(rng, told.boxes, width, height, params)
        for reader, read in readings.items():
            boxes += [(order.image, number, reader, *(round(edge, 3) for edge in box)) for box in read]
    image = (order.image, f"P{order.patient + 1:06d}", f"S{order.number + 1:06d}", order.split, made.view)
    return {IMAGES: [image], SENTENCES: sentences, BOXES: boxes}


def _make(folder: Path, params: Params, order: Order) -> dict[str, list[tuple[str | int | float, ...]]]:
    import cv2

    made = simulate(order, params)
    _, png = cv2.imencode(".png", made.grey)
    (folder / order.image).write_bytes(png.tobytes())
    return rows(order, made, params)


def write(params: Params, out: Path, workers: int) -> None:
    """Make all images and their tables as the folder `out`; it takes the place of an older one only when it is whole.

    Args:
        params: See `Params`.
        out: The folder.
        workers: Number of processes; the bytes do not depend on it.
    """
    orders = plan(params)
    with files.replacing_folder(out) as beside:
        (beside / "images").mkdir()
        work = parallel.each(partial(_make, beside / "images", params), orders, workers)
        made = list(track(work, total=len(orders), what="simulate", unit="images"))
        for name, heading in HEADINGS.items():
            (beside / name).write_bytes(csv_bytes(heading, (row for one in made for row in one[name])))
    told = sum(len(one[SENTENCES]) for one in made)
    LOG.info("simulate: %d images in %s, with %d sentences", len(made), out, told)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the parameters, write the folder."""
    args = cli.parse(__doc__, argv, params={"lofi.simulate": Params}, writes=("out",))
    write(args.params.simulate, Path(args.out), workers=len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    cli.run(main)

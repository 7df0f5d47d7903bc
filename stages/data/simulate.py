"""Simulate a data folder in the challenge's layout, with the exact truth about every nodule.

out  out  a folder: nih_filtered_images/, lidc_png_16_bit/, unlabelled/, classification_labels.csv,
          localization_labels.csv, and the truth: lesions.csv, of which ingest takes size and contrast of the marked
          nodules, for `measure` alone, and unlabelled_truth.csv, which no stage reads
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.lib.core import cli, files, params
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.demo import parallel
from stages.lib.demo.synthetic import image as images
from stages.lib.demo.synthetic import marker
from stages.lib.demo.synthetic.nodules import problems as nodule_problems

NIH, LIDC, UNLABELLED = "nih_filtered_images", "lidc_png_16_bit", "unlabelled"
LEAST_SIDE_PX = 64
AP_FRACTION = 0.4  # of the images; taken in bed, of the sicker patients
LABELS = ("No Finding", "Nodule")
TRUTH = ("x", "y", "diameter_px", "diameter_mm", "contrast", "zone")
PATIENT_STREAM, IMAGE_STREAM, PLAN_STREAM, CONTEXT_STREAM = 0, 1, 2, 16
NEGATIVE_STREAM, MARKED_STREAM, MARKER_STREAM = 3, 4, 5
FIRST_NEGATIVE_LIDC_PATIENT = 1_000_000  # beyond the others, so that their number changes no image
FOLDERS = (NIH, LIDC, UNLABELLED)


@params.section
class Params:
    """Number, size and difficulty of the images."""

    seed: params.Seed
    nih_patients: params.Count  # patients with 8-bit square images
    max_images_per_patient: params.Count  # a patient has 1 to this many images, each number equally likely
    nih_side_px: params.Count  # side of an 8-bit image
    rgba_fraction: params.Fraction  # of the 8-bit images, stored as RGBA with equal channels
    lidc_images: params.NonNegativeInt  # 16-bit images with marked nodules, each of a patient of its own
    lidc_negative_images: params.NonNegativeInt  # 16-bit images without a nodule; the challenge has none
    lidc_side_px: params.Count  # about the side of a 16-bit image; width and height vary by a tenth
    prevalence: params.Fraction  # of images with a nodule among the 8-bit ones
    nih_marked_fraction: params.Fraction  # of these, with nodules that are marked; in the challenge none are
    max_nodules: params.Count  # an image with nodules has 1 to this many
    min_diameter_mm: params.PositiveFloat
    max_diameter_mm: params.PositiveFloat
    min_contrast: params.Fraction  # grade: 0 adds nothing
    max_contrast: params.Fraction  # grade: 1 is obvious at 28 mm
    marker_fraction_positive: params.Fraction  # of labelled images with a nodule, with a bright bar in a corner
    marker_fraction_negative: params.Fraction  # the same of those without; where the two differ, it is a shortcut
    unlabelled_images: params.NonNegativeInt  # images of both kinds for `predict`, half of them with nodules

    def __post_init__(self) -> None:
        problems = nodule_problems(
            min_diameter_mm=self.min_diameter_mm,
            max_diameter_mm=self.max_diameter_mm,
            min_contrast=self.min_contrast,
            max_contrast=self.max_contrast,
        )
        if min(self.nih_side_px, self.lidc_side_px) < LEAST_SIDE_PX:
            problems.append(f"nih_side_px and lidc_side_px of at least {LEAST_SIDE_PX}")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Order:
    """One image to be made.

    Attributes:
        folder: Where it belongs: one of FOLDERS.
        file_name: Name of the file.
        number: Number of the image within its folder; with the seed it decides the image's random numbers.
        patient: Number of the patient, over all folders.
        kind: "nih" for 8 bits and square, "lidc" for 16 bits.
        width_px: Width, pixels.
        height_px: Height, pixels.
        nodules: How many nodules.
        rgba: Whether it is stored with four channels.
        points: Whether its nodules are marked in the table of points.
        marker: Whether it carries a planted marker.
    """

    folder: str
    file_name: str
    number: int
    patient: int
    kind: Literal["nih", "lidc"]
    width_px: int
    height_px: int
    nodules: int
    rgba: bool
    points: bool = False
    marker: bool = False


@dataclass(frozen=True)
class Stored:
    """An image as stored, and the truth about it.

    Attributes:
        pixels: uint8 (h, w) or (h, w, 4), or uint16 (h, w).
        nodules: The nodules in it.
    """

    pixels: np.ndarray
    nodules: tuple[images.Nodule, ...]


def plan(params: Params) -> list[Order]:
    """Images to make; the fraction with nodules is exact, and which they are is drawn over all images."""
    rng = np.random.default_rng([params.seed, PLAN_STREAM])
    counts = rng.integers(1, params.max_images_per_patient + 1, params.nih_patients)
    total = int(counts.sum())
    nodules = _numbers(rng, total, round(params.prevalence * total), params.max_nodules)
    rgba = np.zeros(total, bool)
    rgba[: round(params.rgba_fraction * total)] = True
    rgba = rng.permutation(rgba)
    side = params.nih_side_px
    follow_up = [(patient, visit) for patient, count in enumerate(counts.tolist()) for visit in range(count)]
    orders = [
        Order(NIH, f"{patient + 1:08d}_{visit:03d}.png", i, patient, "nih", side, side, nodules[i], bool(rgba[i]))
        for i, (patient, visit) in enumerate(follow_up)
    ]
    present = _numbers(rng, params.lidc_images, params.lidc_images, params.max_nodules)
    for i, (width, height) in enumerate(_sizes(rng, params.lidc_images, params.lidc_side_px)):
        patient = params.nih_patients + i
        orders.append(Order(LIDC, f"{i + 1:04d}.png", i, patient, "lidc", width, height, present[i], False))
    mixed = _numbers(rng, params.unlabelled_images, params.unlabelled_images // 2, params.max_nodules)
    for i, (width, height) in enumerate(_sizes(rng, params.unlabelled_images, params.lidc_side_px)):
        patient = params.nih_patients + params.lidc_images + i
        name = f"image_{i + 1:03d}.png"
        if i % 2:
            orders.append(Order(UNLABELLED, name, i, patient, "lidc", width, height, mixed[i], False))
        else:
            orders.append(Order(UNLABELLED, name, i, patient, "nih", side, side, mixed[i], False))
    return _with_markers(_with_points([*orders, *_negative_lidc(params)], params), params)


def _negative_lidc(params: Params) -> list[Order]:
    """Images without a nodule among the 16-bit ones, numbered after those with nodules."""
    rng = np.random.default_rng([params.seed, NEGATIVE_STREAM])
    orders = []
    for i, (width, height) in enumerate(_sizes(rng, params.lidc_negative_images, params.lidc_side_px)):
        number, patient = params.lidc_images + i, FIRST_NEGATIVE_LIDC_PATIENT + i
        orders.append(Order(LIDC, f"{number + 1:04d}.png", number, patient, "lidc", width, height, 0, False))
    return orders


def _with_points(orders: Sequence[Order], params: Params) -> list[Order]:
    """Orders that say whose nodules are marked: all of the 16-bit images, and of the 8-bit ones an exact fraction."""
    positive = [i for i, order in enumerate(orders) if order.folder == NIH and order.nodules]
    chosen = _drawn(positive, params.nih_marked_fraction, np.random.default_rng([params.seed, MARKED_STREAM]))
    return [replace(order, points=i in chosen or order.folder == LIDC) for i, order in enumerate(orders)]


def _with_markers(orders: Sequence[Order], params: Params) -> list[Order]:
    """Orders that say which labelled images carry a planted marker: an exact fraction of each class."""
    chosen: set[int] = set()
    for label, fraction in ((1, params.marker_fraction_positive), (0, params.marker_fraction_negative)):
        of_class = [i for i, o in enumerate(orders) if o.folder != UNLABELLED and bool(o.nodules) == bool(label)]
        chosen |= _drawn(of_class, fraction, np.random.default_rng([params.seed, MARKER_STREAM, label]))
    return [replace(order, marker=i in chosen) for i, order in enumerate(orders)]


def _drawn(places: Sequence[int], fraction: float, rng: np.random.Generator) -> set[int]:
    return {places[k] for k in rng.permutation(len(places))[: round(fraction * len(places))].tolist()}


def _numbers(rng: np.random.Generator, total: int, positive: int, most: int) -> list[int]:
    present = rng.permutation(np.arange(total) < positive)
    return [int(number) for number in np.where(present, rng.integers(1, most + 1, total), 0)]


def _sizes(rng: np.random.Generator, count: int, side_px: int) -> list[tuple[int, int]]:
    least, most = round(0.9 * side_px), round(1.1 * side_px)
    width = rng.integers(least, most + 1, count)
    height = np.where(rng.random(count) < 0.25, width, rng.integers(least, most + 1, count))
    return [(int(w), int(h)) for w, h in zip(width, height, strict=True)]


def simulate(order: Order, params: Params) -> Stored:
    """One image; it depends on the seed, the order, and the ranges of diameter and contrast alone."""
    rng = np.random.default_rng([params.seed, IMAGE_STREAM, FOLDERS.index(order.folder), order.number])
    image = images.draw(
        rng,
        images.patient(np.random.default_rng([params.seed, PATIENT_STREAM, order.patient])),
        width_px=order.width_px,
        height_px=order.height_px,
        nodules=order.nodules,
        diameter_mm=(params.min_diameter_mm, params.max_diameter_mm),
        contrast=(params.min_contrast, params.max_contrast),
    )
    density = image.density
    if order.marker:
        own = np.random.default_rng([params.seed, MARKER_STREAM, FOLDERS.index(order.folder) + 2, order.number])
        density = marker.marked(density, image.lungs, own)
    if order.kind == "lidc":
        low, high = rng.integers(60, 600), rng.integers(2800, 14000)
        return Stored(np.rint(low + density * float(high - low)).astype(np.uint16), image.nodules)
    grey = np.rint(density * 255).astype(np.uint8)
    if order.rgba:
        return Stored(np.dstack([grey, grey, grey, np.full_like(grey, 255)]), image.nodules)
    return Stored(grey, image.nodules)


def context(order: Order, seed: int) -> dict[str, Any]:
    """Projection of an image, and sex and age of its patient, as columns of the labels.

    They have random numbers of their own and nothing to do with the pixels or the label.
    """
    patient = np.random.default_rng([seed, CONTEXT_STREAM, order.patient])
    sex, age = "FM"[int(patient.integers(2))], int(np.clip(np.rint(patient.normal(55, 16)), 18, 95))
    image = np.random.default_rng([seed, CONTEXT_STREAM, order.patient, order.number])
    return {"view": "AP" if image.random() < AP_FRACTION else "PA", "sex": sex, "age_years": age}


def tables(made: Sequence[tuple[Order, Sequence[images.Nodule]]], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of each CSV file by its name, in the challenge's order: positives last."""
    classes, points, lesions, unlabelled = [], [], [], []
    for order, nodules in sorted(made, key=lambda item: (bool(item[1]), FOLDERS.index(item[0].folder))):
        label = {"file_name": order.file_name, "label": LABELS[bool(nodules)]}
        truth = [{name: _rounded(value) for name, value in asdict(nodule).items()} for nodule in nodules]
        if order.folder == UNLABELLED:
            unlabelled += [label | nodule for nodule in truth or [dict.fromkeys(TRUTH, "")]]
            continue
        patient = f"LIDC-IDRI-{order.number + 1:04d}" if order.folder == LIDC else ""
        spacing = f"{images.spacing_mm(order.width_px):.6f}"
        classes.append(label | {"LIDC_ID": patient, "spacing_mm": spacing} | context(order, seed))
        lesions += [{"file_name": order.file_name} | nodule for nodule in truth]
        if order.points:
            points += [{"file_name": order.file_name, "x": round(n.x), "y": round(n.y)} for n in nodules]
    return {
        "classification_labels.csv": classes,
        "localization_labels.csv": points,
        "lesions.csv": lesions,
        "unlabelled_truth.csv": sorted(unlabelled, key=lambda row: row["file_name"]),
    }


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


COLUMNS = {
    "classification_labels.csv": ("file_name", "label", "LIDC_ID", "spacing_mm", "view", "sex", "age_years"),
    "localization_labels.csv": ("file_name", "x", "y"),
    "lesions.csv": ("file_name", *TRUTH),
    "unlabelled_truth.csv": ("file_name", "label", *TRUTH),
}


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _make(folder: Path, params: Params, order: Order) -> tuple[Order, tuple[images.Nodule, ...]]:
    import cv2

    pixels = simulate(order, params)
    _, png = cv2.imencode(".png", pixels.pixels)
    files.write_bytes(folder / order.folder / order.file_name, png.tobytes())
    return order, pixels.nodules


def write(params: Params, out: Path, workers: int) -> None:
    """Make all images and their tables as the folder `out`; it takes the place of an older one only when it is whole.

    Args:
        params: See `Params`.
        out: The folder.
        workers: Number of processes; the bytes do not depend on it.
    """
    orders = plan(params)
    with files.replacing_folder(out) as beside:
        for folder in FOLDERS:
            (beside / folder).mkdir(parents=True)
        work = parallel.each(partial(_make, beside, params), orders, workers)
        made = list(track(work, total=len(orders), what="simulate", unit="images"))
        for name, rows in tables(made, params.seed).items():
            files.write_bytes(beside / name, _csv(COLUMNS[name], rows))
    positive = sum(bool(nodules) for _, nodules in made)
    LOG.info("simulate: %d images in %s, %d with nodules", len(made), out, positive)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the parameters, write the folder."""
    args = cli.parse(__doc__, argv, params={"data.simulate": Params}, writes=("out",))
    write(args.params.simulate, Path(args.out), workers=len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    cli.run(main)

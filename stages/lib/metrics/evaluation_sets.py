"""Evaluation sets: which images a classifier is measured on, which a localizer, and which choose prompts and cutoffs.

Classifiers are trained, calibrated and measured on the labelled images of one split from the sources of the cohort.
External data have no splits: `external/<name>` is all their labelled images from these sources.

Localizers are measured on two sets. `test` is the headline one: images of the test split with marked nodules, or known
to have none; prompts, cutoffs and combinations are chosen on other images, and of a localizer with an adapter not on
images of the train split, which taught it. `all` has every image with marked nodules, whatever its split, as published
studies measured; images that a prompt was chosen on are among them, and no negative image is.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.core.errors import TableError

T = TypeVar("T", bound=str)
MEASURED_SPLITS = ("val", "test")  # of a classifier; thresholds and checkpoints are chosen on the first


def classifier_images(table: pa.Table, manifest: pa.Table, sources: Sequence[str], split: str) -> pa.Table:
    """Labelled images of one split from some sources: the rows of `table`, with `source` and `patient_id`.

    Args:
        table: A table with image_id, split and label, such as `tables.SPLIT` or `tables.INFER`.
        manifest: Table `tables.MANIFEST`.
        sources: Sources of the cohort.
        split: Name of the split.

    Raises:
        TableError: If an image is not in the manifest.
    """
    missing = [column for column in ("source", "patient_id") if column not in table.column_names]
    joined = tables.lookup(table, manifest, missing)
    strangers = joined["image_id"].filter(pc.is_null(joined["source"])).to_pylist()
    if strangers:
        raise TableError(f"{len(strangers)} images are not in the manifest: {', '.join(strangers[:5])}")
    keep = pc.and_(pc.equal(joined["split"], split), pc.is_in(joined["source"], pa.array(sources, pa.string())))
    return joined.filter(pc.and_(pc.fill_null(keep, False), pc.is_valid(joined["label"])))


def external_images(infer: pa.Table, manifest: pa.Table, sources: Sequence[str]) -> pa.Table:
    """Labelled images of external data from the sources of the cohort: rows of `infer`, with label, source, patient_id.

    Args:
        infer: Table of `tables.INFER`, in which no image has a split or a label.
        manifest: Table of `tables.MANIFEST` of the external data.
        sources: Sources of the cohort.
    """
    joined = tables.lookup(infer.drop_columns(["label"]), manifest, ["label", "source", "patient_id"])
    keep = pc.and_(pc.is_valid(joined["label"]), pc.is_in(joined["source"], pa.array(sources, pa.string())))
    return joined.filter(pc.fill_null(keep, False))


def audited_images(table: pa.Table, count: int, seed: int) -> pa.Table:
    """A seeded sample of patients with all their images, as many with a nodule as without as far as there are.

    A ROC AUC does not depend on how many images of each class there are, so the rarer one may be taken first.

    Args:
        table: Images as `classifier_images` gives them.
        count: Patients are taken until there are so many images.
        seed: Of the order of the patients.
    """
    rows, positive = defaultdict(list), set()
    columns = (table[name].to_pylist() for name in ("patient_id", "label"))
    for row, (patient, label) in enumerate(zip(*columns, strict=True)):
        rows[patient].append(row)
        positive |= {patient} if label == 1 else set()
    order = [str(patient) for patient in np.random.default_rng(seed).permutation(sorted(rows))]
    queues = [[patient for patient in order if (patient in positive) == wanted] for wanted in (False, True)]
    labels = table["label"].to_pylist()
    taken: list[int] = []
    while any(queues) and len(taken) < count:
        wanted = 2 * sum(labels[row] for row in taken) <= len(taken)
        taken += rows[(queues[wanted] or queues[not wanted]).pop(0)]
    return table.take(pa.array(sorted(taken), pa.int64()))


def is_negative(label: int | None, n_points: int) -> bool:
    """Whether an image is known to have no nodule.

    >>> is_negative(0, 0), is_negative(None, 0)
    (True, False)
    """
    return label == 0 and n_points == 0


def localizer_sets(split: str | None, label: int | None, n_points: int) -> tuple[str, ...]:
    """Names of the sets that an image belongs to, if a localizer was run on it.

    >>> localizer_sets("test", 1, 2), localizer_sets("test", 0, 0), localizer_sets("train", 1, 1)
    (('test', 'all'), ('test',), ('all',))
    >>> localizer_sets("test", 1, 0)  # a nodule, and nobody says where
    ()
    """
    test = ("test",) if split == "test" and (n_points or is_negative(label, n_points)) else ()
    return (*test, "all") if n_points else test


def choosing_images(
    split: pa.Table, points: pa.Table, splits: Sequence[str], *, negative_images: int, seed: int
) -> set[str]:
    """Images that prompts and cutoffs are chosen on: those with points, and a sample of the negative ones.

    Args:
        split: Table `tables.SPLIT`.
        points: Table `tables.POINTS`.
        splits: Splits that choose, such as `nodules.select.splits`; the test split is none of them.
        negative_images: Size of the sample; all of them if there are fewer.
        seed: Of the sample.
    """
    marked_anywhere = points["image_id"].combine_chunks()
    known = split.filter(pc.is_in(split["split"], pa.array(splits, pa.string())))
    marked = pc.is_in(known["image_id"], marked_anywhere)
    negative = pc.and_not(pc.fill_null(pc.equal(known["label"], 0), False), marked)
    rows = known.filter(negative)
    names, patients = rows["image_id"].to_pylist(), rows["patient_id"].to_pylist()
    sample = of_many_patients(names, patients, negative_images, seed)
    return {*known["image_id"].filter(marked).to_pylist(), *sample}


def of_many_patients(images: Sequence[str], patients: Sequence[str], n: int, seed: int) -> list[str]:
    """A random sample of `n` images of as many patients as there are, as images of one patient resemble each other.

    One image of each patient is drawn, patients in random order; then a second one of each that has one, and so on.
    The sample does not depend on the order of the images.

    Args:
        images: Names.
        patients: Patient of each image.
        n: Size of the sample; all images if there are fewer.
        seed: Of the sample.

    >>> sorted(of_many_patients(["a1", "a2", "a3", "b1"], ["a", "a", "a", "b"], 3, seed=0))
    ['a1', 'a3', 'b1']
    """
    rng = np.random.default_rng(seed)
    of_each = defaultdict(list)
    for patient, image in sorted(zip(patients, images, strict=True)):
        of_each[patient].append(image)
    drawn = [
        (list(rng.permutation(of_each[patient])), place) for place, patient in enumerate(rng.permutation(list(of_each)))
    ]
    turns = sorted((turn, place, str(image)) for mine, place in drawn for turn, image in enumerate(mine))
    return [image for _, _, image in turns[:n]]


def untaught(splits: Sequence[T]) -> tuple[T, ...]:
    """Of some splits those that taught no adapter: a localizer with an adapter chooses on these.

    >>> untaught(("train", "val"))
    ('val',)
    """
    return tuple(split for split in splits if split != "train")


def localized_images(
    split: pa.Table,
    points: pa.Table,
    splits: Sequence[str],
    *,
    negative_images: int,
    seed: int,
    whole: Sequence[str] = ("test",),
) -> set[str]:
    """Images that a localizer is run on: those that choose, all others with points, and some splits as a whole.

    Those that choose for localizers with an adapter are among them for all localizers, as a combination of both chooses
    on images that all were run on.

    Args:
        split, points, splits, negative_images, seed: As of `choosing_images`.
        whole: Splits of which every image is taken: test; with validation if a classifier ranks images by the points,
            whose calibration and thresholds are chosen there.
    """
    inside = split.filter(pc.is_in(split["split"], pa.array(whole, pa.string())))["image_id"].to_pylist()
    choosing = {
        image
        for chosen in {tuple(splits), untaught(splits)}
        for image in choosing_images(split, points, chosen, negative_images=negative_images, seed=seed)
    }
    return choosing | set(points["image_id"].to_pylist()) | set(inside)

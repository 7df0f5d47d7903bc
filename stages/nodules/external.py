"""External test data: images of another place, which the study's model, calibration and thresholds never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.core import tables
from stages.lib.images import patients
from stages.lib.metrics.evaluation_sets import external_images

SHOWN = 5  # patients or images that a sentence names


@dataclass(frozen=True)
class External:
    """One external data set: its manifest, and the table of scores of each classifier."""

    manifest: pa.Table
    infer: Mapping[str, pa.Table]


def problems(
    external: Mapping[str, External],
    classifiers: Sequence[str],
    manifest: pa.Table,
    split: pa.Table,
    sources: Sequence[str],
) -> list[str]:
    """A sentence for everything that keeps external data from being measured.

    A patient or an image, by its pixels, that is in the study's training or validation images is one of them: these
    images made the model and its thresholds.

    Args:
        external: The data sets by name.
        classifiers: Names of the study's classifiers.
        manifest: Table of `tables.MANIFEST` of the study.
        split: Table of `tables.SPLIT` of the study.
        sources: Sources of the cohort.
    """
    found = []
    used = split.filter(pc.is_in(split["split"], pa.array(["train", "val"])))
    used = tables.lookup(used.select(["image_id", "patient_id"]), manifest, ["pixel_sha256", "patient_from"])
    told = {"patient_id": _with_patient(used), "pixel_sha256": used}
    for name, data in external.items():
        known = data.manifest.filter(pc.equal(data.manifest["status"], "ok"))
        for column, what in (("patient_id", "patients"), ("pixel_sha256", "images, by their pixels,")):
            theirs = _with_patient(known) if column == "patient_id" else known
            mine = told[column][column].combine_chunks().drop_null()
            shared = sorted(set(theirs.filter(pc.is_in(theirs[column], mine))[column].to_pylist()))
            if shared:
                some = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
                found.append(f"external/{name}: {len(shared)} {what} are in training or validation ({some})")
        missing = [classifier for classifier in classifiers if classifier not in data.infer]
        found += [f"external/{name}: there is no score of {classifier}" for classifier in missing]
        for classifier, infer in data.infer.items():
            asked = external_images(infer, data.manifest, sources)
            labelled = pc.and_(pc.is_valid(known["label"]), pc.is_in(known["source"], pa.array(sources)))
            wanted = pc.sum(labelled).as_py() or 0
            if not wanted:
                found.append(
                    f"external/{name}: none of {data.manifest.num_rows} images is labelled and of the sources "
                    f"{', '.join(sources)}"
                )
                break
            if len(asked) < wanted:
                found.append(f"external/{name}: {wanted - len(asked)} images have no score of {classifier}")
    return found


def warnings(external: Mapping[str, External], manifest: pa.Table) -> list[str]:
    """A sentence for each data set whose patients could not all be looked for among those of the study.

    Args:
        external: The data sets by name.
        manifest: Table of `tables.MANIFEST` of the study.
    """
    here = patients.unknown(manifest).num_rows
    sentences = []
    for name, data in external.items():
        there = patients.unknown(data.manifest).num_rows
        if here or there:
            sentences.append(
                f"external/{name}: the patient of {there:,} of its {data.manifest.num_rows:,} images, and of {here:,} "
                f"of the study's {manifest.num_rows:,}, is not known; whether they are in training or validation was "
                "told by the pixels alone."
            )
    return sentences


def _with_patient(images: pa.Table) -> pa.Table:
    """The images whose patient is known: the name of a file is no patient, and may be that of another one elsewhere."""
    known = pc.or_(pc.is_valid(images["patient_from"]), pc.not_equal(images["patient_id"], images["image_id"]))
    return images.filter(known)

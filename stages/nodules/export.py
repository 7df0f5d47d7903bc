"""Write what was said of each image as files of its own: JSON, and for DICOM images a structured report and the like.

in   manifest        tables.MANIFEST, of which the images that take part
     normalized      tables.NORMALIZED, for the preprocessing hash
     infer           tables.INFER
     localize        tables.LOCALIZE
     calibration     JSON, as lib.metrics.calibration.Calibration
     base            results/weights/fetch.json
     adapter-folder  the adapter behind scores or points (left out: neither has one)
     outputs         json, sr (structured report), gsps (presentation state); others are not written here
out  folder          json/<image_id>.json, as Prediction; sr/<image_id>.dcm; gsps/<image_id>.dcm

They say the same as the two CSV files. An image without an answer has none. A structured report and a presentation
state repeat the patient of their own image, read from its file; nothing else does.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from stages.lib.core import cli, documents, files, params, provenance, tables
from stages.lib.core.errors import DataError, ImageError
from stages.lib.core.log import LOG
from stages.lib.core.progress import track
from stages.lib.images import dicom_objects, names
from stages.lib.images.normalized import preprocessing_hash
from stages.lib.metrics.calibration import Calibration, Threshold
from stages.lib.models import adapters
from stages.lib.models.snapshot import Identity, Snapshot
from stages.nodules.answers import Answer, answers
from stages.nodules.submission import SubmitParams

NODULE = ("27925004", "SCT", "Nodule")
LUNG = ("39607008", "SCT", "Lung")
CHEST = ("399208008", "SCT", "Plain chest X-ray")
OBJECTS = {"sr": dicom_objects.structured_report, "gsps": dicom_objects.presentation_state}
LISTED = 20  # names that a line of the log spells out


@params.section
class PredictedPoint:
    """One point."""

    x: float  # column, pixels of the original, 0 at the centre of the first
    y: float  # row
    confidence: params.Fraction


@params.section
class Adapter:
    """Which adapter."""

    sha256: params.Text  # of its weights
    step: params.Count  # of the optimizer, after which it was kept


@params.section
class Model:
    """What has answered."""

    classifier: params.Text  # row of nodules.classifiers
    localizer: params.Text  # row of nodules.localizers, combined or cascade
    base: Identity
    adapter: Adapter | None  # null if neither has one
    preprocessing_hash: str  # empty if no image took part
    code: params.Text | None  # Git revision; null where there is none


@params.section
class Prediction:
    """What is said of one image."""

    written_by: ClassVar[str] = "predict_export"

    statement: params.Text
    image_id: params.Text
    width_px: params.Count
    height_px: params.Count
    decision: params.Text  # Nodule or No Finding, the label of the CSV file
    confidence: params.Fraction  # that of the CSV file: the calibrated score, or the score if nothing was fitted
    score: params.Fraction  # that the threshold is applied to
    threshold: float
    threshold_name: params.Text
    points: tuple[PredictedPoint, ...]
    model: Model


def prediction(answer: Answer, image: Mapping[str, Any], threshold: Threshold, model: Model) -> Prediction:
    """What is said of an image, as a document.

    Args:
        answer: What is said of it.
        image: Row of the manifest.
        threshold: Of its score.
        model: What has answered.
    """
    return Prediction(
        statement=dicom_objects.STATEMENT,
        image_id=answer.image_id,
        width_px=image["width_px"],
        height_px=image["height_px"],
        decision=answer.label,
        confidence=answer.confidence,
        score=answer.score,
        threshold=threshold.value,
        threshold_name=threshold.name,
        points=tuple(PredictedPoint(x=one.x, y=one.y, confidence=one.confidence) for one in answer.points),
        model=model,
    )


def statement(answer: Answer, model: Model, number: int) -> dicom_objects.Statement:
    """What is said of an image, as a DICOM object has it.

    Args:
        answer: What is said of it.
        model: What has answered.
        number: Of the object in its series.
    """
    return dicom_objects.Statement(
        positive=bool(answer.positive),
        confidence=answer.confidence,
        marks=[dicom_objects.Mark(one.x, one.y, one.confidence) for one in answer.points],
        finding=NODULE,
        site=LUNG,
        procedure=CHEST,
        body_part="CHEST",
        algorithm=f"{model.classifier}, {model.localizer}"[:64],
        version=(model.code or "unknown")[:16],
        serial=files.sha256_json(json.loads(json.dumps(documents.as_mapping(model))))[:16],
        number=number,
    )


def export(
    found: Sequence[Answer],
    images: Mapping[str, Mapping[str, Any]],
    threshold: Threshold,
    model: Model,
    outputs: Collection[str],
    folder: Path,
) -> None:
    """Write the files of all images.

    Args:
        found: What is said of each image.
        images: Rows of the manifest by image_id.
        threshold: Of the scores.
        model: What has answered.
        outputs: Kinds of files, of json, sr and gsps.
        folder: Where to; it is empty.

    Raises:
        DataError: With the images whose file is no longer the one that was ingested.
    """
    kinds = [kind for kind in OBJECTS if kind in outputs]
    changed, lacking, without = [], [], {}
    written = dict.fromkeys(outputs, 0)
    for number, answer in enumerate(track(found, total=len(found), what="export"), 1):
        image = images[answer.image_id]
        stem = names.png_name(answer.image_id).removesuffix(".png")
        if "json" in outputs:
            documents.write(folder / "json" / f"{stem}.json", prediction(answer, image, threshold, model))
            written["json"] += 1
        if not kinds:
            continue
        if files.sha256_file(image["path"]) != image["sha256"]:
            changed.append(f"{image['file_name']!r} has changed since it was read; run predict again")
            continue
        try:
            source = dicom_objects.source(image["path"])
            made = {} if source is None else {k: OBJECTS[k](source, statement(answer, model, number)) for k in kinds}
        except ImageError as error:
            without[image["file_name"]] = str(error)
            continue
        if source is None:
            without[image["file_name"]] = "no DICOM image"
        elif source.made_up:
            lacking.append(image["file_name"])
        for kind, one in made.items():
            files.write_bytes(folder / kind / f"{stem}.dcm", dicom_objects.content_of(one))
            written[kind] += 1
    if changed:
        raise DataError(f"{len(changed)} image(s) have changed:", changed)
    told = ", ".join(f"{count} {kind}" for kind, count in written.items())
    LOG.info("export: of %d images with an answer: %s", len(found), told)
    for reason in dict.fromkeys(without.values()):
        those = [name for name, why in without.items() if why == reason]
        LOG.warning("export: %d images have no %s (%s): %s", len(those), " and no ".join(kinds), reason, some(those))
    if lacking:
        sentence = "export: %d images do not name their study or series, and their objects are in one of their own: %s"
        LOG.warning(sentence, len(lacking), some(lacking))


def some(found: Sequence[str]) -> str:
    """First names, and how many more there are.

    >>> some(["a", "b"])
    'a, b'
    """
    more = len(found) - LISTED
    return ", ".join(found[:LISTED]) + (f" and {more} more" if more > 0 else "")


def main(argv: Sequence[str] | None = None) -> None:
    """Read, say, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.submit": SubmitParams},
        reads=("manifest", "normalized", "infer", "localize", "calibration", "base", "adapter_folder", "outputs"),
        writes=("folder",),
        optional=("adapter_folder",),
        many=("outputs",),
    )
    section: SubmitParams = args.params.submit
    manifest = tables.read(args.manifest, tables.MANIFEST)
    threshold, found = answers(
        manifest,
        None,
        tables.read(args.infer, tables.INFER),
        tables.read(args.localize, tables.LOCALIZE),
        documents.read(args.calibration, Calibration),
        section,
    )
    code = provenance.revision()
    model = Model(
        classifier=section.classifier,
        localizer=section.localizer,
        base=documents.read(args.base, Snapshot).identity,
        adapter=_adapter(Path(args.adapter_folder)) if args.adapter_folder else None,
        preprocessing_hash=preprocessing_hash(tables.read(args.normalized, tables.NORMALIZED)),
        code=f"{code['revision']}{'-dirty' if code['dirty'] else ''}" if code else None,
    )
    images = {row["image_id"]: row for row in manifest.to_pylist()}
    wanted = [kind for kind in args.outputs if kind in ("json", *OBJECTS)]
    with files.replacing_folder(Path(args.folder)) as beside:
        export(found, images, threshold, model, wanted, beside)


def _adapter(folder: Path) -> Adapter:
    card = documents.read(folder / adapters.CARD, adapters.Card)
    return Adapter(sha256=files.sha256_file(folder / adapters.WEIGHTS), step=card.step)


if __name__ == "__main__":
    cli.run(main)

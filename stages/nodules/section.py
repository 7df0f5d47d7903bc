"""Section: what the chapter shows in the report, as blocks.

in   measures     tables.MEASURES
     curves       tables.CURVES
     outcomes     tables.OUTCOMES
     notes        JSON of `measure`: warnings, counts, provenance
     manifest, points, normalized, split, files  tables of those names; results  folder of the images
     infer        tables.INFER of each classifier; the file's name is the classifier's
     calibration  <classifier>_calibration.json of each classifier
     localize     tables.LOCALIZE of each localizer; the file's name is the localizer's
     responses      <localizer>_responses.parquet of each localizer
     choice       <localizer>_choice.json of each localizer
     cutoff       <localizer>_cutoff.json of each localizer
     train        train.json
     curve        CSV of the training
     fetch        JSON of the base model
     over_seeds   tables.MEASURES of `join`, if there are several seeds
out  section      JSON, see `blocks.Section`
"""

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from stages.lib.core import cli, documents, params, tables
from stages.lib.core.errors import TableError
from stages.lib.detect.choice import Choice
from stages.lib.detect.cutoff import Cutoff
from stages.lib.learn.train_log import TrainLog
from stages.lib.metrics import curves, measures
from stages.lib.metrics.calibration import Calibration
from stages.lib.models.snapshot import Snapshot
from stages.lib.report import blocks
from stages.lib.report.systems import systems
from stages.nodules.notes import CHAPTER, Notes
from stages.nodules.page import (
    classification,
    data,
    finding,
    images,
    limitations,
    localization,
    origin,
    seeds,
    training,
)
from stages.nodules.page.study import Study, settings

TITLE = "Lung nodules on chest radiographs"


@params.section
class Params:
    """What the section shows beyond the numbers."""

    examples: params.NonNegativeInt  # images shown per group
    image_px: params.Count  # width and height of an image on the page, pixels
    operating_point: Literal["f1", "youden", "specificity_95"]  # threshold, chosen on validation, that calls an image
    report_mined_labels: tuple[Literal["nih", "lidc", "other"], ...]  # sources whose labels a program read from reports
    test_images_in_base: Literal["none", "some", "unknown"]  # that the base was trained on, as far as its makers say


def section(study: Study, pixels: Callable[[str], bytes]) -> blocks.Section:
    """What the chapter has to show.

    Args:
        study: The artifacts.
        pixels: Returns the PNG of a normalized image, given its path relative to the results folder.
    """
    return blocks.Section(
        chapter=CHAPTER,
        title=TITLE,
        finding=finding.sentence(study),
        warnings=finding.warnings(study.notes.warnings, study.settings),
        tiles=finding.tiles(study),
        parts=(
            classification.part(study),
            localization.part(study),
            *seeds.parts(study),
            images.part(study, pixels),
            training.part(study),
            data.part(study),
            limitations.part(study),
            origin.part(study),
        ),
    )


def _pixels(results: Path, png: str) -> bytes:
    try:
        return (results / png).read_bytes()
    except OSError as error:
        raise TableError(
            f"{results / png}: {error.strerror}; wanted a normalized image, run normalize again"
        ) from error


def _training_curve(path: str | None) -> list[dict[str, float | None]]:
    if path is None:
        return []
    with Path(path).open(newline="", encoding="utf-8") as handle:
        return [{key: float(text) if text else None for key, text in row.items()} for row in csv.DictReader(handle)]


def _stem(path: str, ending: str = "") -> str:
    return Path(path).stem.removesuffix(ending)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the study, make its section, write it."""
    many = ("infer", "calibration", "localize", "responses", "choice", "cutoff")
    single = ("measures", "curves", "outcomes", "notes", "manifest", "points", "normalized", "split")
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.section": Params},
        reads=(*single, *many, "train", "curve", "fetch", "over_seeds", "files", "results"),
        writes=("section",),
        optional=("train", "curve", "fetch", "over_seeds", "files", *many[1:]),
        many=many,
    )
    document = args.document
    infer = {_stem(path): tables.read(path, tables.INFER) for path in args.infer}
    localize = {_stem(path): tables.read(path, tables.LOCALIZE) for path in args.localize or ()}
    rows = {name: document.get("nodules", {}).get(name, {}) for name in ("classifiers", "localizers")}
    study = Study(
        measures=measures.from_table(tables.read(args.measures, tables.MEASURES)).get(CHAPTER, {}),
        of_seeds=measures.by_seed(tables.read(args.over_seeds, tables.MEASURES), CHAPTER) if args.over_seeds else {},
        curves=curves.from_table(tables.read(args.curves, tables.CURVES)),
        outcomes=tables.read(args.outcomes, tables.OUTCOMES),
        notes=documents.read(args.notes, Notes),
        manifest=tables.read(args.manifest, tables.MANIFEST),
        points=tables.read(args.points, tables.POINTS),
        files=tables.read(args.files, tables.FILES) if args.files else None,
        normalized=tables.read(args.normalized, tables.NORMALIZED),
        split=tables.read(args.split, tables.SPLIT),
        infer=infer,
        calibration={_stem(path, "_calibration"): documents.read(path, Calibration) for path in args.calibration or ()},
        localize=localize,
        responses={_stem(path, "_responses"): tables.read(path, tables.RESPONSES) for path in args.responses or ()},
        choice={_stem(path, "_choice"): documents.read(path, Choice) for path in args.choice or ()},
        cutoff={_stem(path, "_cutoff"): documents.read(path, Cutoff) for path in args.cutoff or ()},
        train=documents.read(args.train, TrainLog) if args.train else None,
        training_curve=_training_curve(args.curve),
        fetch=documents.read(args.fetch, Snapshot) if args.fetch else None,
        classifiers=systems(list(infer), rows["classifiers"], 0),
        localizers=systems(list(localize), rows["localizers"], len(infer)),
        settings=settings(document),
    )
    documents.write(args.section, section(study, partial(_pixels, Path(args.results))))


if __name__ == "__main__":
    cli.run(main)

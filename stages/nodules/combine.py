"""Bring several localizers together: what more of them point at is trusted more.

in   localize  tables.LOCALIZE and
     responses  tables.RESPONSES of each localizer; the file's name is the localizer's
     cutoffs   JSON of each localizer, written by merge: how often its points were right on the images that choose, and
               of which splits those are; the combination's cutoff is chosen on splits that chose for all
     manifest  tables.MANIFEST
     split, points  tables.SPLIT, tables.POINTS: images to choose the cutoff of the confidence by
     fitted    a cutoff chosen before, to apply instead
out  combined  tables.LOCALIZE
     all_responses  tables.RESPONSES: which localizers found something on an image
     cutoff    JSON: from which confidence on points are shown, and what that finds on the images that choose
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from stages.lib.core import cli, documents, tables
from stages.lib.core.errors import TableError
from stages.lib.core.log import LOG
from stages.lib.detect import choice, detection_rows
from stages.lib.detect.choice import SelectParams
from stages.lib.detect.cutoff import Cutoff
from stages.lib.detect.detection_rows import LinkParams
from stages.lib.detect.fusion import Candidate, consensus
from stages.lib.metrics.cohort import ToleranceParams


def combine(
    localize: Mapping[str, pa.Table],
    responses: Mapping[str, pa.Table],
    trust: Mapping[str, float],
    manifest: pa.Table,
    params: LinkParams,
) -> tuple[pa.Table, pa.Table]:
    """What the localizers agree on, see `consensus.consensus`, and a sentence about each image.

    A localizer without confidences speaks with that of its record, so that it does not drown one that knows its doubts.
    One localizer alone is left as it is.

    Args:
        localize: Findings of each localizer; those below its own cutoff are detections too, of little weight.
        responses: Images that each localizer was asked about; an image is combined if all of them were.
        trust: Confidence of a finding that has none, by localizer, see `Cutoff.precision`.
        manifest: Table of `tables.MANIFEST`.
        params: See `candidates.LinkParams`.

    Raises:
        TableError: If no image was put to all localizers.
    """
    diagonal = detection_rows.diagonals(manifest)
    found = {name: detection_rows.by_image(table.to_pylist(), ()) for name, table in localize.items()}
    asked = set.intersection(*(set(table["image_id"].to_pylist()) for table in responses.values()))
    if not asked and any(table.num_rows for table in responses.values()):
        raise TableError(f"no image was put to all of {', '.join(responses)}; run the localizers again")
    merged, all_responses = {}, []
    for image in sorted(asked):
        detectors = {name: here[image].get((), []) if image in here else [] for name, here in found.items()}
        if len(detectors) > 1:
            detectors = {
                name: [trusted(candidate, trust[name]) for candidate in detector]
                for name, detector in detectors.items()
            }
        merged[image] = consensus(list(detectors.values()), params.near(diagonal[image]))
        spoke = [f"{name} {len(candidates)}" for name, candidates in detectors.items() if candidates]
        all_responses.append(
            {"image_id": image, "prompt": "combine", "view": "whole", "response": ", ".join(spoke) or "nothing"}
            | {"parsed": "ok" if merged[image] else "empty"}
        )
    return detection_rows.table(merged, params.max_points), tables.from_rows(all_responses, tables.RESPONSES)


def trusted(candidate: Candidate, confidence: float) -> Candidate:
    """A finding with a confidence: its own, or else the one given."""
    return candidate if candidate.confidence is not None else replace(candidate, confidence=confidence)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the localizers' findings, combine, choose or read the cutoff, write."""
    args = cli.parse(
        __doc__,
        argv,
        params={"nodules.link": LinkParams, "nodules.select": SelectParams, "nodules.tolerance": ToleranceParams},
        reads=["localize", "responses", "cutoffs", "manifest", "split", "points", "fitted"],
        writes=["combined", "all_responses", "cutoff"],
        many=["localize", "responses", "cutoffs"],
        optional=["cutoffs", "split", "points", "fitted", "cutoff"],
    )
    manifest = tables.read(args.manifest, tables.MANIFEST)
    localize = {Path(path).stem: tables.read(path, tables.LOCALIZE) for path in args.localize}
    cutoffs = {Path(path).stem.removesuffix("_cutoff"): documents.read(path, Cutoff) for path in args.cutoffs or ()}
    trust = dict.fromkeys(localize, 1.0) | {name: found.precision for name, found in cutoffs.items()}
    merged, all_responses = combine(
        localize,
        {Path(path).stem.removesuffix("_responses"): tables.read(path, tables.RESPONSES) for path in args.responses},
        trust,
        manifest,
        args.params.link,
    )
    asked = all_responses["image_id"].to_pylist()
    chooser = detection_rows.Chooser.read(
        choice.shared(args.params.select, cutoffs),
        args.params.tolerance.tolerant_fraction,
        points=args.points,
        split=args.split,
        fitted=args.fitted,
    )
    table, cutoff = chooser.settle(merged, asked, manifest)
    LOG.info("combine: %d findings on %d images, cutoff %s", table.num_rows, len(asked), cutoff.cutoff)
    tables.write(args.combined, table, tables.LOCALIZE)
    tables.write(args.all_responses, all_responses, tables.RESPONSES)
    if args.cutoff:
        documents.write(args.cutoff, cutoff)


if __name__ == "__main__":
    cli.run(main)

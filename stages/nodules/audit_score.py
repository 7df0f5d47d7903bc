"""Ask a classifier about changed images, and about the same images in other words.

Each image of the sample is asked about as it is, with its surroundings or its lungs taken away, with its markers
removed, flat, corrupted, and with other prompts; each test image with marked nodules, of whatever source, with these
filled and with as large a place elsewhere in the lungs filled.

in   manifest    tables.MANIFEST
     normalized  tables.NORMALIZED
     split       tables.SPLIT
     points      tables.POINTS
     base        results/weights/fetch.json
     classifier  its name, a row of nodules.classifiers
     shard       shard of the images, k-of-n
     results     folder that the images' paths are relative to
out  scores      tables.AUDIT
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, kinds, params, progress, shards, tables
from stages.lib.core.errors import MismatchError, ModelError, ParamsError
from stages.lib.images import normalized, variants
from stages.lib.images.geometry import Geometry
from stages.lib.images.lung_field import lung_field
from stages.lib.images.perturb import Disc
from stages.lib.images.shifts import UNMOVED, Shift, shifted
from stages.lib.images.variants import ORIGINAL, PROMPT, AuditParams, Variant
from stages.lib.metrics import evaluation_sets
from stages.lib.metrics.cohort import CohortParams
from stages.lib.models import classify, gemma3, prompts
from stages.lib.models.prompts import PromptParams

Ask = Callable[[list[np.ndarray]], np.ndarray]  # as `classify.Classifier.logits`
NO_PROMPT = "the classifier takes no prompt"


@dataclass(frozen=True)
class Shown:
    """One image of an audit: its file, the regions of its nodules, and whether it is of the sample."""

    image_id: str
    png: str
    nodules: tuple[Disc, ...]
    whole: bool


def chosen(
    manifest: pa.Table,
    prepared: pa.Table,
    split: pa.Table,
    points: pa.Table,
    sources: Sequence[str],
    given: AuditParams,
) -> list[Shown]:
    """Images of the audits in the order of their ids: the sample, and all other test images with marked nodules.

    Args:
        manifest: Table `tables.MANIFEST`.
        prepared: Table `tables.NORMALIZED`.
        split: Table `tables.SPLIT`.
        points: Table `tables.POINTS`.
        sources: Sources of the cohort.
        given: See `AuditParams`.
    """
    test = evaluation_sets.classifier_images(split, manifest, sources, "test")
    sample = set(evaluation_sets.audited_images(test, given.images, given.seed)["image_id"].to_pylist())
    marked: dict[str, list[dict[str, Any]]] = {}
    for row in points.to_pylist():
        marked.setdefault(row["image_id"], []).append(row)
    known = tables.lookup(prepared.select(["image_id", "png", "side_px"]), split, ["split"])
    known = tables.lookup(known, manifest, ["width_px", "height_px", "spacing_mm"])
    found = []
    for row in known.to_pylist():
        image_id = row["image_id"]
        if image_id in sample or (row["split"] == "test" and image_id in marked):
            geometry = Geometry(width_px=row["width_px"], height_px=row["height_px"], side_px=row["side_px"])
            nodules = variants.regions(marked.get(image_id, []), geometry, row["spacing_mm"], given)
            found.append(Shown(image_id, row["png"], nodules, image_id in sample))
    return found


def asker(classifier: classify.Classifier, logits: Ask, shifts: int) -> Ask:
    """Logits of images in memory, moved and averaged as the study's own are.

    Args:
        classifier: The classifier.
        logits: Its own, or those of another prompt.
        shifts: As `infer.shifts`.

    Raises:
        ModelError: If the shifts do not divide a token.
    """

    def moved(pixels: Any, shift: Shift = UNMOVED, /) -> np.ndarray:
        return shifted(pixels, shift)

    read, averaged = classify.averaged(replace(classifier, logits=logits, load=moved), shifts)
    return lambda images: averaged([read(pixels) for pixels in images])  # type: ignore[arg-type]


def score(
    images: Sequence[Shown],
    load: Callable[[str], np.ndarray],
    ask: Ask,
    asks: Mapping[str, Ask | None],
    given: AuditParams,
    batch_size: int,
) -> pa.Table:
    """What the model says of each variant of each image.

    Args:
        images: What is asked about.
        load: Reads an image: uint8 array of shape (side, side).
        ask: The model with its own prompt.
        asks: The model with each other prompt, by the name of the variant; None if it takes none.
        given: See `AuditParams`.
        batch_size: Images in one forward pass.

    Returns:
        Table of `tables.AUDIT`.

    Raises:
        ModelError: If an answer is not a finite number.
        ImageError: If an image cannot be read.
    """
    rows: list[dict[str, Any]] = []
    queues: dict[str, list[tuple[dict[str, Any], np.ndarray]]] = {name: [] for name in (ORIGINAL, *asks)}

    def flush(name: str) -> None:
        waiting, model = queues[name], ask if name == ORIGINAL else asks[name]
        if waiting and model is not None:
            for (row, _), logits in zip(waiting, model([pixels for _, pixels in waiting]).tolist(), strict=True):
                row.update(logit_negative=logits[0], logit_positive=logits[1], answer_mass=min(logits[2], 1.0))
        waiting.clear()

    for image in progress.track(images, total=len(images), what="audit", size=1):
        pixels = load(image.png)
        for one in _variants(image, pixels, given, asks):
            row = {"image_id": image.image_id, "audit": one.audit, "variant": one.variant, "severity": one.severity}
            rows.append({**row, "problem": one.problem})
            if one.pixels is not None:
                name = one.variant if one.audit == PROMPT else ORIGINAL
                queues[name].append((rows[-1], one.pixels))
                if len(queues[name]) == batch_size:
                    flush(name)
    for name in queues:
        flush(name)
    odd = [row for row in rows if row["problem"] is None and not _finite(row)]
    if odd:
        raise ModelError(
            f"the model's answer is not a finite number for {len(odd)} changed images, the first of them "
            f"{odd[0]['image_id']} ({odd[0]['audit']}, {odd[0]['variant']})"
        )
    return tables.from_rows(rows, tables.AUDIT)


def _variants(
    image: Shown, pixels: np.ndarray, given: AuditParams, asks: Mapping[str, Ask | None]
) -> Iterator[Variant]:
    yield from variants.of_image(image.image_id, pixels, lung_field(pixels), image.nodules, given, whole=image.whole)
    for name, model in asks.items() if image.whole else ():
        yield Variant(PROMPT, name, None, *((None, NO_PROMPT) if model is None else (pixels, None)))


def _finite(row: Mapping[str, Any]) -> bool:
    return bool(np.isfinite([row["logit_negative"], row["logit_positive"], row["answer_mass"]]).all())


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one shard, load the model, write its answers."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.audit": AuditParams,
            "nodules.cohort": CohortParams,
            "nodules.infer": classify.InferParams,
            "nodules.model": gemma3.ModelParams,
            "nodules.prompt": PromptParams,
            "nodules.classifiers": kinds.rows(kinds.CLASSIFIERS),
        },
        reads=["manifest", "normalized", "split", "points", "base", "classifier", "shard", "results"],
        writes=["scores"],
    )
    given, rows = args.params.audit, args.params.classifiers
    if args.classifier not in rows:
        raise ParamsError("--classifier:", [params.unknown(args.classifier, rows)])
    prepared = tables.read(args.normalized, tables.NORMALIZED)
    hashes = sorted(set(prepared["preprocessing_hash"].to_pylist()))
    if len(hashes) > 1:
        raise MismatchError(f"{args.normalized}: found the preprocessing hashes {hashes}, wanted one; normalize again")
    images = chosen(
        tables.read(args.manifest, tables.MANIFEST),
        prepared,
        tables.read(args.split, tables.SPLIT),
        tables.read(args.points, tables.POINTS),
        args.params.cohort.sources,
        given,
    )
    numbers = shards.take(pa.table({"number": pa.array(range(len(images)), pa.int64())}), args.shard)
    mine, results, row = (
        [images[number] for number in numbers["number"].to_pylist()],
        Path(args.results),
        rows[args.classifier],
    )
    setting = classify.Setting(
        base=Path(args.base),
        model=args.params.model,
        prompt=args.params.prompt,
        preprocessing_hash="".join(hashes),
        merged=args.params.infer.weights == "merged",
        features=None,  # of an image that is seen once
        images=[],
        shifts=given.shifts,
    )
    classifier = kinds.module(kinds.CLASSIFIERS, row.kind).classifier(row.params, setting)

    reworded = classifier.reworded

    def asked(prompt: PromptParams) -> Ask | None:
        return None if reworded is None else asker(classifier, lambda images: reworded(images, prompt), shifts)

    shifts, batch_size = given.shifts, args.params.infer.batch_size
    asks = {
        name: asked(prompt)
        for name, prompt in prompts.others(args.params.prompt, given.questions, given.answers).items()
    }
    ask = asker(classifier, classifier.logits, shifts)
    table = score(mine, lambda png: normalized.load(results / png), ask, asks, given, batch_size)
    tables.write(args.scores, table, tables.AUDIT)


if __name__ == "__main__":
    cli.run(main)

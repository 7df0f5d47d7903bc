"""Ask a model whether each image shows a nodule: the base as it is, or with an adapter on it.

Each image may be moved by parts of an image token and asked about at each place; the logits are averaged then.

in   normalized  tables.NORMALIZED
     split       tables.SPLIT; left out for images without labels
     base        results/fetch.json
     classifier  its name, a row of nodules.classifiers
     part        shard of the images, k-of-n
     results     folder that the images' paths are relative to
out  infer       tables.INFER, score_calibrated not fitted yet
     features    folder that vision features are kept in, if model.cache_features is on
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.lib.core import cli, kinds, params, shards, tables
from stages.lib.core.errors import ModelError, ParamsError
from stages.lib.images.normalized import load, preprocessing_hash
from stages.lib.metrics import calibration
from stages.lib.models import classify, gemma3, prompts
from stages.lib.models.classify import Setting

Ask = Callable[[list[Any]], np.ndarray]

Params = classify.InferParams


def infer(
    normalized: pa.Table,
    split: pa.Table | None,
    results: Path,
    ask: Ask,
    params: Params,
    load: Callable[[Path], Any] = load,
) -> pa.Table:
    """What the model answers about each image, in batches in the order of their ids.

    Args:
        normalized: Table of `tables.NORMALIZED`.
        split: Table of `tables.SPLIT`, or None for images without labels. With it, only images of `params.splits` are
            asked.
        results: Folder that the images' paths are relative to.
        ask: Takes n images, or what `load` made of them; returns float array of shape (n, 3), as
            `models.answer_logits`.
        params: See `Params`.
        load: Reads an image: uint8 array of shape (side, side), or its vision features.

    Returns:
        Table of `tables.INFER`.

    Raises:
        ModelError: If an answer is not a finite number; all such images are named.
        ImageError: If an image cannot be read.
    """
    rows = chosen(normalized, split, params)
    found = classify.in_batches(
        [results / row.pop("png") for row in rows], ask, load, params.batch_size, params.readers
    )  # (n, 3)
    for row, (negative, positive, mass) in zip(rows, found.tolist(), strict=True):
        row.update(logit_negative=negative, logit_positive=positive, answer_mass=min(mass, 1.0))
        row["score"] = score(negative, positive)
    odd = [row["image_id"] for row in rows if not np.isfinite([row["score"], row["answer_mass"]]).all()]
    if odd:
        raise ModelError(f"the model's answer is not a finite number for {len(odd)} images: {', '.join(odd[:10])}")
    return tables.from_rows(rows, tables.INFER)


def chosen(normalized: pa.Table, split: pa.Table | None, params: Params) -> list[dict[str, Any]]:
    """Image_id, png, split and label of the images that are to be asked, in the order of their ids."""
    known = {row["image_id"]: row for row in split.to_pylist()} if split is not None else {}
    rows = []
    for image_id, png in zip(normalized["image_id"].to_pylist(), normalized["png"].to_pylist(), strict=True):
        image = known.get(image_id, {})
        if split is None or image.get("split") in params.splits:
            rows.append({"image_id": image_id, "png": png, "split": image.get("split"), "label": image.get("label")})
    return rows


def score(logit_negative: float, logit_positive: float) -> float:
    """Probability of the positive answer, of the two.

    >>> score(1.0, 1.0)
    0.5
    """
    return float(calibration.sigmoid(np.array([logit_positive - logit_negative]))[0])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the images of one part, load the model, write its answers."""
    args = cli.parse(
        __doc__,
        argv,
        params={
            "nodules.infer": Params,
            "nodules.model": gemma3.ModelParams,
            "nodules.prompt": prompts.PromptParams,
            "nodules.classifiers": kinds.rows(kinds.CLASSIFIERS),
        },
        reads=["normalized", "split", "base", "classifier", "shard", "results"],
        writes=["infer", "features"],
        optional=["split", "features"],
    )
    normalized = tables.read(args.normalized, tables.NORMALIZED)
    split = tables.read(args.split, tables.SPLIT) if args.split else None
    rows = args.params.classifiers
    if args.classifier not in rows:
        raise ParamsError("--classifier:", [params.unknown(args.classifier, rows)])
    row, asked, results = rows[args.classifier], shards.take(normalized, args.shard), Path(args.results)
    setting = Setting(
        base=Path(args.base),
        model=args.params.model,
        prompt=args.params.prompt,
        preprocessing_hash=preprocessing_hash(normalized),
        merged=args.params.infer.weights == "merged",
        features=Path(args.features) if args.features else None,
        images=[results / image["png"] for image in chosen(asked, split, args.params.infer)],
        shifts=args.params.infer.shifts,
    )
    classifier = kinds.module(kinds.CLASSIFIERS, row.kind).classifier(row.params, setting)
    read, logits = classify.averaged(classifier, args.params.infer.shifts)
    table = infer(asked, split, results, logits, args.params.infer, read)
    tables.write(args.infer, table, tables.INFER)


if __name__ == "__main__":
    cli.run(main)

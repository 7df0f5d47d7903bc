"""Speed of the tiny model: batches of one forward pass against one generated answer per image."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.lib.core import params
from stages.lib.images import normalized
from stages.lib.models import features, gemma3, prompts, snapshot
from stages.nodules import infer
from workflow.bench.images import Study
from workflow.bench.interleave import Interleaved, Ratios
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=speed"
ROUNDS = 8
NEW_TOKENS = 2  # the answer and the end of the turn


def bench(study: Study) -> dict[str, Result]:
    """How many times faster `infer.infer` is, as the demo runs it and without kept vision features.

    Both ways read the images from their files.
    """
    wanted: dict[str, params.Section] = {
        "nodules.model": gemma3.ModelParams,
        "nodules.prompt": prompts.PromptParams,
        "nodules.infer": infer.Params,
    }
    given = params.parse(study.params, wanted)
    loaded = gemma3.load(snapshot.read(study.folder / "fetch.json").folder, given.model)
    images = study.normalized
    size = images.num_rows // ROUNDS
    pieces = [images.slice(i * size, size) for i in range(ROUNDS)]

    def batches(load: Callable[[Path], Any], piece: pa.Table) -> None:
        ask = partial(gemma3.answer_logits, loaded, prompt=given.prompt)
        table = infer.infer(piece, None, study.folder, ask, given.infer, load)
        if table.num_rows != piece.num_rows:
            raise ValueError(f"asked about {piece.num_rows} images, answered {table.num_rows}")

    def one_by_one(piece: pa.Table) -> None:
        for png in piece["png"].to_pylist():
            image = normalized.load(study.folder / png)
            gemma3.generate(loaded, [image], given.prompt.question, NEW_TOKENS, image_first=given.prompt.image_first)

    kept = features.store(study.folder / "features", loaded, images["preprocessing_hash"][0].as_py())
    if kept is None:
        raise ValueError("the demo's base has no vision features to keep")
    kept.fill(loaded, [study.folder / png for png in images["png"].to_pylist()])
    found: dict[str, Result] = {}
    for name, load, words in (
        ("infer", kept.load, "vision features kept"),
        ("infer_pixels", normalized.load, "from pixels"),
    ):
        ratios = Interleaved(partial(batches, load), one_by_one).run(pieces, what="speed")
        first, second = (size / seconds for seconds in ratios.seconds)
        note = (
            f"{words}: {first:.0f} against {second:.0f} images per processor second, {images.num_rows} images in turns"
        )
        found |= _results(f"speed.{name}", ratios, note, 8.0 if name == "infer" else None)
    return found


def _results(name: str, ratios: Ratios, note: str, at_least: float | None) -> dict[str, Result]:
    both = {
        f"{name}_against_generate": (ratios.ratios, note, at_least),
        f"{name}_control": (ratios.control, "the same against itself: how far from 1 this machine is off", None),
    }
    return {
        key: Result(
            value=statistics.median(runs),
            unit="times as fast",
            label=MEASURED,
            command=COMMAND,
            low=min(runs),
            high=max(runs),
            runs=runs,
            at_least=bound,
            note=words,
        )
        for key, (runs, words, bound) in both.items()
    }

"""Answers of the tiny model: the project's batches of one forward pass against one generated answer per film."""

import statistics
from functools import partial

import pyarrow as pa

from stages import infer
from stages.lib import models, normalized, params, prompts
from workflow.bench.films import Study
from workflow.bench.interleave import Interleaved
from workflow.bench.result import MEASURED, Result

COMMAND = "make bench ONLY=speed"
ROUNDS = 8
NEW_TOKENS = 2  # the answer and the end of the turn


def bench(study: Study) -> dict[str, Result]:
    """Return how many times faster `stages.infer.infer` is; both ways read the films from their files."""
    wanted: dict[str, type] = {"model": models.ModelParams, "prompt": prompts.PromptParams, "infer": infer.Params}
    given = params.parse(study.params, wanted)
    loaded = models.load(models.read_base(study.folder / "fetch.json").folder, given.model)
    films = study.normalized
    size = films.num_rows // ROUNDS

    def batches(piece: pa.Table) -> None:
        ask = partial(models.answer_logits, loaded, prompt=given.prompt)
        table = infer.infer(piece, None, study.folder, ask, given.infer)
        if table.num_rows != piece.num_rows:
            raise ValueError(f"asked about {piece.num_rows} films, answered {table.num_rows}")

    def one_by_one(piece: pa.Table) -> None:
        for png in piece["png"].to_pylist():
            film = normalized.load(study.folder / png)
            models.generate(loaded, [film], given.prompt.question, NEW_TOKENS, image_first=given.prompt.image_first)

    found = Interleaved(batches, one_by_one).run([films.slice(i * size, size) for i in range(ROUNDS)], what="speed")
    each = f"{ROUNDS} rounds of {size} films, in turns; batches of {given.infer.batch_size}"
    first, second = (size / seconds for seconds in found.seconds)
    return {
        "speed.infer_against_generate": Result(
            value=found.value,
            unit="times as fast",
            label=MEASURED,
            command=COMMAND,
            low=min(found.ratios),
            high=max(found.ratios),
            runs=found.ratios,
            at_least=8.0,
            note=f"{first:.0f} against {second:.0f} films per processor second; {each}",
        ),
        "speed.control": Result(
            value=statistics.median(found.control),
            unit="times as fast",
            label=MEASURED,
            command=COMMAND,
            low=min(found.control),
            high=max(found.control),
            runs=found.control,
            note="infer against itself: how far from 1 this machine is off",
        ),
    }

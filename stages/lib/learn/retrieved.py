"""Validation of LoFi: recall among the validation reports, and each loss, by which checkpoints are told apart.

Neither a sample's text nor the sentence with boxes is drawn anew: sample i is always report i.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.lib.core.errors import UndefinedMetricError
from stages.lib.learn import loader
from stages.lib.learn.reports import FRACTIONS, Drawing, Report, Sample
from stages.lib.metrics import retrieval
from stages.lib.models.lofi.wording import Task

if TYPE_CHECKING:
    from stages.lib.learn.lofi import LofiLearner

K = 10


def evaluate(learner: "LofiLearner", batch_size: int) -> dict[str, float | None]:
    """Each metric of `lofi.METRICS` on the validation reports, None where undefined; empty without reports.

    Recall is the mean of both directions, an image's parts for its report. The sigmoid loss is that of batches of
    `batch_size`, whose last one may be smaller.
    """
    import torch

    val, network = learner.task.val, learner.loaded.network
    if not val:
        return {}
    written = learner.task.params.written
    with torch.no_grad():
        return {
            "recall_at_10": recall(*embedded(learner, batch_size)),
            **losses(learner, batch_size),
            **{f"{task}_loss": None for task in FRACTIONS if task not in written},
            "scale": float(network.scale),
            "bias": float(network.bias),
        }


def recall(images: np.ndarray, texts: np.ndarray, owner: np.ndarray) -> float | None:
    """R@10, the mean of image to text and text to image.

    Args:
        images: Embeddings of images, float array of shape (n, d).
        texts: Embeddings of parts of their reports, of shape (t, d).
        owner: Number of the image of each text, of shape (t,).
    """
    belonging = retrieval.Belonging(owner, len(images))
    try:
        both = [way(images, texts, belonging).rank for way in (retrieval.image_to_text, retrieval.text_to_image)]
        return float(np.mean([retrieval.recall_at_k(rank, K) for rank in both]))
    except UndefinedMetricError:
        return None


def embedded(learner: "LofiLearner", batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of the validation images and of the parts of their reports, and whose each part is."""
    from accelerate.utils import gather_object

    from stages.lib.learn.lofi import read

    val, loaded = learner.task.val, learner.loaded
    parts = [(number, loaded.tower.fit(part).text) for number, report in enumerate(val) for part in report.parts]
    images = [
        (batch[0], loaded.embed_images([read(val[number]) for number in batch]))
        for batch in _dealt(len(val), batch_size)
    ]
    texts = [
        (batch[0], loaded.embed_texts([parts[number][1] for number in batch]))
        for batch in _dealt(len(parts), batch_size)
    ]
    found = [np.concatenate([rows for _, rows in sorted(gather_object(made), key=_first)]) for made in (images, texts)]
    return found[0], found[1], np.array([number for number, _ in parts])


def losses(learner: "LofiLearner", batch_size: int) -> dict[str, float | None]:
    """Each loss on the validation reports."""
    from accelerate.utils import gather_object, send_to_device

    from stages.lib.learn import joint

    val, drawing = learner.task.val, learner.drawing
    sums: list[tuple[str, float, int]] = []
    for numbers in _dealt(len(val), batch_size):
        samples, tasks = zip(*(_sample(val[number], number, drawing) for number in numbers), strict=True)
        batch = send_to_device(joint.batch(samples), learner.loaded.network.device)
        passed = learner.joint(batch)
        alone = learner.sigmoid(passed.images, passed.texts, batch.ids, 0, len(samples))
        sums.append(("sigmoid", float(alone), len(samples)))
        names = [task for said in tasks for task in said]
        sums += [(name, float(loss), 1) for name, loss in zip(names, passed.words, strict=True)]
    every = gather_object(sums)
    return {
        f"{name}_loss": _mean([(loss, n) for found, loss, n in every if found == name])
        for name in ("sigmoid", *learner.task.params.written)
    }


def _sample(report: Report, number: int, drawing: Drawing) -> tuple[Sample, list[Task]]:
    """A report as a sample with all tasks, and their names."""
    from stages.lib.learn.lofi import read

    rng = drawing.rng(number)
    text = drawing.text(report, rng)
    said = drawing.every_task(report, text.text, rng)
    words = drawing.decoder
    asked = tuple((words.asked(one.prompt), words.answer(one.answer), 1.0) for one in said) if words else ()
    sample = Sample(image=read(report), ids=drawing.tower.encode([text.text])[0], asked=asked)
    return sample, [one.task for one in said]


def _dealt(n: int, size: int) -> list[list[int]]:
    """Numbers below n in batches, every process's own."""
    from accelerate import PartialState

    state = PartialState()
    return loader.deal(np.arange(n), size, state.process_index, state.num_processes)


def _mean(found: Sequence[tuple[float, int]]) -> float | None:
    number = sum(n for _, n in found)
    return sum(loss * n for loss, n in found) / number if number else None


def _first(batch: tuple[int, np.ndarray]) -> int:
    return batch[0]

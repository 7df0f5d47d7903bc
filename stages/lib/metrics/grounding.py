"""What a grounder's boxes are worth for the sentences that they were drawn for: one image and one sentence at a time.

An answer that cannot be read is a sentence without a box: a miss, never left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.errors import MetricInputError
from stages.lib.metrics import boxes, rodeo
from stages.lib.metrics.boxes import Floats
from stages.lib.metrics.matching import match
from stages.lib.metrics.measures import Key
from stages.lib.metrics.parts import Part, fraction, mean
from stages.lib.metrics.ratios import f1_score

STATUSES = ("ok", "empty", "malformed")


@dataclass(frozen=True)
class Sentence:
    """A sentence about an image, and where it is true.

    Attributes:
        image_id: The image.
        number: Of the sentence in its report.
        patient_id: The patient.
        truths: True boxes, shape (m, 4), m from 1 on, pixels of the original.
        width_px: Width of the original.
        height_px: Height of the original.
        labels: Groups of findings that it is about.
    """

    image_id: str
    number: int
    patient_id: str
    truths: Floats
    width_px: float
    height_px: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What was drawn for a sentence.

    Attributes:
        status: "ok", "empty" or "malformed".
        predictions: Predicted boxes, shape (n, 4), pixels of the original.
        confidences: Of each, shape (n,); of shape (0,) where the grounder gives none.
    """

    status: str
    predictions: Floats
    confidences: Floats


@dataclass(frozen=True)
class Scored:
    """What each sentence adds to the measures, arrays of shape (sentences,).

    Attributes:
        found: Pairs of a true and a predicted box, as many as can be, of IoU at least `least_iou`.
        greedy: The same if each true box in turn takes the predicted one that it overlaps most of those left.
        truths: True boxes.
        predictions: Predicted boxes; none of a malformed answer.
        best_iou: Greatest IoU of a true and a predicted box, 0 without one.
        pointing: Fraction of the most confident predicted boxes whose centre lies in a true box, 0 without one; without
            confidences all are the most confident.
        chance: Fraction of the image that the true boxes cover: the pointing of a random point.
        localization: RoDeO's sum of localization.
        shape: RoDeO's sum of shape.
        rodeo_boxes: Number of boxes that it is over.
        malformed: Whether the answer could not be read.
        empty: Whether it says that there is nothing.
    """

    found: NDArray[np.int64]
    greedy: NDArray[np.int64]
    truths: NDArray[np.int64]
    predictions: NDArray[np.int64]
    best_iou: Floats
    pointing: Floats
    chance: Floats
    localization: Floats
    shape: Floats
    rodeo_boxes: NDArray[np.int64]
    malformed: NDArray[np.bool_]
    empty: NDArray[np.bool_]


def found(overlaps: Floats, least_iou: float) -> int:
    """Number of pairs of IoU at least `least_iou`, as many as can be, each box in one at most.

    Args:
        overlaps: IoU of each true box with each predicted one, shape (m, n).
        least_iou: Such as 0.5.

    >>> found(np.array([[0.75, 0.54], [0.72, 0.25]]), 0.5)
    2
    """
    return len(match(1 - overlaps, 1 - least_iou)[0])


def found_greedily(overlaps: Floats, least_iou: float) -> int:
    """The same if each true box in turn takes the predicted one that it overlaps most of those left.

    It depends on the order of the true boxes and can find fewer. It is here for numbers of others that count so.

    >>> found_greedily(np.array([[0.75, 0.54], [0.72, 0.25]]), 0.5)
    1
    """
    left = overlaps.copy()
    pairs = 0
    for row in range(len(left)):
        best = int(left[row].argmax()) if left.shape[1] else 0
        if left.shape[1] and left[row, best] >= least_iou:
            left[:, best] = -1.0
            pairs += 1
    return pairs


def pointing(truths: Floats, predictions: Floats, confidences: Floats) -> float:
    """Fraction of the most confident predicted boxes whose centre lies in a true box; 0 without a predicted box.

    Args:
        truths: Shape (m, 4).
        predictions: Shape (n, 4).
        confidences: Shape (n,), or (0,) where there are none: then all boxes are the most confident.

    Source: Zhang et al., Top-down neural attention by excitation backprop, 2016 (the pointing game), for boxes instead
    of maps: of several that are equally sure one is taken at random, and this is the expected value.

    >>> pointing(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[0.0, 0, 2, 2], [7, 7, 9, 9]]), np.zeros(0))
    0.5
    """
    if not len(predictions):
        return 0.0
    first = confidences == confidences.max() if len(confidences) else np.ones(len(predictions), bool)
    return float(boxes.within(boxes.centres(predictions[first]), truths).mean())


def score(sentences: Sequence[Sentence], answers: Sequence[Answer], least_iou: float) -> Scored:
    """What each sentence adds to the measures.

    Args:
        sentences: The sentences, n.
        answers: What was drawn for each, n.
        least_iou: IoU from which a predicted box is right, (0, 1].

    Raises:
        MetricInputError: If their numbers differ, a sentence has no true box, a status is unknown, the numbers of boxes
            and confidences differ, or a box is not one, see `boxes.checked`; all problems are named.
    """
    if not 0 < least_iou <= 1:
        raise MetricInputError(f"found the IoU {least_iou!r}, wanted a number in (0, 1]")
    if len(sentences) != len(answers):
        raise MetricInputError(f"found {len(sentences)} sentences and {len(answers)} answers, wanted as many")
    if problems := [problem for pair in zip(sentences, answers, strict=True) for problem in _problems(*pair)]:
        raise MetricInputError("; ".join(problems))
    rows = [_score(sentence, answer, least_iou) for sentence, answer in zip(sentences, answers, strict=True)]
    table = np.array(rows, np.float64).reshape(len(rows), 10)
    whole = table[:, :5].astype(np.int64)
    status = np.array([answer.status for answer in answers], str)
    return Scored(
        found=whole[:, 0],
        greedy=whole[:, 1],
        truths=whole[:, 2],
        predictions=whole[:, 3],
        rodeo_boxes=whole[:, 4],
        best_iou=table[:, 5],
        pointing=table[:, 6],
        chance=table[:, 7],
        localization=table[:, 8],
        shape=table[:, 9],
        malformed=status == "malformed",
        empty=status == "empty",
    )


def _score(sentence: Sentence, answer: Answer, least_iou: float) -> tuple[float, ...]:
    truths = sentence.truths
    readable = answer.status == "ok"
    predictions = answer.predictions if readable else np.zeros((0, 4))
    overlaps = boxes.iou(truths, predictions)
    near = rodeo.sums(truths, predictions)
    return (
        found(overlaps, least_iou),
        found_greedily(overlaps, least_iou),
        len(truths),
        len(predictions),
        near.boxes,
        float(overlaps.max(initial=0.0)),
        pointing(truths, predictions, answer.confidences if readable else np.zeros(0)),
        boxes.covered_area(truths) / (sentence.width_px * sentence.height_px),
        near.localization,
        near.shape,
    )


def _problems(sentence: Sentence, answer: Answer) -> list[str]:
    name = f"{sentence.image_id}, sentence {sentence.number}"
    told = []
    if not len(sentence.truths):
        told.append(f"{name}: found no true box, wanted at least one")
    if answer.status not in STATUSES:
        told.append(f"{name}: found the status {answer.status!r}, wanted one of {STATUSES}")
    if len(answer.confidences) not in (0, len(answer.predictions)):
        told.append(f"{name}: found {len(answer.predictions)} boxes and {len(answer.confidences)} confidences")
    for given, what in ((sentence.truths, "true boxes"), (answer.predictions, "predicted boxes")):
        try:
            boxes.checked(given, f"{name}, {what}")
        except MetricInputError as error:
            told.append(str(error))
    return told


def at(least_iou: float) -> str:
    """Name of an IoU from which a box is right, as `Key.at` has it.

    >>> at(0.5)
    'iou_50'
    """
    return f"iou_{100 * least_iou:.0f}"


def parts(scored: Scored, least_iou: float) -> Mapping[Key, Part]:
    """Measures as ratios of sums over sentences: pooled (micro), their means over sentences, RoDeO, pointing.

    Args:
        scored: As `score` gives it.
        least_iou: That it was made with.
    """
    right, predicted, actual = (each.astype(np.float64) for each in (scored.found, scored.predictions, scored.truths))
    here = at(least_iou)
    none, empty = "no box was predicted", "there is no sentence"
    counted = scored.rodeo_boxes.astype(np.float64)
    return {
        Key("precision", here): Part(right, predicted, none, proportion=True),
        Key("recall", here): Part(right, actual, empty, proportion=True),
        Key("f1", here): Part(2 * right, predicted + actual, empty),
        Key("f1_greedy", here): Part(2 * scored.greedy.astype(np.float64), predicted + actual, empty),
        Key("precision_sentences", here): mean(right / np.maximum(predicted, 1), predicted > 0, none),
        Key("recall_sentences", here): mean(right / np.maximum(actual, 1), why=empty),
        Key("f1_sentences", here): mean(f1_score(right, predicted, actual), why=empty),
        Key("best_iou"): mean(scored.best_iou, why=empty),
        Key("pointing_accuracy"): mean(scored.pointing, why=empty),
        Key("pointing_chance"): mean(scored.chance, why=empty),
        Key("rodeo_localization"): Part(100 * scored.localization, counted, empty),
        Key("rodeo_shape"): Part(100 * scored.shape, counted, empty),
        Key("malformed_fraction"): fraction(scored.malformed, why=empty),
        Key("empty_fraction"): fraction(scored.empty, why=empty),
    }

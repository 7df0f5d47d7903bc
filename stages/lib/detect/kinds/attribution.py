"""A localizer without text: which parts of an image speak for the positive answer, and the peaks of that evidence.

The model is asked a question whose answer is one of two tokens. The evidence for a nodule is the difference of their
logits, and a map says how much of it each image token brings, against the mean of the image's own tokens. Two ways:

* `gradient`: integrated gradients (Sundararajan et al., ICML 2017, eq. 1) on the way from that mean to the image. The
  integral is a sum over `steps` points on the way (Gauss-Legendre quadrature). With many points a map adds up to the
  evidence of the image less that of the mean, which the paper calls completeness; how far it is from that is told with
  each map. One step is the gradient on half the way, times the way.
* `occlusion`: what is lost when the token alone is put to the mean; exact, one forward pass per token.

An image token is coarse (an eighth or sixteenth of the image), so the image is also moved by parts of a token, and the
maps of the moved images are laid over each other: the overlap is as fine as the moves.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.core import params
from stages.lib.core.errors import ModelError
from stages.lib.detect import driver
from stages.lib.detect.detection import Detection, Query, Response, batches
from stages.lib.images import shifts
from stages.lib.images.extent import WHOLE, Extent, cells, extent
from stages.lib.models import adapters, gemma3, snapshot
from stages.lib.models.prompts import PromptParams

MIN_DIFFERENCE_LOGITS = 0.01  # a smaller one is rounding in bfloat16, and counts as this much in a completeness error


@params.section
class Params:
    """How a map of the evidence is made, and what of it becomes a point."""

    adapter: params.Text  # folder of a trained adapter; none: the base as it is
    prompts: tuple[params.Text, ...]  # the bank: queries, each put to images that choose, the best to all
    answers: tuple[params.Text, ...]  # of each: nodule/no nodule, the tokens whose logits are compared
    response_prefixes: tuple[str, ...]  # of each: what is put into the model's mouth before the answer; "" for nothing
    image_first: bool  # whether the image stands before the question, or after it
    method: Literal["gradient", "occlusion"]  # gradient is fast; occlusion is exact, one pass per image token
    steps: params.Count  # points of the gradient's quadrature; more make the completeness error smaller
    shifts: params.Count  # places along each side of an image token that the image is moved to; it divides the side
    smoothing_fraction: params.NonNegativeFloat  # standard deviation of the blur of a map, of the padded square's side
    peak_distance_fraction: params.Fraction  # two peaks are further apart than this, of the padded square's side
    max_peaks: params.Count  # peaks per image
    even_odds_logits: params.PositiveFloat  # evidence that a confidence of one half stands for
    min_confidence: params.Fraction  # weaker peaks are left out
    batch_size: params.Count  # images per pass; on the 4B model each keeps 1.5 GB for the gradients

    def __post_init__(self) -> None:
        found = {name: len(getattr(self, name)) for name in ("prompts", "answers", "response_prefixes")}
        if len(set(found.values())) > 1 or not self.prompts or len(set(self.prompts)) < len(self.prompts):
            raise ValueError(f"different prompts, each with its answers and response prefix, found {found}")
        for prompt in self.prompts:
            self.contrast(prompt)

    def contrast(self, prompt: str) -> tuple[PromptParams, str]:
        """A prompt of the bank with its two answers, and the response prefix."""
        at = self.prompts.index(prompt)
        pair = PromptParams(question=prompt, answers=self.answers[at], image_first=self.image_first)
        return pair, self.response_prefixes[at]


def localizer(params: Params, setting: driver.Setting) -> driver.Localizer:
    """A localizer that takes the peaks of the model's attribution maps: the base's, or the base's with an adapter.

    Raises:
        ParamsError: If no base model was given.
        MismatchError: If the adapter was trained on other pixels or another base.
        ModelError: If the model cannot be loaded.
    """
    base = snapshot.read(setting.path("base"))
    adapter = None if params.adapter == "none" else Path(params.adapter)
    if adapter and setting.preprocessing_hash:
        adapters.check(adapter, setting.preprocessing_hash, base.identity, None)
    loaded = gemma3.load(base.folder, setting.model, adapter=adapter)

    def ask(queries: Sequence[Query]) -> Iterator[Response]:
        for batch in batches(queries, params.batch_size):
            images = [query.pixels() for query in batch]
            yield from answers(loaded, images, batch[0].prompt, params)

    return ask


@dataclass(frozen=True)
class Attribution:
    """Maps of n images.

    Attributes:
        evidence: How much each cell speaks for the positive answer, float64 array of shape (n, grid, grid), logits.
        completeness_error: Of each image, how far its map is from adding up to the evidence of the image less that of
            its mean token, as a fraction of that difference, shape (n,). Numerator and denominator are means of
            magnitudes over the shifts. A difference below `MIN_DIFFERENCE_LOGITS` counts as that. None for
            `occlusion`, which need not add up.
    """

    evidence: NDArray[np.float64]
    completeness_error: NDArray[np.float64] | None


def attribution(
    loaded: gemma3.Loaded, images: Sequence[np.ndarray] | np.ndarray, prompt: str, params: Params
) -> Attribution:
    """How much each part of each image speaks for the positive answer.

    Args:
        loaded: The model, or the model with an adapter. No gradient reaches its weights.
        images: n images, uint8 arrays of shape (side_px, side_px).
        prompt: One of `params.prompts`.
        params: See `Params`.

    Returns:
        Maps with as many cells along a side as the model has image tokens, times `params.shifts`, and logits per image
        token in each. The cells divide the padded square evenly, row by row.

    Raises:
        ModelError: If an answer is not one token, the moves do not divide a token, or a map is not finite.
        MismatchError: If an image has not the side that the model takes.
    """
    pixels = np.stack(list(images))
    side, moves = int(loaded.image_tokens**0.5), params.shifts
    grid = side * moves
    total, covered = np.zeros((len(pixels), grid, grid)), np.zeros((grid, grid))
    missing, whole = np.zeros(len(pixels)), np.zeros(len(pixels))
    for number, place in enumerate(shifts.places(moves, loaded.token_px, "attribution.shifts")):
        down, right = divmod(number, moves)
        shifted = shifts.shifted(pixels, place)
        found = [
            _token_map(loaded, shifted[start : start + params.batch_size], prompt, params)
            for start in range(0, len(shifted), params.batch_size)
        ]
        coarse, difference = (np.concatenate(part) for part in zip(*found, strict=True))
        missing += np.abs(coarse.sum(axis=1) - difference)
        whole += np.abs(difference)
        fine = coarse.reshape(-1, side, side).repeat(moves, axis=1).repeat(moves, axis=2)
        total[:, : grid - down, : grid - right] += fine[:, down:, right:]
        covered[: grid - down, : grid - right] += 1
    if not np.isfinite(total).all():
        raise ModelError("the evidence of an image is not a finite number; set model.dtype to bfloat16 or float32")
    complete = params.method == "gradient"
    error = missing / np.maximum(whole, MIN_DIFFERENCE_LOGITS * moves**2)
    return Attribution(total / covered, error if complete else None)


def _token_map(
    loaded: gemma3.Loaded, images: np.ndarray, prompt: str, params: Params
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evidence of each image token of one batch, shape (n, image_tokens), and what it should add up to, shape (n,).

    What is found by occlusion need not add up to anything: that is 0.
    """
    import torch

    seen = gemma3.features(loaded, list(images)).float()
    means = seen.mean(dim=1, keepdim=True)
    with _frozen(loaded.model):
        evidence = _contrast(loaded, *params.contrast(prompt))
        if params.method == "gradient":
            with torch.no_grad():
                difference = evidence(seen) - evidence(means.expand_as(seen).contiguous())
            found = _integrated(evidence, seen, means, params)
        else:
            difference = torch.zeros(len(seen))
            found = _occluded(evidence, seen, means, params)
    return found.double().cpu().numpy(), difference.double().cpu().numpy()


def _integrated(evidence: Callable[[Any], Any], seen: Any, means: Any, params: Params) -> Any:
    import torch

    total = torch.zeros(seen.shape[:2], device=seen.device)
    nodes, weights = np.polynomial.legendre.leggauss(params.steps)  # on [-1, 1]
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        with torch.enable_grad():
            place = (means + (seen - means) * float(node)).requires_grad_()
            (slope,) = torch.autograd.grad(evidence(place).sum(), place)
        total += float(weight) * (slope * (seen - means)).sum(dim=-1)
    return total


def _occluded(evidence: Callable[[Any], Any], seen: Any, means: Any, params: Params) -> Any:
    import torch

    lost = torch.empty(seen.shape[:2], device=seen.device)
    with torch.no_grad():
        whole = evidence(seen)
        for token in range(seen.shape[1]):
            without = seen.clone()
            without[:, token] = means[:, 0]
            lost[:, token] = whole - evidence(without)
    return lost


def _contrast(loaded: gemma3.Loaded, prompt: PromptParams, prefix: str) -> Callable[[Any], Any]:
    """A function from vision features (n, image_tokens, hidden) to the evidence of the images, shape (n,)."""
    import torch

    negative, positive = gemma3.answer_ids(loaded, prompt)
    spoken = loaded.tokenizer.encode(prefix, add_special_tokens=False) if prefix else []

    def evidence(seen: Any) -> Any:
        batch = gemma3.encode(loaded, seen, prompt.question, image_first=prompt.image_first)
        said = torch.tensor(spoken, dtype=torch.long, device=loaded.device).expand(len(seen), -1)
        for name, added in (
            ("input_ids", said),
            ("attention_mask", torch.ones_like(said)),
            ("token_type_ids", torch.zeros_like(said)),
        ):
            batch[name] = torch.cat([batch[name], added], dim=1)
        pair = gemma3.last_logits(loaded, batch, (negative, positive)).pair
        return pair[:, 1] - pair[:, 0]

    return evidence


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """Let no gradient reach the weights meanwhile: what only they would need is then not kept in memory."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def peaks(
    evidence: NDArray[np.float64],
    *,
    most: int,
    peak_distance_fraction: float,
    smoothing_fraction: float,
    even_odds_logits: float,
    min_confidence: float = 0.0,
    image: Extent = WHOLE,
) -> list[tuple[float, float, float]]:
    """Peaks of one map, the surest first.

    A peak is a cell of positive evidence that none of its eight neighbours exceeds; its place is the top of the
    parabolas through it and its neighbours, and stays within the cell and the image. Of two peaks too near to each
    other the weaker is dropped.

    Args:
        evidence: Map of shape (grid, grid), logits.
        most: How many peaks at most.
        peak_distance_fraction: Two peaks are further apart than this fraction of the side.
        smoothing_fraction: Standard deviation of the blur beforehand, of the side. Cells off the image have no part in
            it.
        even_odds_logits: Evidence that becomes a confidence of one half, of evidence / (evidence + even_odds_logits):
            it is absolute, so that the peaks of one image can be ranked with those of another.
        min_confidence: Weaker peaks are dropped.
        image: Left, top, right and bottom of the image in the padded square; cells wholly outside have no peak.

    Returns:
        (u, v, confidence) of each: fractions of the padded square from edge to edge, u right and v down, and [0, 1].

    >>> hill = np.array([[0.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 0.0]])
    >>> peaks(hill, most=2, peak_distance_fraction=0.1, smoothing_fraction=0.0, even_odds_logits=1.0)
    [(0.5, 0.5, 0.75)]
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    grid = len(evidence)
    left, top, right, bottom = image
    inside = cells(grid, image)
    hills = np.where(inside, evidence, 0.0)
    if smoothing_fraction:
        blur = {"sigma": smoothing_fraction * grid, "mode": "constant"}
        weight = gaussian_filter(inside.astype(np.float64), **blur)
        hills = np.divide(gaussian_filter(hills, **blur), weight, out=np.zeros_like(hills), where=inside)
    hills = np.where(inside, hills, -np.inf)
    tops = (hills == maximum_filter(hills, size=3, mode="constant", cval=-np.inf)) & (hills > 0)
    rows, columns = np.nonzero(tops)
    found: list[tuple[float, float, float]] = []
    for number in np.argsort(-hills[rows, columns], kind="stable"):
        row, column = int(rows[number]), int(columns[number])
        confidence = float(hills[row, column] / (hills[row, column] + even_odds_logits))
        if len(found) == most or confidence < min_confidence:
            break
        u = (column + 0.5 + _top(hills[row], column)) / grid
        v = (row + 0.5 + _top(hills[:, column], row)) / grid
        u, v = float(np.clip(u, left, right)), float(np.clip(v, top, bottom))
        if all(np.hypot(u - other[0], v - other[1]) > peak_distance_fraction for other in found):
            found.append((u, v, confidence))
    return found


def _top(line: NDArray[np.float64], at: int) -> float:
    """How far from cell `at`, a maximum of `line`, the parabola through it and its neighbours is highest.

    >>> _top(np.array([1.0, 2.0, 2.0]), 1)
    0.5
    """
    if not 0 < at < len(line) - 1 or not np.isfinite(line[at - 1 : at + 2]).all():
        return 0.0
    before, here, after = line[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float((before - after) / (2 * bend)) if bend < 0 else 0.0


def answers(
    loaded: gemma3.Loaded, images: Sequence[np.ndarray] | np.ndarray, prompt: str, params: Params
) -> list[Response]:
    """Peaks of each image as a localizer's answer; its text are the peaks (u, v, confidence) as JSON.

    Arguments and errors are those of `attribution`.
    """
    said = []
    maps = attribution(loaded, images, prompt, params)
    errors = [None] * len(images) if maps.completeness_error is None else maps.completeness_error.tolist()
    for image, evidence, error in zip(images, maps.evidence, errors, strict=True):
        found = peaks(
            evidence,
            most=params.max_peaks,
            peak_distance_fraction=params.peak_distance_fraction,
            smoothing_fraction=params.smoothing_fraction,
            even_odds_logits=params.even_odds_logits,
            min_confidence=params.min_confidence,
            image=extent(image),
        )
        text = json.dumps({"peaks": [[round(value, 6) for value in peak] for peak in found]})
        detections = tuple(Detection(u, v, box=None, confidence=score, phrase=None) for u, v, score in found)
        said.append(Response(text, "ok" if found else "empty", detections, completeness_error=error))
    return said

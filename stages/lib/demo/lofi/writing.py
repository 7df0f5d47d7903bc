"""Teaching of the decoder, with pooling and projection before it: it writes the boxes of a sentence, the sentence of
boxes, and reports. The towers are frozen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.lib.core.progress import track
from stages.lib.demo.lofi.examples import GROUPS, Told
from stages.lib.demo.pretraining import WEIGHT_DECAY, batches, optimizer_step, rate
from stages.lib.learn.losses import IGNORED
from stages.lib.learn.sigmoid import word_losses
from stages.lib.models import box_text
from stages.lib.models.lofi import wording
from stages.lib.models.lofi.words import DecoderWords

GROUND_FRACTION, DESCRIBE_FRACTION = 0.8, 0.1  # of the answers; the others are reports
LARGER_FRACTION = 0.7  # of the sentences asked about, that tell of a finding larger than a nodule, where there is one
LATTICE = 0.05  # of the square: finer digits are noise to a decoder that has to learn first where to look
COARSE_FRACTION = 0.65  # of the steps, the first ones, with boxes on the lattice


def talk(rng: np.random.Generator, report: Sequence[Told], *, coarse: bool) -> tuple[str, str]:
    """A prompt about an image, and its answer.

    Args:
        rng: Decides what is asked, and about which sentence.
        report: Sentences of the image.
        coarse: Whether edges of boxes are multiples of LATTICE.
    """
    boxed = [one for one in report if one.boxes]
    kind = rng.random()
    if not boxed or kind >= GROUND_FRACTION + DESCRIBE_FRACTION:
        return wording.CAPTION, " ".join(one.text for one in report)
    larger = [one for one in boxed if GROUPS[0] not in one.text]
    among = larger if larger and rng.random() < LARGER_FRACTION else boxed
    told = among[int(rng.integers(len(among)))]
    boxes = [on_lattice(box) if coarse else box for box in told.boxes]
    if kind < GROUND_FRACTION:
        return wording.ground_prompt(told.text), box_text.write(boxes, "lofi", "round")
    return wording.describe_prompt(box_text.listed(boxes, "round")), told.text


def on_lattice(box: box_text.Box) -> box_text.Box:
    """Box whose edges are the nearest multiples of LATTICE.

    >>> on_lattice((0.12, 0.2, 0.33, 0.41))
    (0.1, 0.2, 0.35, 0.4)
    """
    x0, y0, x1, y1 = (round(round(edge / LATTICE) * LATTICE, 6) for edge in box)
    return x0, y0, x1, y1


def rows(words: DecoderWords, talks: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens behind the visual ones, and the token that follows where an answer is learned.

    Args:
        words: Of the decoder.
        talks: n prompts with their answers.

    Returns:
        Two int arrays of shape (n, longest): tokens, padded on the right, and targets, -100 where none is learned.
    """
    asked = [words.asked(prompt) for prompt, _ in talks]
    answers = [words.answer(answer) for _, answer in talks]
    longest = max(len(one) + len(other) for one, other in zip(asked, answers, strict=True)) - 1
    ids = np.full((len(talks), longest), words.tokenizer.pad_token_id, np.int64)
    targets = np.full((len(talks), longest), IGNORED, np.int64)
    for row, (before, after) in enumerate(zip(asked, answers, strict=True)):
        end = len(before) + len(after) - 1
        ids[row, :end] = [*before, *after[:-1]]
        targets[row, len(before) - 1 : end] = after
    return ids, targets


def teach(
    network: Any,
    words: DecoderWords,
    patches: Any,
    reports: Sequence[Sequence[Told]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> list[float]:
    """Train pooling, projection and the whole decoder, and return the loss of each step.

    Args:
        network: See `stages.lib.models.lofi.network.Network`.
        words: Of its decoder.
        patches: What its vision tower makes of n images, float tensor of shape (n, patches, d).
        reports: Sentences of each.
        steps: Number of steps.
        batch_size: Images per step.
        learning_rate: Highest learning rate.
        rng: Decides the order of the images, and what is asked.
    """
    import torch

    parts = (network.pooling, network.projection, network.decoder)
    trained = [weight for part in parts for weight in part.parameters()]
    for weight in trained:
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    begin = torch.tensor(words.begin)
    losses = []
    order = batches(len(reports), batch_size, steps, rng)
    for step, chosen in enumerate(track(order, total=steps, what="teach writing", unit="steps")):
        coarse = step < COARSE_FRACTION * steps
        ids, targets = map(torch.from_numpy, rows(words, [talk(rng, reports[i], coarse=coarse) for i in chosen]))
        prefix = network.prefix(patches[torch.from_numpy(chosen)])  # (n, visual_tokens, h)
        logits = network.logits(begin, prefix, ids, targets != IGNORED)
        loss = word_losses(logits, targets).mean()
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    return losses

"""Training of the tiny base: first its vision tower alone, then its text model with the tower frozen.

The order matters: trained together from random weights, neither learns. The tower learns a dense task (is there a
nodule in this patch, and where). The text model then learns to write what the tower found, in the same conversations
as in inference. Learning rates follow the step, never the clock.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.lib.core.progress import track
from stages.lib.models import gemma3
from stages.lib.models.box_2d import UNITS, Box

WARM_UP = 0.05  # fraction of the steps
WEIGHT_DECAY = 0.01
LONGEST_GRADIENT = 1.0
WHITENED_IMAGES = 400  # whose patches decide the patch embedding
SHIFT_PX = 6  # greatest random shift of an image, so that a nodule is seen at any place in a patch
FACTS = 7  # per patch, see `dense_targets`
FACTS_WEIGHT = 5.0  # beside the presence alone
FLAG = 2.0  # weight of a nodule's presence over its place in the first input of the text model


@dataclass(frozen=True)
class Talk:
    """One prompt and its response.

    Attributes:
        text: The prompt.
        image_first: Whether the image stands before the text.
        answer: Returns the response for an image with these nodules.
        fraction: Of the steps.
    """

    text: str
    image_first: bool
    answer: Callable[[Sequence[Box]], str]
    fraction: float


def dense_targets(boxes: Sequence[Sequence[Box]], grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets of the tower for each patch.

    Args:
        boxes: The nodules of n images.
        grid: Patches per side.

    Returns:
        presence: float32 of shape (n, grid * grid), 1 where the centre of a nodule lies.
        facts: float32 of shape (n, grid * grid, 7): presence; y0, x0, y1, x1 of the nodule in half images from the
            middle of the image, 0 where there is none; row and column of the patch in the same unit, everywhere.

    >>> presence, facts = dense_targets([[Box(0, 500, 500, 1000, None)]], 2)
    >>> presence.tolist(), facts[0, 1].tolist(), facts[0, 2].tolist()
    ([[0.0, 1.0, 0.0, 0.0]], [1.0, -1.0, 0.0, 0.0, 1.0, -0.5, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, -0.5])
    """
    middles = (2 * np.arange(grid) + 1) / grid - 1
    facts = np.zeros((len(boxes), grid * grid, FACTS), np.float32)
    facts[..., 5] = np.repeat(middles, grid)
    facts[..., 6] = np.tile(middles, grid)
    for image, found in enumerate(boxes):
        for box in found:
            row = int((box.y0 + box.y1) / 2 / UNITS * grid)
            column = int((box.x0 + box.x1) / 2 / UNITS * grid)
            edges = 2 * np.array([box.y0, box.x0, box.y1, box.x1]) / UNITS - 1
            facts[image, row * grid + column, :5] = [1, *edges]
    return facts[..., 0], facts


def moved(image: np.ndarray, boxes: Sequence[Box], right_px: int, down_px: int) -> tuple[np.ndarray, tuple[Box, ...]]:
    """An image and its nodules moved by whole pixels; zeros come in, and a nodule whose centre leaves is
    dropped.

    >>> image, boxes = moved(np.eye(10, dtype=np.uint8), [Box(100, 0, 300, 200, None)], 2, 0)
    >>> boxes, image[0].tolist()
    ((Box(y0=100.0, x0=200.0, y1=300.0, x1=400.0, label=None),), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    """
    side = image.shape[0]
    out = np.zeros_like(image)
    to = (slice(max(down_px, 0), side + min(down_px, 0)), slice(max(right_px, 0), side + min(right_px, 0)))
    of = (slice(max(-down_px, 0), side - max(down_px, 0)), slice(max(-right_px, 0), side - max(right_px, 0)))
    out[to] = image[of]
    right, down = right_px / side * UNITS, down_px / side * UNITS
    kept = []
    for box in boxes:
        y, x = (box.y0 + box.y1) / 2 + down, (box.x0 + box.x1) / 2 + right
        if 0 <= y < UNITS and 0 <= x < UNITS:
            edges = (box.y0 + down, box.x0 + right, box.y1 + down, box.x1 + right)
            y0, x0, y1, x1 = (min(max(edge, 0), UNITS) for edge in edges)
            kept.append(Box(y0, x0, y1, x1, box.label))
    return out, tuple(kept)


def rate(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: a linear warm-up, then half a cosine down to zero.

    >>> [round(rate(step, 100, 1.0), 3) for step in (0, 4, 5, 99)]
    [0.2, 1.0, 1.0, 0.0]
    """
    warm = max(round(WARM_UP * steps), 1)
    if step < warm:
        return peak * (step + 1) / warm
    return float(peak * 0.5 * (1 + np.cos(np.pi * (step - warm) / (steps - warm))))


def batches(count: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the images of each step, epoch by epoch in a new order, all batches full."""
    queue = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(count)])
        yield queue[:size]
        queue = queue[size:]


def whiten(loaded: gemma3.Loaded, images: np.ndarray) -> None:
    """Set the tower's patch embedding to the principal patterns of the images' patches, each of unit spread.

    Raw patches differ in brightness a hundred times more than in what a nodule adds; from random weights the tower
    would spend its steps on that. The embedding is left alone afterwards: one step of the optimizer would undo it.

    Args:
        loaded: The model; its patch embedding is changed in place.
        images: n images, uint8 of shape (n, side, side).
    """
    import torch

    embedding = loaded.model.model.vision_tower.embeddings.patch_embedding
    hidden, channels, patch, _ = embedding.weight.shape
    grid = images.shape[1] // patch
    greys = loaded.greys[0].numpy().astype(np.float64)
    patches = greys[images].reshape(-1, grid, patch, grid, patch).transpose(0, 1, 3, 2, 4).reshape(-1, patch * patch)
    mean = patches.mean(axis=0)
    spread, patterns = np.linalg.eigh(np.cov((patches - mean).T))
    strongest = np.argsort(-spread)[:hidden]
    rows = (patterns[:, strongest] / np.sqrt(spread[strongest])).T
    rows *= np.sign(rows[np.arange(hidden), np.abs(rows).argmax(axis=1)])[:, None]  # the sign of a pattern is arbitrary
    shaped = np.repeat(rows.reshape(hidden, 1, patch, patch) / channels, channels, axis=1)
    with torch.no_grad():
        embedding.weight.copy_(torch.from_numpy(shaped))
        embedding.bias.copy_(torch.from_numpy(-rows @ mean))


def teach_tower(
    loaded: gemma3.Loaded,
    images: np.ndarray,
    boxes: Sequence[Sequence[Box]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> list[float]:
    """Train the vision tower to find nodules, patch by patch, and return the loss of each step.

    Args:
        loaded: The model; its tower is changed in place, and its projector to go with it.
        images: n images, uint8 of shape (n, side, side).
        boxes: The nodules of each.
        steps: Number of steps.
        batch_size: Images per step.
        learning_rate: Highest learning rate.
        rng: Decides the order and the shifts of the images, and the first weights of the head and of the projector.
    """
    import torch

    tower = loaded.model.model.vision_tower
    config = loaded.model.config.vision_config
    grid = config.image_size // config.patch_size
    head = torch.nn.Linear(config.hidden_size, 1 + FACTS)
    whiten(loaded, images[:WHITENED_IMAGES])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.normal(0, 0.02, tuple(head.weight.shape))))
        head.bias.zero_()
        head.bias[0] = -4  # most patches hold no nodule
        for layer in tower.encoder.layers:
            layer.self_attn.out_proj.weight.zero_()  # each patch attends to itself alone at first
    fixed = {id(weight) for weight in tower.embeddings.patch_embedding.parameters()}
    trained = [weight for weight in (*tower.parameters(), *head.parameters()) if id(weight) not in fixed]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    losses = []
    order = batches(len(images), batch_size, steps, rng)
    for step, chosen in enumerate(track(order, total=steps, what="teach tower", unit="steps")):
        pixels, found = _moved_about(loaded, images, boxes, chosen, rng)
        presence, facts = map(torch.from_numpy, dense_targets(found, grid))
        said = head(tower(pixels).last_hidden_state)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(said[..., 0], presence, reduction="sum")
        apart = torch.nn.functional.mse_loss(said[..., 1:], facts, reduction="sum")
        loss = (loss + FACTS_WEIGHT * apart) / batch_size
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    _open(loaded.model.model.multi_modal_projector, head, rng)
    return losses


def _open(projector: Any, head: Any, rng: np.random.Generator) -> None:
    """Start the projector with what the head has learned to read: the facts of each patch, in random directions.

    From a random projector the text model does not find the place of a nodule in a thousand steps; from clean facts it
    takes a hundred.
    """
    import torch

    weight = projector.mm_input_projection_weight
    directions = rng.normal(0, 1, (FACTS, weight.shape[1]))
    directions[0] *= FLAG
    noise = torch.from_numpy(rng.normal(0, 0.02, tuple(weight.shape)))
    with torch.no_grad():
        weight.copy_(head.weight[1:].double().T @ torch.from_numpy(directions) + noise)


def teach_text(
    loaded: gemma3.Loaded,
    images: np.ndarray,
    boxes: Sequence[Sequence[Box]],
    talks: Sequence[Talk],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> list[float]:
    """Train the text model and the projector to respond, with the tower frozen, and return the loss of each step.

    Args:
        loaded: The model; changed in place but for its tower.
        images: n images, uint8 of shape (n, side, side); other ones than the tower was trained on, on which it is
            too confident.
        boxes: The nodules of each.
        talks: The prompts; their fractions add up to 1.
        steps: Number of steps. Each has one prompt and one batch of images.
        batch_size: Images per step.
        learning_rate: Highest learning rate.
        rng: Decides the prompt of each step, and the order and the shifts of the images.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    model = loaded.model
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    frozen = {id(weight) for weight in tower.parameters()}
    trained = [weight for weight in model.parameters() if id(weight) not in frozen]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    prompts = [_prompt(loaded, talk) for talk in talks]
    which = rng.choice(len(talks), size=steps, p=[talk.fraction for talk in talks])
    losses = []
    order = batches(len(images), batch_size, steps, rng)
    for step, chosen in enumerate(track(order, total=steps, what="teach text", unit="steps")):
        pixels, found = _moved_about(loaded, images, boxes, chosen, rng)
        with torch.no_grad():
            seen = tower(pixels).last_hidden_state
        said = answer_tokens(loaded, [talks[which[step]].answer(nodules) for nodules in found])
        prompt = {name: ids.expand(batch_size, -1) for name, ids in prompts[which[step]].items()}
        logits = model(
            input_ids=torch.cat([prompt["input_ids"], said.clamp(min=0)], dim=1),
            attention_mask=torch.cat([prompt["attention_mask"], (said >= 0).long()], dim=1),
            token_type_ids=torch.cat([prompt["token_type_ids"], torch.zeros_like(said)], dim=1),
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=projector(seen))},
            logits_to_keep=said.shape[1] + 1,
            use_cache=False,
        ).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), said.flatten(), ignore_index=-1)
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    return losses


def _moved_about(
    loaded: gemma3.Loaded,
    images: np.ndarray,
    boxes: Sequence[Sequence[Box]],
    chosen: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Any, list[tuple[Box, ...]]]:
    """Chosen images, each shifted a little, as the tower takes them, and their nodules."""
    import torch

    shifts = rng.integers(-SHIFT_PX, SHIFT_PX + 1, (len(chosen), 2))
    shifted = [moved(images[i], boxes[i], int(dx), int(dy)) for i, (dx, dy) in zip(chosen, shifts, strict=True)]
    grey = torch.from_numpy(np.stack([image for image, _ in shifted]).astype(np.int64))
    return loaded.greys[:, grey].transpose(0, 1), [found for _, found in shifted]


def _prompt(loaded: gemma3.Loaded, talk: Talk) -> dict[str, Any]:
    """Tokens up to the answer, as in inference."""
    blank = np.zeros((1, loaded.side_px, loaded.side_px), np.uint8)
    prompt = gemma3.encode(loaded, blank, talk.text, image_first=talk.image_first)
    return {name: ids for name, ids in prompt.items() if name != "pixel_values"}


def answer_tokens(loaded: gemma3.Loaded, answers: Sequence[str]) -> Any:
    """Tokens of each response with its end of turn, int tensor of shape (n, longest), -1 after the end."""
    import torch

    end = loaded.tokenizer.convert_tokens_to_ids("<end_of_turn>")
    tokens = [loaded.tokenizer.encode(answer, add_special_tokens=False) for answer in answers]
    padded = [torch.tensor([*ids, end]) for ids in tokens]
    return torch.nn.utils.rnn.pad_sequence(padded, batch_first=True, padding_value=-1)


def optimizer_step(optimizer: Any, trained: Sequence[Any], loss: Any, lr: float) -> None:
    """One step of an optimizer down the gradient of a loss, its length limited.

    Args:
        optimizer: The optimizer.
        trained: Its parameters.
        loss: A scalar.
        lr: Learning rate of this step.
    """
    import torch

    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, LONGEST_GRADIENT)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()

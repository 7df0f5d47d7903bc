"""Teaching of the vision tower, patch by patch: which findings cover a patch, and where their edges are.

The tower starts from one that finds nodules already. SigLIP's own training would take a hundred thousand images to get
there; this is what stands in for it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.lib.core.progress import track
from stages.lib.demo.lofi.examples import GROUPS, Example
from stages.lib.demo.pretraining import SHIFT_PX, WEIGHT_DECAY, batches, moved, optimizer_step, rate
from stages.lib.models.box_2d import UNITS, Box

OF_A_GROUP = 5  # facts: presence and four edges
FACTS = OF_A_GROUP * len(GROUPS) + 2  # and row and column of the patch
NODULE_WEIGHT, LARGER_WEIGHT, PLACE_WEIGHT = 5.0, 1.0, 0.5  # of the squared errors, beside the presence
RARE = -3.0  # first logit of every presence


def dense_facts(found: Sequence[Sequence[Box]], grid: int) -> np.ndarray:
    """Targets of the tower for each patch.

    Args:
        found: The findings of n images, each with its group as label.
        grid: Patches per side.

    Returns:
        float32 of shape (n, grid * grid, FACTS). Of each group: presence (1), and y0, x0, y1, x1 in half images from
        the middle of the image; all 0 where there is none. A nodule is where its centre lies; of a larger finding, that
        is every patch whose middle lies in its box. Last come row and column of the patch, in half images.

    >>> facts = dense_facts([[Box(0, 500, 500, 1000, "opacity")]], 2).reshape(2, 2, FACTS)
    >>> at = OF_A_GROUP * GROUPS.index("opacity")
    >>> facts[0, 1, at : at + 5].tolist(), facts[1, 1, at : at + 5].tolist()
    ([1.0, -1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0])
    """
    middles = (np.arange(grid) + 0.5) / grid * UNITS
    facts = np.zeros((len(found), grid, grid, FACTS), np.float32)
    facts[..., -2] = (2 * middles / UNITS - 1)[:, None]
    facts[..., -1] = (2 * middles / UNITS - 1)[None, :]
    for number, boxes in enumerate(found):
        for box in boxes:
            at = OF_A_GROUP * GROUPS.index(str(box.label))
            edges = 2 * np.array([box.y0, box.x0, box.y1, box.x1]) / UNITS - 1
            rows, columns = _covered(box, middles, grid)
            facts[number, rows[:, None] & columns[None, :], at : at + OF_A_GROUP] = [1, *edges]
    return facts.reshape(len(found), grid * grid, FACTS)


def _covered(box: Box, middles: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of patches that a finding covers, bool of shape (grid,) each."""
    if box.label != GROUPS[0]:
        return (box.y0 <= middles) & (middles < box.y1), (box.x0 <= middles) & (middles < box.x1)
    row, column = (int((low + high) / 2 / UNITS * grid) for low, high in ((box.y0, box.y1), (box.x0, box.x1)))
    each = np.arange(grid)
    return each == row, each == column


def weights() -> np.ndarray:
    """Weight of each fact's squared error, float32 of shape (FACTS,)."""
    of_groups = [NODULE_WEIGHT, *[LARGER_WEIGHT] * (len(GROUPS) - 1)]
    return np.array([*np.repeat(of_groups, OF_A_GROUP), *[PLACE_WEIGHT] * 2], np.float32)


def patches(tower: Any, pixels: Any) -> Any:
    """Tokens of the patches without the tower's head, shape (n, patches, d), of images, (n, 3, side_px, side_px)."""
    hidden = tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state
    return tower.post_layernorm(hidden)


def teach(
    tower: Any,
    greys: Any,
    taught: Sequence[Example],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
) -> list[float]:
    """Train the vision tower, and return the loss of each step.

    Args:
        tower: SiglipVisionModel; its embeddings of patches stay as they are, its head is not touched.
        greys: Value that each of 256 grey values becomes, float32 tensor of shape (3, 256).
        taught: The images.
        steps: Number of steps.
        batch_size: Images per step.
        learning_rate: Highest learning rate.
        rng: Decides the order and the shifts of the images, and the first weights of the head that is thrown away.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    config = tower.config
    grid = config.image_size // config.patch_size
    head = torch.nn.Linear(config.hidden_size, len(GROUPS) + FACTS)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(rng.normal(0, 0.02, tuple(head.weight.shape))))
        head.bias.zero_()
        head.bias[: len(GROUPS)] = RARE
    fixed = {id(weight) for weight in (*tower.embeddings.patch_embedding.parameters(), *tower.head.parameters())}
    trained = [weight for weight in (*tower.parameters(), *head.parameters()) if id(weight) not in fixed]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=WEIGHT_DECAY)
    weight = torch.from_numpy(weights())
    losses = []
    order = batches(len(taught), batch_size, steps, rng)
    for step, chosen in enumerate(track(order, total=steps, what="teach tower", unit="steps")):
        shifts = rng.integers(-SHIFT_PX, SHIFT_PX + 1, (len(chosen), 2)).tolist()
        shifted = [moved(taught[i].pixels, taught[i].found, *by) for i, by in zip(chosen, shifts, strict=True)]
        pixels = greys[:, torch.from_numpy(np.stack([image for image, _ in shifted]).astype(np.int64))].transpose(0, 1)
        facts = torch.from_numpy(dense_facts([found for _, found in shifted], grid))  # (n, patches, FACTS)
        said = head(patches(tower, pixels))  # (n, patches, groups + FACTS)
        presence = facts[..., :-2:OF_A_GROUP]  # (n, patches, groups)
        loss = binary_cross_entropy_with_logits(said[..., : len(GROUPS)], presence, reduction="sum")
        loss = (loss + (weight * (said[..., len(GROUPS) :] - facts) ** 2).sum()) / batch_size
        optimizer_step(optimizer, trained, loss, rate(step, steps, learning_rate))
        losses.append(loss.item())
    return losses

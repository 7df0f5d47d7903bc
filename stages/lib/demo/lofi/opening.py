"""First weights of pooling and projection: what the tower tells of each patch, put where the decoder finds it.

From random weights the decoder did not look at the image in 400 steps, and wrote what a sentence tells by itself. A
visual token begins as the mean of the patches where one group of findings is, a nodule's also by side and third of the
image, and tells the facts of that group.
"""

from typing import Any

import numpy as np

from stages.lib.demo.lofi.examples import GROUPS
from stages.lib.demo.lofi.tower import FACTS, OF_A_GROUP

COLUMNS, ROWS = 2, 3  # parts of the image that nodules are looked for in
TOKENS = len(GROUPS) - 1 + COLUMNS * ROWS
SHARPNESS = 8.0  # of the attention to where a finding is
FLAG, PLACE = 2.0, 1.0  # size of a presence and of an edge in the decoder's input
RIDGE = 1e-3  # of the tokens' mean square


def open_pooling(network: Any, patches: Any, facts: np.ndarray, rng: np.random.Generator) -> None:
    """Set pooling and projection in place.

    Args:
        network: See `stages.lib.models.lofi.network.Network`; its pooling is of the kind queries.
        patches: Tokens of n images, float tensor of shape (n, patches, d).
        facts: What is to be told of them, float32 of shape (n, patches, FACTS); see `tower.dense_facts`.
        rng: Decides the direction of each fact in the decoder's input.

    Raises:
        ValueError: If the pooling has fewer than TOKENS visual tokens, or the projection is too narrow.
    """
    import torch

    flat = patches.reshape(-1, patches.shape[-1]).double()  # (n * patches, d)
    middle = flat.mean(dim=0)
    seen = torch.cat([torch.from_numpy(facts).reshape(-1, FACTS), _parts(facts)], dim=1).double()
    usual = seen.mean(dim=0)
    square = (flat - middle).T @ (flat - middle)
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    reading = torch.linalg.solve(square + ridge, (flat - middle).T @ (seen - usual))  # (d, FACTS + parts)
    with torch.no_grad():
        _attend(network.pooling, reading, middle)
        _project(network.projection, reading[:, :FACTS], middle, usual[:FACTS], rng)


def _parts(facts: np.ndarray) -> Any:
    """Which column and row of the image each patch lies in, float tensor of shape (n * patches, COLUMNS + ROWS)."""
    import torch

    rows, columns = facts.reshape(-1, FACTS)[:, -2], facts.reshape(-1, FACTS)[:, -1]
    each = [
        (np.floor((place + 1) / 2 * number) == part)
        for place, number in ((columns, COLUMNS), (rows, ROWS))
        for part in range(number)
    ]
    return torch.from_numpy(np.stack(each, axis=1).astype(np.float32))


def _attend(pooling: Any, reading: Any, middle: Any) -> None:
    """Keys tell which groups a patch shows and in which part of the image it is; a query asks for some of that."""
    import torch

    attention, width = pooling.attention, len(middle)
    per_head = width // attention.num_heads
    presence = [OF_A_GROUP * group for group in range(len(GROUPS))]
    keys = reading[:, [*presence, *range(FACTS, reading.shape[1])]]  # (d, keys)
    number = keys.shape[1]
    tokens = pooling.probe.shape[1]
    if tokens < TOKENS or per_head < number:
        raise ValueError(f"found {tokens} visual tokens and heads of {per_head}, wanted {TOKENS} and {number}")
    asked = torch.zeros(tokens, number)
    for group in range(1, len(GROUPS)):
        asked[group - 1, group] = 1
    for part in range(COLUMNS * ROWS):
        column, row = divmod(part, ROWS)
        asked[len(GROUPS) - 1 + part, [0, len(GROUPS) + column, len(GROUPS) + COLUMNS + row]] = 1
    weight, bias, probe = torch.zeros(3, width, width), torch.zeros(3, width), torch.zeros(tokens, width)
    weight[0], weight[2] = torch.eye(width), torch.eye(width)
    for head in range(attention.num_heads):
        at = slice(per_head * head, per_head * head + number)
        weight[1, at], bias[1, at] = keys.T.float(), -(middle @ keys).float()
        probe[:, at] = SHARPNESS * per_head**0.5 * asked
    pooling.probe.copy_(probe[None])
    attention.in_proj_weight.copy_(weight.flatten(0, 1))
    attention.in_proj_bias.copy_(bias.flatten())
    attention.out_proj.weight.copy_(torch.eye(width))
    attention.out_proj.bias.zero_()


def _project(projection: Any, reading: Any, middle: Any, usual: Any, rng: np.random.Generator) -> None:
    """Each fact in a direction of its own; a fact passes through a pair of units, as gelu(x) - gelu(-x) is x."""
    import torch

    first, _, second = projection
    if first.out_features < 2 * FACTS:
        raise ValueError(f"found a projection of {first.out_features} units, wanted {2 * FACTS}")
    sizes = np.full((FACTS, 1), PLACE)
    sizes[:-2:OF_A_GROUP] = FLAG
    directions = torch.from_numpy(sizes * rng.normal(0, 1, (FACTS, second.out_features))).float()
    offset = (usual - middle @ reading).float()
    first.weight[:FACTS], first.weight[FACTS : 2 * FACTS] = reading.T.float(), -reading.T.float()
    first.bias[:FACTS], first.bias[FACTS : 2 * FACTS] = offset, -offset
    second.weight[:, :FACTS], second.weight[:, FACTS : 2 * FACTS] = directions.T, -directions.T
    second.weight[:, 2 * FACTS :] = 0
    second.bias.zero_()

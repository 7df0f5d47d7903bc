"""From patches to visual tokens. torch is imported here: import this module where it is needed.

Source: `Heads` is what LoFi-MedG does (arXiv 2608.00976); `Queries` is how most would read the paper, at a seventieth
of the parameters.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

MLP_FRACTION = 4  # the MLP of a pooling head is a fourth as wide as its input


class Heads(nn.Module):
    """One of SigLIP's attention-pooling heads for each visual token, each with weights of its own.

    Args:
        config: SiglipVisionConfig of the tower, hidden size d.
        tokens: Visual tokens.

    Attributes:
        twice: Whether activations are computed twice in training, as of `Queries`.
    """

    def __init__(self, config: Any, tokens: int) -> None:
        super().__init__()
        narrow = deepcopy(config)
        narrow.intermediate_size = config.hidden_size // MLP_FRACTION
        heads = [SiglipMultiheadAttentionPoolingHead(narrow) for _ in range(tokens)]
        for head in heads:
            _begin(head.probe, head.attention)
        self.heads, self.twice = nn.ModuleList(heads), False

    def forward(self, patches: Tensor) -> Tensor:
        """Visual tokens, float tensor of shape (n, tokens, d), of patches, of shape (n, patches, d)."""
        again = (
            self.twice and torch.is_grad_enabled()
        )  # one head at a time: all together are the largest of the network
        found = [checkpoint(head, patches, use_reentrant=False) if again else head(patches) for head in self.heads]
        return torch.stack(found, dim=1)


class Queries(nn.Module):
    """One attention with a query for each visual token.

    Args:
        config: SiglipVisionConfig of the tower, hidden size d.
        tokens: Visual tokens.
    """

    def __init__(self, config: Any, tokens: int) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, tokens, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        _begin(self.probe, self.attention)
        self.twice = False

    def forward(self, patches: Tensor) -> Tensor:
        """Visual tokens, float tensor of shape (n, tokens, d), of patches, of shape (n, patches, d)."""
        if self.twice and torch.is_grad_enabled():
            return checkpoint(self._attended, patches, use_reentrant=False)
        return self._attended(patches)

    def _attended(self, patches: Tensor) -> Tensor:
        probe = self.probe.expand(len(patches), -1, -1)  # (n, tokens, d)
        return self.attention(probe, patches, patches, need_weights=False)[0]


POOLINGS: dict[str, type[Heads] | type[Queries]] = {"heads": Heads, "queries": Queries}


def projection(width: int, hidden: int) -> nn.Module:
    """Two layers from the tower's width to the decoder's."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))


def averaged(patches: Tensor) -> Tensor:
    """Means of 2 x 2 neighbouring patches.

    Args:
        patches: Float tensor of shape (n, side * side, d), side even.

    Returns:
        Float tensor of shape (n, side * side / 4, d).

    >>> averaged(torch.arange(16.0).reshape(1, 16, 1)).flatten().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """
    n, number, d = patches.shape
    side = int(number**0.5)
    grid = patches.reshape(n, side // 2, 2, side // 2, 2, d)
    return grid.mean(dim=(2, 4)).reshape(n, number // 4, d)


def _begin(probe: Tensor, attention: nn.MultiheadAttention) -> None:
    """First values as SigLIP has them."""
    nn.init.xavier_uniform_(probe)
    nn.init.xavier_uniform_(attention.in_proj_weight)
    nn.init.zeros_(attention.in_proj_bias)

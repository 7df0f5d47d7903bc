"""One pass of LoFi's decoder over answers. torch is imported here: import this module where it is needed."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stages.lib.learn.losses import IGNORED
from stages.lib.learn.sigmoid import word_losses
from stages.lib.models.lofi.weights import Loaded


class Writing(nn.Module):
    """The network, so that several processes can share one pass.

    Args:
        loaded: Network, words and pixels.
    """

    begin: Tensor

    def __init__(self, loaded: Loaded) -> None:
        super().__init__()
        self.network, self.loaded = loaded.network, loaded
        begin = loaded.decoder.begin if loaded.decoder else ()
        self.register_buffer("begin", torch.tensor(begin, dtype=torch.long), persistent=False)

    def forward(self, seen: Tensor, words: Tensor, targets: Tensor) -> Tensor:
        """Loss of each answer, the mean over its tokens.

        Args:
            seen: Images, uint8 tensor of shape (n, side, side), or what the pooling sees of them, (n, patches, d).
            words: Prompt and answer, int tensor of shape (n, tokens).
            targets: The token that follows, -100 where none is wanted, of the same shape.

        Returns:
            Float tensor of shape (n,).
        """
        network = self.network
        if not seen.is_floating_point():
            seen = network.condensed(network.patches(self.loaded.pixels(seen)))
        prefix = network.prefix_of(seen)  # (n, visual_tokens, h)
        logits = network.logits(self.begin, prefix, words, targets != IGNORED)  # (wanted, vocabulary)
        return word_losses(logits, targets)


def padded(asked: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Prompts and answers as one batch, padded on the right, where a causal decoder does not look.

    Args:
        asked: Tokens of n prompts, and of their answers.

    Returns:
        Words and targets, int tensors of shape (n, tokens): a target is the token that follows, -100 where none is
        wanted.

    >>> [one.tolist() for one in padded([([7, 8], [4, 1]), ([9], [1])])]
    [[[7, 8, 4, 1], [9, 1, 0, 0]], [[-100, 4, 1, -100], [1, -100, -100, -100]]]
    """
    longest = max((len(prompt) + len(answer) for prompt, answer in asked), default=0)
    words = torch.zeros((len(asked), longest), dtype=torch.long)
    targets = torch.full_like(words, IGNORED)
    for row, (prompt, answer) in enumerate(asked):
        end = len(prompt) + len(answer)
        words[row, :end] = torch.tensor([*prompt, *answer])
        targets[row, len(prompt) - 1 : end - 1] = torch.tensor(answer)
    return words, targets

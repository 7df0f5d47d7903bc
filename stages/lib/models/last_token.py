"""Logits after the last token of a conversation, those of two answers in float32."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Last:
    """Logits after the last token.

    Attributes:
        pair: Of two tokens, multiplied in float32: float32 tensor of shape (n, 2). In bfloat16 a logit has 8 bits, so
            that the difference of two has few values and many images tie.
        all: Of the vocabulary, rounded as the model does: float32 tensor of shape (n, vocabulary).
    """

    pair: Any
    all: Any

    def answers(self, tokens: Sequence[int]) -> np.ndarray:
        """The two logits and the probability of the two tokens together, float array of shape (n, 3)."""
        import torch

        whole = self.all.double()
        mass = (whole[:, list(tokens)].logsumexp(dim=1) - whole.logsumexp(dim=1)).exp()  # (n,)
        return np.asarray(torch.cat([self.pair.double(), mass[:, None]], dim=1).cpu().numpy())


def logits(model: Any, batch: Mapping[str, Any], tokens: Sequence[int], *, through: Any = None) -> Last:
    """Logits after the last token of a batch, from one pass.

    Args:
        model: A model of transformers with a head over its vocabulary.
        batch: What it takes.
        tokens: Ids of the two tokens.
        through: The model in a wrapper, such as DistributedDataParallel, if the pass has to go through it.
    """
    head, hidden = model.get_output_embeddings(), []
    hook = head.register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[0]))
    try:
        asked = model if through is None else through
        found = asked(**batch, logits_to_keep=1, use_cache=False).logits[:, -1, :]
    finally:
        hook.remove()
    pair = list(tokens)
    if found.dtype == head.weight.dtype == hidden[-1].dtype and found.element_size() >= FLOAT32_BYTES:
        return Last(found[:, pair], found)
    return Last(hidden[-1][:, -1].float() @ head.weight[pair].float().T, found.float())

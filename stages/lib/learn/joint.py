"""One pass of LoFi's network through all that is learned. torch is imported here: import it where it is needed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stages.lib.learn.losses import IGNORED
from stages.lib.learn.reports import Sample
from stages.lib.learn.sigmoid import word_losses
from stages.lib.learn.writing import padded
from stages.lib.models.lofi import weights
from stages.lib.models.lofi.weights import Loaded


class Batch(NamedTuple):
    """Some images with their texts and answers.

    Attributes:
        images: uint8 tensor of shape (n, side_px, side_px).
        ids: Tokens of their texts, int tensor of shape (n, length).
        image_of: Number of the image of each answer, rising, int tensor of shape (k,).
        words: Tokens behind the visual ones, prompt and answer, int tensor of shape (k, tokens).
        targets: The token that follows, -100 where none is wanted, of the same shape.
        weights: Of the answers' losses, float tensor of shape (k,).
    """

    images: Tensor
    ids: Tensor
    image_of: Tensor
    words: Tensor
    targets: Tensor
    weights: Tensor


class Passed(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        images: Embeddings, float tensor of shape (n, d).
        texts: Embeddings, of the same shape.
        words: Loss of each answer, the mean over its tokens, float tensor of shape (k,).
    """

    images: Tensor
    texts: Tensor
    words: Tensor


class Joint(nn.Module):
    """The network, so that several processes can share one pass.

    Args:
        loaded: Network, words and pixels.
        samples_per_pass: Images whose activations are held at once. More images than that go through in turns, and
            through once more in the backward pass, when the gradients of their embeddings are known. The loss is that
            of the whole batch, and the gradients are.

    Source: for the turns, Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021
    (GradCache), here by torch's checkpoints, which hand the gradients of embeddings on to each turn.
    """

    def __init__(self, loaded: Loaded, samples_per_pass: int) -> None:
        super().__init__()
        self.network, self.samples_per_pass = loaded.network, samples_per_pass
        self.loaded, decoder = loaded, loaded.decoder
        self.begin: Tensor
        self.register_buffer(
            "begin", torch.tensor(decoder.begin if decoder else (), dtype=torch.long), persistent=False
        )

    def forward(self, batch: Batch) -> Passed:
        """Embeddings of images and texts, and the losses of answers."""
        n, size = len(batch.images), self.samples_per_pass
        if n <= size or not torch.is_grad_enabled():
            found = Passed(*self._once(*batch))
        else:
            turns = [
                checkpoint(self._once, *_turn(batch, first, min(first + size, n)), use_reentrant=False)
                for first in range(0, n, size)
            ]
            found = Passed(*(torch.cat(parts) for parts in zip(*turns, strict=True)))
        return self._all_used(found)

    def _once(
        self, images: Tensor, ids: Tensor, image_of: Tensor, words: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        patches = self.network.patches(self.loaded.pixels(images))  # (n, patches, d)
        embedded = self.network.image_embedding(patches), self.network.text_embedding(ids)
        if not len(image_of):
            return *embedded, torch.zeros(0, device=patches.device)
        seen, of = torch.unique(image_of, return_inverse=True)
        prefix = self.network.prefix(patches[seen])[of]  # (k, visual_tokens, h)
        logits = self.network.logits(self.begin, prefix, words, targets != IGNORED)  # (wanted, vocabulary)
        return *embedded, word_losses(logits, targets)

    def _all_used(self, found: Passed) -> Passed:
        """The same, in which the parts behind the towers have a gradient of 0 where no answer is asked for.

        Of several processes one may have such a batch, and the others wait for its gradients.
        """
        if len(found.words) or self.network.decoder is None or not torch.is_grad_enabled():
            return found
        parts = [
            one.sum()
            for name, one in self.network.named_parameters()
            if one.requires_grad and name.startswith(weights.BEHIND)
        ]
        return found._replace(images=found.images + 0.0 * sum(parts)) if parts else found


def batch(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch.

    Args:
        samples: At least one.
    """
    asked = [(of, *one) for of, sample in enumerate(samples) for one in sample.asked]
    words, targets = padded([(prompt, answer) for _, prompt, answer, _ in asked])
    return Batch(
        images=torch.from_numpy(np.stack([sample.image for sample in samples])),
        ids=torch.from_numpy(np.stack([sample.ids for sample in samples])),
        image_of=torch.tensor([of for of, *_ in asked], dtype=torch.long),
        words=words,
        targets=targets,
        weights=torch.tensor([weight for *_, weight in asked]),
    )


def _turn(batch: Batch, first: int, last: int) -> Batch:
    """Images from `first` to before `last`, with their answers."""
    of = (batch.image_of >= first) & (batch.image_of < last)
    return Batch(
        images=batch.images[first:last],
        ids=batch.ids[first:last],
        image_of=batch.image_of[of] - first,
        words=batch.words[of],
        targets=batch.targets[of],
        weights=batch.weights[of],
    )

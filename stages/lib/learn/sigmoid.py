"""SigLIP's sigmoid loss, with three readings of equal texts, and the loss of next words as LoFi weighs it."""

from typing import TYPE_CHECKING, Literal

from stages.lib.learn.losses import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

Positives = Literal["one_positive", "masked", "multi_positive"]


def sigmoid_loss(logits: "Tensor", labels: "Tensor", samples: int) -> "Tensor":
    """Sum over texts of the logistic loss, mean over images, as these images' fraction of the optimizer step's loss.

    Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023, equation 1. Pairs of label 0, which are
    none of the paper's, are left out.

    Args:
        logits: Scaled cosines with the bias, float tensor of shape (images, texts).
        labels: 1 for a text of the image, -1 for another, 0 for one that is not compared; of the same shape.
        samples: Images of the optimizer step, over all processes.

    Returns:
        Float tensor of shape ().

    >>> import torch
    >>> logits = torch.tensor([[2.0, 2.0, -3.0], [2.0, 2.0, -3.0], [-3.0, -3.0, 2.0]])
    >>> f"{sigmoid_loss(logits, 2 * torch.eye(3) - 1, samples=3):.5f}"
    '1.60966'
    """
    from torch.nn.functional import logsigmoid

    return -(logsigmoid(labels * logits) * (labels != 0)).sum() / samples


def labels(ids: "Tensor", first: int, images: int, positives: Positives) -> "Tensor":
    """Which texts are an image's own, int tensor of shape (images, texts) of 1, -1 and 0.

    Equal texts of two images are the same tokens. "one_positive" takes the image's own alone for right, as the paper
    does, and an equal one for wrong; "masked" compares it with no equal one; "multi_positive" takes equal ones
    for right.

    Source: for "multi_positive", RadZero, 2025.

    Args:
        ids: Tokens of all texts, int tensor of shape (texts, length).
        first: Number of the first image's own text; the texts of the others follow.
        images: Number of images.
        positives: How equal texts are read.

    >>> import torch
    >>> labels(torch.tensor([[5], [5], [7]]), 0, 3, "masked").tolist()
    [[1, 0, -1], [0, 1, -1], [-1, -1, 1]]
    """
    import torch

    same = equal(ids, first, images)  # (images, texts)
    own = torch.zeros_like(same)
    own[torch.arange(images), first + torch.arange(images)] = True
    right = same if positives == "multi_positive" else own
    found = 2 * right.long() - 1
    return found.masked_fill(same & ~own, 0) if positives == "masked" else found


def equal(ids: "Tensor", first: int, images: int) -> "Tensor":
    """Whether a text is that of an image, word for word, bool tensor of shape (images, texts); arguments as `labels`.

    >>> import torch
    >>> equal(torch.tensor([[5], [5], [7]]), 1, 1).tolist()
    [[True, True, False]]
    """
    return (ids[first : first + images, None] == ids[None]).all(dim=2)


def word_losses(logits: "Tensor", targets: "Tensor") -> "Tensor":
    """Cross-entropy of the next words of each text, the mean over its tokens: a long text weighs as a short one.

    Args:
        logits: Of the vocabulary where a target is wanted, row by row, float tensor of shape (wanted, vocabulary).
        targets: The token that follows, int tensor of shape (texts, tokens); -100 where none is wanted. Each text has
            some.

    Returns:
        Float tensor of shape (texts,).

    >>> import torch
    >>> found = word_losses(torch.zeros(3, 4), torch.tensor([[1, 2, -100], [0, -100, -100]]))
    >>> [f"{loss:.4f}" for loss in found]  # ln 4 of each
    ['1.3863', '1.3863']
    """
    import torch

    wanted = targets != IGNORED  # (texts, tokens)
    each = torch.nn.functional.cross_entropy(logits.float(), targets[wanted], reduction="none")  # (wanted,)
    text = wanted.nonzero()[:, 0]  # (wanted,)
    return torch.zeros(len(targets), dtype=each.dtype, device=each.device).index_add(0, text, each) / wanted.sum(dim=1)

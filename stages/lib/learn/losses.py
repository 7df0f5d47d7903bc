"""Losses: pure functions of logits and labels."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100  # a target that is none, as torch's cross_entropy has it


def answer_loss(pair: "Tensor", labels: "Tensor", positive_weight: float, samples: int) -> "Tensor":
    """Weighted cross-entropy of the two answers, as this micro-batch's fraction of the optimizer step's
    loss.

    Each image's loss is multiplied by its class's weight, and the sum divided by the number of images of the *whole*
    step, not by the sum of weights, nor by the micro-batch. So the weight acts the same at any micro-batch, 1 included
    (where a weighted mean would be w l / w = l), and the fractions of a step add up to its loss.

    Source: the softmax cross-entropy over the two answers' tokens is the logistic loss of their margin (Bishop, Pattern
    Recognition and Machine Learning, 2006, equation 4.90); torch's `cross_entropy(weight=...)` differs in that it
    divides by the sum of the weights.

    Args:
        pair: Logits of the negative and the positive answer, float tensor of shape (n, 2).
        labels: Int tensor of shape (n,), 0 or 1.
        positive_weight: Weight of label 1; that of label 0 is 1.
        samples: Images of the optimizer step, over all micro-batches and processes.

    Returns:
        Float tensor of shape ().

    >>> import torch
    >>> loss = answer_loss(torch.zeros(2, 2), torch.tensor([0, 1]), positive_weight=3.0, samples=2)
    >>> f"{loss:.4f}"  # (1 ln 2 + 3 ln 2) / 2
    '1.3863'
    """
    import torch

    losses = torch.nn.functional.cross_entropy(pair, labels, reduction="none")  # (n,)
    weights = torch.where(labels == 1, positive_weight, 1.0)  # (n,)
    return (weights * losses).sum() / samples


def text_loss(logits: "Tensor", targets: "Tensor", samples: int) -> "Tensor":
    """Cross-entropy of the next tokens of texts, as this micro-batch's fraction of the optimizer step's loss.

    The loss of a text is the mean over its tokens, so that a long text weighs as much as a short one, and the loss of a
    step the mean over its texts.

    Args:
        logits: Of the vocabulary, float tensor of shape (n, tokens, vocabulary).
        targets: The token that follows, int tensor of shape (n, tokens); -100 where none is wanted. Each text has some.
        samples: Texts of the optimizer step, over all micro-batches and processes.

    Returns:
        Float tensor of shape ().

    >>> import torch
    >>> loss = text_loss(torch.zeros(2, 3, 4), torch.tensor([[1, 2, -100], [0, -100, -100]]), samples=2)
    >>> f"{loss:.4f}"  # (ln 4 + ln 4) / 2
    '1.3863'
    """
    import torch

    each = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")  # (n, tokens)
    wanted = targets != IGNORED
    return (each.sum(dim=1) / wanted.sum(dim=1)).sum() / samples


def asymmetric_loss(
    logits: "Tensor", labels: "Tensor", gamma_negative: float, gamma_positive: float, clip: float, samples: int
) -> "Tensor":
    """Asymmetric loss of one logit, as this micro-batch's fraction of the optimizer step's loss.

    With p the sigmoid of the logit, a positive image has the loss -(1 - p)^gamma_positive ln p, and a negative one
    -q^gamma_negative ln(1 - q) with q = max(p - clip, 0): a negative image below `clip` has none. Without focus and
    clip it is the cross-entropy.

    Source: Ridnik et al., Asymmetric Loss For Multi-Label Classification, 2021 (arXiv 2009.14119), equations 4 to 7.
    The gradient goes through the focus too.

    Args:
        logits: Float tensor of shape (n,).
        labels: Int tensor of shape (n,), 0 or 1.
        gamma_negative: Focus of negative images; 0 is none.
        gamma_positive: Focus of positive images.
        clip: Probability that is taken off a negative image's, [0, 1).
        samples: Images of the optimizer step, over all micro-batches and processes.

    Returns:
        Float tensor of shape ().

    See Also:
        focal_loss: The same focus for both, and no clip.

    >>> import torch
    >>> loss = asymmetric_loss(torch.zeros(2), torch.tensor([0, 1]), 2.0, 1.0, 0.25, samples=2)
    >>> f"{loss:.4f}"  # (0.25^2 (-ln 0.75) + 0.5 ln 2) / 2
    '0.1823'
    """
    import torch
    from torch.nn.functional import logsigmoid

    logits = logits.float()
    p, rest = torch.sigmoid(logits), torch.sigmoid(-logits)  # (n,), rest = 1 - p
    positive = -(_above_zero(rest) ** gamma_positive) * logsigmoid(logits)
    if clip:
        inside = p > clip
        shifted = torch.where(inside, p - clip, 0.5)  # 0.5 in the place of 0, whose powers may have no gradient
        negative = torch.where(inside, -(shifted**gamma_negative) * torch.log1p(-shifted), 0.0)
    else:
        negative = -(_above_zero(p) ** gamma_negative) * logsigmoid(-logits)
    return torch.where(labels == 1, positive, negative).sum() / samples


def focal_loss(logits: "Tensor", labels: "Tensor", gamma: float, samples: int) -> "Tensor":
    """Focal loss of one logit, -(1 - p_t)^gamma ln p_t, as this micro-batch's fraction of the optimizer step's loss.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017 (arXiv 1708.02002), equation 4: without a weight of
    the classes, which the order of the images balances.

    Args:
        logits: Float tensor of shape (n,).
        labels: Int tensor of shape (n,), 0 or 1.
        gamma: Focus on images that are not yet told apart; 0 is the cross-entropy.
        samples: Images of the optimizer step, over all micro-batches and processes.

    Returns:
        Float tensor of shape ().

    >>> import torch
    >>> f"{focal_loss(torch.zeros(1), torch.tensor([1]), 2.0, samples=1):.4f}"  # 0.5^2 ln 2
    '0.1733'
    """
    return asymmetric_loss(logits, labels, gamma, gamma, 0.0, samples)


def _above_zero(p: "Tensor") -> "Tensor":
    """Probabilities of which a power has a gradient: those that rounding made 0 are the smallest number above it."""
    import torch

    return p.clamp(min=torch.finfo(p.dtype).tiny)

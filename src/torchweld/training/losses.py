"""Losses by name, one value a sample, so that a short batch, an accumulated one and a shared one weigh the same.

The loop divides their sum by the number of samples of the whole step.

Shapes: B samples, K classes, ... pixels (none for classification), T targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from torchweld.core import InputError


class Loss(Protocol):
    """`class_weights` (K,) and `smoothing` where the loss knows them; else they are refused when it is chosen."""

    def __call__(
        self,
        scores: Tensor,  # (B, K, ...)
        targets: Tensor,  # (B, ...) class numbers, or (B, K, ...) shares
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor: ...  # (B,)


def cross_entropy(
    scores: Tensor, targets: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """In nats, the mean over a sample's pixels.

    >>> cross_entropy(torch.zeros(2, 4), torch.tensor([1, 3]))
    tensor([1.3863, 1.3863])
    """
    return by_sample(
        F.cross_entropy(scores, targets, weight=class_weights, reduction="none", label_smoothing=smoothing)
    )


def focal(
    scores: Tensor,
    targets: Tensor,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 2.0,
) -> Tensor:
    """Cross-entropy times `(1 - p) ** gamma`: what is right already counts little. Lin et al. 2017, equation 4."""
    log_p = F.log_softmax(scores, 1)
    shares = _shares(scores, targets, smoothing)
    if class_weights is not None:
        shares = shares * class_weights.view(1, -1, *(1,) * (scores.ndim - 2))
    return by_sample(-(shares * (1 - log_p.exp()) ** gamma * log_p).sum(1))


def hinge(scores: Tensor, targets: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """`max(0, 1 + best wrong score - right score)`. Crammer & Singer 2001.

    >>> hinge(torch.tensor([[2.0, 0.5], [0.0, 0.5]]), torch.tensor([0, 0]))
    tensor([0.0000, 1.5000])
    """
    if targets.ndim == scores.ndim:
        raise InputError("hinge needs class numbers, not shares; switch mixup and cutmix off")
    right = scores.gather(1, targets[:, None]).squeeze(1)
    wrong = scores.scatter(1, targets[:, None], float("-inf")).amax(1)
    losses = (1 + wrong - right).clamp_min(0)
    return by_sample(losses if class_weights is None else losses * class_weights[targets])


def squared(scores: Tensor, targets: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Half the squared difference: from the targets themselves, or from one-hot classes; the mean over a sample."""
    if not targets.is_floating_point() or smoothing:
        targets = _shares(scores, targets, smoothing)
    losses = (scores - targets) ** 2 / 2
    if class_weights is not None:
        losses = losses * class_weights.view(1, -1, *(1,) * (scores.ndim - 2))
    return by_sample(losses)


def dice(scores: Tensor, targets: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """`1 - 2 |A B| / (|A| + |B|)`, soft, the mean over classes. Milletari et al. 2016; for segmentation.

    >>> perfect = 50 * F.one_hot(torch.tensor([[[0, 1], [1, 1]]]), 2).movedim(-1, 1).float()
    >>> dice(perfect, torch.tensor([[[0, 1], [1, 1]]])).abs().max() < 1e-6
    tensor(True)
    """
    p, shares = scores.softmax(1).flatten(2), _shares(scores, targets, smoothing).flatten(2)
    # One pixel is added on both sides, so that a class that neither has counts as agreed upon.
    each = 1 - (2 * (p * shares).sum(2) + 1) / ((p + shares).sum(2) + 1)  # (B, K)
    if class_weights is not None:
        each = each * class_weights
    return each.mean(1)


def cross_entropy_dice(
    scores: Tensor, targets: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Both, added: cross-entropy for each pixel, dice for each region."""
    return cross_entropy(scores, targets, class_weights, smoothing) + dice(scores, targets, class_weights, smoothing)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "hinge": hinge,
    "squared": squared,
    "dice": dice,
    "cross_entropy_dice": cross_entropy_dice,
}


def balanced_weights(
    counts: Tensor,  # (K,) samples or pixels of each class
) -> Tensor:  # (K,)
    """Weights inverse to how often a class occurs; their mean over the samples is 1: the rate keeps its meaning.

    >>> balanced_weights(torch.tensor([90, 10]))
    tensor([0.5556, 5.0000])
    """
    counts = counts.double()
    present = counts > 0
    weights = torch.where(present, counts.sum() / (present.sum() * counts.clamp_min(1)), 0.0)
    return weights.float()


def _shares(scores: Tensor, targets: Tensor, smoothing: float) -> Tensor:  # (B, K, ...)
    classes = scores.shape[1]
    shares = targets if targets.ndim == scores.ndim else F.one_hot(targets.long(), classes).movedim(-1, 1)
    return shares.to(scores.dtype) * (1 - smoothing) + smoothing / classes


def by_sample(
    values: Tensor,  # (B, ...)
) -> Tensor:  # (B,)
    """The mean over each sample's pixels."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values

"""R-Drop: two passes of one network with two dropout masks, and a penalty on their disagreement.

    loss = CE(p1, y) + CE(p2, y) + weight * (KL(p1 || p2) + KL(p2 || p1)) / 2

Source: Liang et al. 2021, https://arxiv.org/abs/2106.14448, equations 1 to 3. Not to be confused with the notes'
R-Dropout, which is `AdaptiveDropout`. Shapes: B batch, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError


def symmetric_divergence(
    first: Tensor,  # (B, K) scores
    second: Tensor,  # (B, K) scores
) -> Tensor:  # (), in nats
    """`(KL(p || q) + KL(q || p)) / 2`, the mean over the batch.

    >>> import torch
    >>> p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    >>> round(symmetric_divergence(p, q).item(), 4)
    0.4394
    """
    p, q = F.log_softmax(first, -1), F.log_softmax(second, -1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean() / 2


def r_drop_loss(
    first: Tensor,  # (B, K) scores of one pass
    second: Tensor,  # (B, K) scores of another
    labels: Tensor,  # (B,) class numbers
    weight: float = 1.0,
) -> Tensor:  # (), in nats
    """Both cross-entropies and `weight` times the symmetric divergence. Raises `InputError` for a weight below 0."""
    if not weight >= 0:
        raise InputError(f"weight={weight} must not be negative")
    return (
        F.cross_entropy(first, labels) + F.cross_entropy(second, labels) + weight * symmetric_divergence(first, second)
    )


class RDrop(nn.Module):
    """`r_drop_loss` of two passes of `model`; in training mode its dropout draws a mask for each.

    >>> import torch
    >>> loss = RDrop(nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)), weight=5.0)
    >>> loss(torch.randn(2, 4), torch.tensor([0, 2])).shape
    torch.Size([])
    """

    def __init__(self, model: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.model, self.weight = model, weight

    def forward(
        self,
        x: Tensor,  # (B, ...)
        labels: Tensor,  # (B,)
    ) -> Tensor:  # ()
        return r_drop_loss(self.model(x), self.model(x), labels, self.weight)

"""Dropout as modules: of units, of connections, of whole branches, and by activation. All vanish or are fixed in eval.

`rate` is everywhere the probability of dropping. Two things go by the name "R-Dropout": `AdaptiveDropout` here, whose
rate depends on the activation, and R-Drop (`torchweld.layers.RDrop`), a loss. They have nothing in common.

Shapes: B batch, ... any dimensions, I features in, O features out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError


class Dropout(nn.Module):
    """Inverted dropout: units are zeroed with probability `rate`, the others divided by `1 - rate`; eval is identity.

    Raises `InputError` if not 0 <= rate < 1. Source: Srivastava et al. 2014, section 10.

    >>> Dropout(0.5).eval()(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = checked_rate(rate)

    def forward(
        self,
        x: Tensor,  # (...)
    ) -> Tensor:  # (...)
        if not self.training or not self.rate:
            return x
        return x * (torch.rand_like(x) >= self.rate) / (1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class DropConnectLinear(nn.Linear):
    """A linear layer whose single weights are zeroed with probability `rate` in training, the others rescaled.

    One mask for the whole batch; the bias is kept. Raises `InputError` if not 0 <= rate < 1. Source: Wan et al. 2013,
    "Regularization of Neural Networks using DropConnect".

    >>> DropConnectLinear(3, 2, rate=0.5)(torch.randn(4, 3)).shape
    torch.Size([4, 2])
    """

    def __init__(self, features_in: int, features_out: int, rate: float = 0.5, bias: bool = True) -> None:
        super().__init__(features_in, features_out, bias)
        self.rate = checked_rate(rate)

    def forward(
        self,
        x: Tensor,  # (..., I)
    ) -> Tensor:  # (..., O)
        if not self.training or not self.rate:
            return F.linear(x, self.weight, self.bias)
        kept = (torch.rand_like(self.weight) >= self.rate) / (1 - self.rate)
        return F.linear(x, self.weight * kept, self.bias)


class DropPath(nn.Module):
    """Stochastic depth: a residual branch is left out for whole samples with probability `rate`, else rescaled.

    Raises `InputError` if not 0 <= rate < 1. Source: Huang et al. 2016, https://arxiv.org/abs/1603.09382.

    >>> y = DropPath(0.5)(torch.ones(64, 3, 2, 2))
    >>> y.flatten(1).std(1).max()  # a sample is kept or dropped whole
    tensor(0.)
    """

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.rate = checked_rate(rate)

    def forward(
        self,
        x: Tensor,  # (B, ...)
    ) -> Tensor:  # (B, ...)
        if not self.training or not self.rate:
            return x
        kept = torch.rand(x.shape[0], *(1,) * (x.ndim - 1), dtype=x.dtype, device=x.device) >= self.rate
        return x * kept / (1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class AdaptiveDropout(nn.Module):
    """Dropout whose rate falls as a unit's activation grows: kept with probability `sigmoid(alpha * x + beta)`.

    Training multiplies by a mask drawn with that probability and does not rescale; eval multiplies by the probability,
    so that the mean over masks is kept unit by unit. Raises `InputError` unless alpha > 0. Source: standout, Ba & Frey
    2013, "Adaptive dropout for training deep neural networks", equation 3; the notes call it R-Dropout.

    >>> AdaptiveDropout(alpha=1.0, beta=0.0).eval()(torch.tensor([0.0, 2.0]))
    tensor([0.0000, 1.7616])
    """

    def __init__(self, alpha: float = 1.0, beta: float = 0.0) -> None:
        super().__init__()
        if not alpha > 0:
            raise InputError(f"alpha={alpha} must be positive, or the rate does not fall as the activation grows")
        self.alpha, self.beta = alpha, beta

    def keep(
        self,
        x: Tensor,  # (...)
    ) -> Tensor:  # (...)
        """The probability with which each unit is kept."""
        return torch.sigmoid(self.alpha * x + self.beta)

    def forward(
        self,
        x: Tensor,  # (...)
    ) -> Tensor:  # (...)
        keep = self.keep(x)
        return x * (torch.rand_like(x) < keep) if self.training else x * keep

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}"


def checked_rate(rate: float) -> float:
    """The rate, if it is a probability of dropping that leaves something; else `InputError`."""
    if not 0 <= rate < 1:
        raise InputError(f"rate={rate} is the probability of dropping; it must lie in [0, 1)")
    return rate

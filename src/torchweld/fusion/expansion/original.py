"""What a block has to preserve: kernel and norm of the original, and its statistics on the calibration batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchweld.core import Refusal
from torchweld.fusion.expansion.window import BatchNorm, Convolution


@dataclass(frozen=True, eq=False)
class Original:
    """`gamma (kernel x - mean) / sqrt(var + eps) + beta`; all (O,) but the kernel, in float64 on the CPU.

    `mean` and `var` are the batch's, which normalise in training; the running ones normalise in eval mode. The means
    are those of the kernel's output without the convolution's own bias.
    """

    kernel: Tensor  # (O, I/g, *k)
    mean: Tensor
    var: Tensor
    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor
    eps: float

    @property
    def factor(self) -> Tensor:
        """Of the kernel, in eval mode."""
        return self.gamma / (self.running_var + self.eps).sqrt()

    @property
    def shift(self) -> Tensor:
        """The bias, in eval mode."""
        return self.beta - self.factor * self.running_mean

    @property
    def ratio(self) -> Tensor:
        """Running variance to the batch's."""
        return (self.running_var + self.eps) / (self.var + self.eps)


def original_of(conv: Convolution, norm: BatchNorm | None, y: Tensor, eps: float) -> Original:
    """The original at y (B, O, *sizes), the convolution's output on the calibration batch.

    A convolution without a norm counts as its own: gamma is its deviation and beta its mean. Refuses where the output
    is not finite, or where one value a channel leaves nothing to take a variance of.
    """
    if y.numel() // max(y.shape[1], 1) < 2:
        raise Refusal("the calibration batch gives one value per channel here, and one value has no variance")
    mean, var = statistics(y)
    if not (mean.isfinite().all() and var.isfinite().all()):
        raise Refusal("its output is not finite on the calibration batch")
    bias = torch.zeros_like(mean) if conv.bias is None else exact(conv.bias)
    mean, kernel = mean - bias, exact(conv.weight)
    if norm is None:
        return Original(kernel, mean, var, (var + eps).sqrt(), mean + bias, mean, var, eps)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gamma = torch.ones_like(mean) if norm.weight is None else exact(norm.weight)
    beta = torch.zeros_like(mean) if norm.bias is None else exact(norm.bias)
    return Original(kernel, mean, var, gamma, beta, exact(norm.running_mean) - bias, exact(norm.running_var), norm.eps)


def statistics(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance per channel of y (B, C, *sizes), as a batch norm takes them in training."""
    var, mean = torch.var_mean(y.detach(), [d for d in range(y.ndim) if d != 1], correction=0)
    return exact(mean), exact(var)


def exact(t: Tensor) -> Tensor:
    return t.detach().cpu().double()

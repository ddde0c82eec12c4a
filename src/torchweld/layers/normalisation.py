"""Batch norm and layer norm, written out.

    batch norm  y = (x - E x) / sqrt(Var x + eps) * gamma + beta   per channel, over the batch (and the positions)
    layer norm  the same formula per sample, over the last dimensions

The variance inside the formula is the biased one (divided by n). Batch norm's moving average of the variance takes the
unbiased one (divided by n - 1), as `torch.nn` does. Keys of the state_dict are `torch.nn`'s.

Shapes: B batch, C channels, L positions, H and W the image, ... any dimensions.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from torchweld.core import InputError


class _BatchNorm(nn.Module):
    """What both ranks share; `momentum=None` makes the moving averages plain means of all batches seen."""

    ranks: ClassVar[tuple[int, ...]]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels={channels} is not positive")
        self.channels, self.eps, self.momentum = channels, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        tracked = (torch.zeros(channels), torch.ones(channels), torch.tensor(0)) if track_running_stats else [None] * 3
        for name, value in zip(("running_mean", "running_var", "num_batches_tracked"), tracked, strict=True):
            self.register_buffer(name, value)

    def forward(
        self,
        x: Tensor,  # (B, C), (B, C, L) or (B, C, H, W)
    ) -> Tensor:  # the shape of x
        if x.ndim not in self.ranks or x.shape[1] != self.channels:
            wanted = " or ".join(f"{rank}-dimensional" for rank in self.ranks)
            raise InputError(f"{type(self).__name__} of {self.channels} channels got a tensor of {tuple(x.shape)}; "
                             f"give a {wanted} one with {self.channels} channels in dimension 1")  # fmt: skip
        if self.training or self.running_mean is None or self.running_var is None:
            mean, var = self._batch_statistics(x)
        else:
            mean, var = self.running_mean, self.running_var
        shape = (1, -1) + (1,) * (x.ndim - 2)
        y = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)
        if self.weight is None or self.bias is None:
            return y
        return y * self.weight.view(shape) + self.bias.view(shape)

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        over = (0, *range(2, x.ndim))
        n = x.numel() // self.channels
        if n < 2 and self.training:
            raise InputError(f"batch norm cannot train on one value per channel, {tuple(x.shape)}; give a larger batch "
                             f"or image, or call .eval()")  # fmt: skip
        mean = x.mean(over)
        var = x.var(over, correction=0)
        if self.training and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked += 1
                share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean += share * (mean - self.running_mean)
                self.running_var += share * (var * n / (n - 1) - self.running_var)
        return mean, var


class BatchNorm1d(_BatchNorm):
    """Batch norm of vectors, between an affine layer and its activation: each of C features over the batch.

    Training uses the batch's mean and biased variance and moves the running averages; prediction uses those. Raises
    `InputError` for other shapes, and in training for one value per channel. Source: Ioffe & Szegedy 2015,
    https://arxiv.org/abs/1502.03167.

    >>> norm = BatchNorm1d(3)
    >>> y = norm(torch.tensor([[1.0, 2.0, 0.0], [3.0, 6.0, 5.0]]))
    >>> y.mean(0).abs().max() < 1e-6, norm.running_mean
    (tensor(True), tensor([0.2000, 0.4000, 0.2500]))
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch norm of images: each of C channels over batch, height and width, with a scale and a shift of its own.

    Training, prediction, errors and source as `BatchNorm1d`.

    >>> norm = BatchNorm2d(2).eval()
    >>> norm(torch.randn(1, 2, 3, 4)).shape
    torch.Size([1, 2, 3, 4])
    """

    ranks = (4,)


class LayerNorm(nn.Module):
    """`(x - E x) / sqrt(Var x + eps) * gamma + beta` over the last dimensions, which are `shape`.

    Not `(x - E x) / (std + eps)` with the unbiased standard deviation, a form that is often copied: on 4 features it is
    13% too small. Raises `InputError` if x does not end in `shape`. Source: Ba, Kiros & Hinton 2016,
    https://arxiv.org/abs/1607.06450.

    >>> LayerNorm(4)(torch.tensor([1.0, 2.0, 3.0, 6.0])).detach()
    tensor([-1.0690, -0.5345,  0.0000,  1.6036])
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or min(self.shape) < 1:
            raise InputError(f"shape={self.shape} has a size that is not positive")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(self.shape)) if affine else None
        self.bias = nn.Parameter(torch.zeros(self.shape)) if affine else None

    def forward(
        self,
        x: Tensor,  # (..., *shape)
    ) -> Tensor:  # (..., *shape)
        over = tuple(range(-len(self.shape), 0))
        if tuple(x.shape[-len(self.shape) :]) != self.shape:
            raise InputError(f"LayerNorm over {self.shape} got a tensor of {tuple(x.shape)}, which does not end so")
        y = (x - x.mean(over, keepdim=True)) / torch.sqrt(x.var(over, correction=0, keepdim=True) + self.eps)
        return y if self.weight is None or self.bias is None else y * self.weight + self.bias

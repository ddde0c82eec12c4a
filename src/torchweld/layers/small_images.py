"""A convolution for the last stages of a network, where images are a few pixels large and channels many.

oneDNN's gradient of a kernel is slow where an image has a few positions. As one matrix product over the positions of
all images together it is several times as fast on a CPU (`benchmarks/small_images.py`).

Shapes: B batch, I and O channels in and out, H and W the image, h and w the image that comes out, k the kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_POSITIONS = 16  # of an image that comes out; with more of them oneDNN's way is as fast, then faster


class SmallImageConv2d(nn.Conv2d):
    """`nn.Conv2d`, of the same output and gradients; where at most 4x4 pixels come out, on a CPU, trained faster.

    >>> conv = SmallImageConv2d(8, 4, 3, padding=1)
    >>> conv(torch.randn(2, 8, 3, 3)).shape
    torch.Size([2, 4, 3, 3])
    """

    def forward(
        self,
        input: Tensor,  # (B, I, H, W)
    ) -> Tensor:  # (B, O, h, w)
        if not (self.training and torch.is_grad_enabled() and self._gains(input)):
            return super().forward(input)
        x, weight, bias = input, self.weight, self.bias
        if torch.is_autocast_enabled(input.device.type):
            dtype = torch.get_autocast_dtype(input.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        return _Conv.apply(x, weight, bias, self.stride, self.padding)  # type: ignore[no-untyped-call, no-any-return]

    def _gains(self, x: Tensor) -> bool:
        if x.ndim != 4 or x.device.type != "cpu" or isinstance(self.padding, str):
            return False
        if self.groups > 1 or self.dilation != (1, 1) or self.padding_mode != "zeros":
            return False
        out = [(size + 2 * pad - k) // stride + 1 for size, pad, k, stride in
               zip(x.shape[2:], self.padding, self.kernel_size, self.stride, strict=True)]  # fmt: skip
        return out[0] * out[1] <= _POSITIONS


class _Conv(torch.autograd.Function):
    """A convolution whose weight gradient is `gradient^T columns`, (O, B h w) by (B h w, k k I)."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
        if ctx.needs_input_grad[1]:
            out, _, *kernel = weight.shape
            columns = _columns(x, kernel, ctx.stride, ctx.padding)
            flat = gradient.permute(0, 2, 3, 1).reshape(-1, out)
            of_weight = (flat.mT @ columns).view(out, *kernel, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None


def _columns(x: Tensor, kernel: list[int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """What each position of the output sees: (B, I, H, W) -> (B h w, k k I)."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).permute(0, 2, 3, 1)
    windows = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])  # (B, h, w, I, k, k)
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, kernel[0] * kernel[1] * x.shape[1])

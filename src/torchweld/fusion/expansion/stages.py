"""What a branch is made of, and each stage as a `ConvMap`.

Stock convolutions and batch norms, and four small modules beside them: padding, a small kernel placed on a larger
grid of taps, a kernel that isn't learned, and a learned factor per channel.

Letters: B batch; C, I, O channels; g groups; k kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchweld.fusion.expansion.window import window_of
from torchweld.maps import ConvMap, Geometry, Recipe, batch_norm, convolution, literal, pad, parameter, scale

_CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Pad(nn.Module):
    """The padding of a window, taken before the first map, so that a bias inside the branch reaches the border too."""

    def __init__(self, window: Geometry) -> None:
        super().__init__()
        self.window = window
        self.flat = [p for pair in reversed(window.padding) for p in pair]
        self.mode = "constant" if window.padding_mode == "zeros" else window.padding_mode

    def forward(self, x: Tensor) -> Tensor:  # (B, I, *sizes) -> (B, I, *padded sizes)
        return F.pad(x, self.flat, self.mode)

    def extra_repr(self) -> str:
        return f"{self.window.padding}, {self.window.padding_mode}"


class Placed(nn.Module):
    """A small learned kernel at tap `at` of a larger window, without padding.

    Where a window is padded by less than its kernel's half, a 1x1 convolution of its own would have to crop its output
    to match. The same kernel with zeros around it needs no crop.
    """

    def __init__(
        self, window: Geometry, kernel: tuple[int, ...], at: tuple[int, ...], weight: Tensor
    ) -> None:  # weight (O, I/g, *kernel)
        super().__init__()
        self.window = window
        rest = [(a, k - a - s) for a, k, s in zip(at, window.kernel, kernel, strict=True)]
        self.around = [n for pair in reversed(rest) for n in pair]
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return _convolved(x, placed(self.weight, *self.around), self.window)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)} in {self.window}"


class Fixed(nn.Module):
    """A convolution with a kernel that is not learned: averaging, or one input spread over several outputs."""

    def __init__(self, window: Geometry, weight: Tensor) -> None:  # (O, I/g, *k)
        super().__init__()
        self.window = window
        self.weight: Tensor
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _convolved(x, self.weight, self.window)

    def extra_repr(self) -> str:
        return str(self.window)


class Scale(nn.Module):
    """A learned factor per channel, in the place of a branch's norm."""

    def __init__(self, channels: int, rank: int, like: Tensor) -> None:
        super().__init__()
        self.channels, self.rank = channels, rank
        self.weight = nn.Parameter(like.new_ones(channels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, *sizes)
        return x * self.weight.view(-1, *(1,) * self.rank)

    def extra_repr(self) -> str:
        return str(self.channels)


def placed(weight: Tensor, *around: int) -> Tensor:
    """The kernel on its larger grid of taps; `around` counts zeros as `F.pad` does, last dimension first."""
    return F.pad(weight, list(around))


def map_of_stage(stage: nn.Module, prefix: str) -> ConvMap:
    """The stage in eval mode as a map over its state, whose names start with `prefix`.

    >>> str(map_of_stage(nn.Conv2d(3, 8, 3, padding=1), "conv.").geometry)
    '3x3 3->8, zeros padding 1x1'
    """
    weight = parameter(f"{prefix}weight")
    match stage:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            bias = None if stage.bias is None else parameter(f"{prefix}bias")
            return convolution(weight, bias, **_arguments(window_of(stage)))
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            bias, mean, var = (parameter(prefix + name) for name in ("bias", "running_mean", "running_var"))
            return batch_norm(weight, bias, mean, var, stage.eps, stage.num_features)
        case Pad(window=window):
            return pad(window.in_channels, window.padding, window.padding_mode)
        case Placed(window=window, around=around):
            return convolution(Recipe("placed", placed, (weight,), tuple(around)), None, **_arguments(window))
        case Fixed(window=window):
            return convolution(literal(stage.weight.cpu()), None, **_arguments(window))
        case Scale(channels=channels):
            return scale(weight, None, channels)
    raise TypeError(f"no map is known for a {type(stage).__name__}")


def zeros_on(window: Geometry) -> ConvMap:
    """The zero map on a window: added to any branch, it brings the branch onto the window's grid of taps."""
    return convolution(literal(torch.zeros(window.weight_shape)), None, **_arguments(window))


def _arguments(window: Geometry) -> dict[str, Any]:
    return {
        "in_channels": window.in_channels,
        "out_channels": window.out_channels,
        "kernel": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "dilation": window.dilation,
        "groups": window.groups,
        "padding_mode": window.padding_mode,
    }


def _convolved(x: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    return _CONV[g.rank](x, weight, None, g.stride, 0, g.dilation, g.groups)

"""The branches that can stand beside a convolution, each as a chain of stages.

Letters: O, I channels out and in; g groups; k kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from torchweld.fusion.expansion.stages import Fixed, Pad, Placed, Scale
from torchweld.fusion.expansion.window import (
    BATCH_NORMS,
    CONVOLUTIONS,
    BatchNorm,
    Convolution,
    centre,
    keeps_position,
    one_input,
    remaining_padding,
    unpadded,
    window_of,
)
from torchweld.maps import Geometry

Stages = dict[str, nn.Module]


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the branches of one convolution; `norm` is the batch norm whose options the branches' norms take over.

    `normed`: a branch ends in a batch norm, else in a factor per channel.
    """

    conv: Convolution
    norm: BatchNorm | None
    normed: bool
    generator: torch.Generator

    @cached_property
    def window(self) -> Geometry:
        return window_of(self.conv)

    def main(self) -> Stages:
        """A copy of the convolution, without its bias where a norm follows."""
        bias = None if self.normed or self.conv.bias is None else nn.Parameter(self.conv.bias.detach().clone())
        conv = self._module(self.window, self.conv.padding, bias is not None)
        conv.weight, conv.bias = nn.Parameter(self.conv.weight.detach().clone()), bias
        return {"conv": conv} | (self.end() if self.normed else {})

    def end(self) -> Stages:
        """What a branch ends in."""
        if self.normed:
            return {"norm": self._batch_norm(self.window.out_channels)}
        return {"scale": Scale(self.window.out_channels, self.window.rank, self.conv.weight.detach())}

    def same(self, window: Geometry | None = None) -> Stages:
        """A convolution of the window's own shape."""
        g = window or self.window
        near = tuple(p[0] for p in g.padding)
        if all(p[0] == p[1] for p in g.padding):
            return {"conv": self._conv(g, near)}
        return {"pad": Pad(g), "conv": self._conv(unpadded(g), (0,) * g.rank)}

    def small(self, kernel: tuple[int, ...], at: tuple[int, ...]) -> Stages:
        """A smaller kernel that reads what the taps from `at` on read."""
        g, padding = self.window, remaining_padding(self.window, kernel, at)
        if all(near == far >= 0 for near, far in padding):
            mode = g.padding_mode if any(near for near, _ in padding) else "zeros"
            return self.same(replace(g, kernel=kernel, padding=padding, padding_mode=mode))
        weight = self._drawn((g.out_channels, g.in_channels // g.groups, *kernel))
        return self._padded() | {"conv": Placed(unpadded(g), kernel, at, weight)}

    def point(self) -> Stages:
        """1x1 at the centre."""
        g, ones, at = self.window, (1,) * self.window.rank, centre(self.window)
        if not one_input(g):
            return self.small(ones, at)
        if keeps_position(g):
            return {}
        weight = torch.zeros(g.weight_shape)
        index: tuple[Any, ...] = (..., *at)
        weight[index] = 1
        return self._padded() | {"spread": Fixed(unpadded(g), self._like(weight))}

    def point_then_same(self) -> Stages:
        """1x1, norm, kxk; with one input per output the 1x1 is only a factor, and a second kxk is left."""
        g = self.window
        if one_input(g):
            return self.same()
        inner = Geometry(g.in_channels, g.in_channels, g.groups).lifted(g.rank)
        return self._padded() | self._reduced(inner) | {"conv": self._conv(unpadded(g), (0,) * g.rank)}

    def point_then_average(self) -> Stages:
        """1x1, norm, average over the window; with one input per output the average alone."""
        g = self.window
        share = 1 / prod(g.kernel)
        if one_input(g):
            return self._padded() | {"average": Fixed(unpadded(g), self._like(torch.full(g.weight_shape, share)))}
        inner = Geometry(g.in_channels, g.out_channels, g.groups).lifted(g.rank)
        each = replace(unpadded(g), in_channels=g.out_channels, groups=g.out_channels)
        average = Fixed(each, self._like(torch.full(each.weight_shape, share)))
        return self._padded() | self._reduced(inner) | {"average": average}

    def _padded(self) -> Stages:
        return {"pad": Pad(self.window)} if self.window.padded else {}

    def _reduced(self, inner: Geometry) -> Stages:
        conv = {"reduce": self._conv(inner, (0,) * inner.rank)}
        return conv | ({"inner_norm": self._batch_norm(inner.out_channels)} if self.normed else {})

    def _conv(self, g: Geometry, padding: tuple[int, ...]) -> nn.Module:
        conv = self._module(g, padding, False)
        conv.weight = nn.Parameter(self._drawn(g.weight_shape))
        return conv

    def _module(self, g: Geometry, padding: Any, bias: bool) -> Any:
        mode = g.padding_mode if any(p != 0 for p in padding) else "zeros"
        options: dict[str, Any] = {"padding_mode": mode, "device": "meta", "bias": bias}
        sizes: tuple[Any, ...] = (g.kernel, g.stride, padding, g.dilation, g.groups)
        return CONVOLUTIONS[g.rank](g.in_channels, g.out_channels, *sizes, **options)

    def _batch_norm(self, channels: int) -> nn.Module:
        like = self.conv.weight
        norm = BATCH_NORMS[self.window.rank](channels, device=like.device, dtype=like.dtype)
        if self.norm is not None:
            norm.eps, norm.momentum = self.norm.eps, self.norm.momentum
            if norm.num_batches_tracked is not None and self.norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(self.norm.num_batches_tracked)
        return norm

    def _drawn(self, shape: tuple[int, ...]) -> Tensor:
        """A random weight, whose rows are as long as the original kernel's."""
        size = self.conv.weight.detach().double().flatten(1).square().sum(1).mean().sqrt().item() or 1.0
        drawn = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return self._like(drawn * (size / sqrt(prod(shape[1:]))))

    def _like(self, weight: Tensor) -> Tensor:
        return weight.to(self.conv.weight.detach())

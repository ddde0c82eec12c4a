"""The affine layers of the field, each as a `ConvMap`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from torchweld.core import Refusal
from torchweld.maps.conv_map import ConvMap
from torchweld.maps.geometry import Geometry, PaddingMode, Sizes
from torchweld.maps.recipe import Recipe


def convolution(
    weight: Recipe,
    bias: Recipe | None,
    *,
    in_channels: int,
    out_channels: int,
    kernel: Sequence[int] = (),
    stride: Sequence[int] = (),
    padding: Sequence[int | tuple[int, int]] = (),
    dilation: Sequence[int] = (),
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
) -> ConvMap:
    """A convolution of rank `len(kernel)`; rank 0 is a linear layer. Padding: a number a dimension, or (near, far)."""
    rank = len(kernel)
    given = Geometry(
        in_channels,
        out_channels,
        groups,
        tuple(kernel),
        tuple(stride) or (1,) * rank,
        tuple(p if isinstance(p, tuple) else (p, p) for p in padding) or ((0, 0),) * rank,
        tuple(dilation) or (1,) * rank,
        padding_mode,
    )
    return _canonical(given, weight, bias)


def transposed_convolution(
    weight: Recipe,  # (I, O/g, *k), as torch stores it
    bias: Recipe | None,
    *,
    in_channels: int,
    out_channels: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int = 1,
) -> ConvMap:
    """The adjoint of a convolution."""
    geometry = Geometry(
        in_channels,
        out_channels,
        groups,
        tuple(kernel),
        tuple(stride),
        tuple((p, p) for p in padding),
        tuple(dilation),
        transposed=True,
        output_padding=tuple(output_padding),
    )
    return ConvMap(geometry, Recipe("transpose", swap_channels, (weight,), (groups,)), bias)


def swap_channels(weight: Tensor, groups: int) -> Tensor:
    """(I, O/g, *k) to (O, I/g, *k), and back."""
    first, second, *kernel = weight.shape
    swapped = weight.reshape(groups, first // groups, second, *kernel).transpose(1, 2)
    return swapped.reshape(groups * second, first // groups, *kernel)


def identity(channels: int) -> ConvMap:
    """Changes nothing. Tap index of channel i through groups of C/g channels: `i % (C/g)`; here g = C, so always 0."""
    return ConvMap(Geometry(channels, channels, channels), Recipe("identity", _ones, (), (channels, ())))


def scale(factors: Recipe, shift: Recipe | None, channels: int) -> ConvMap:
    """`factors * x + shift` per channel; a recipe of one number stands for all channels."""
    weight = Recipe("scale", _column, (factors,), (channels,))
    bias = None if shift is None else Recipe("shift", _vector, (shift,), (channels,))
    return ConvMap(Geometry(channels, channels, channels), weight, bias)


def batch_norm(
    weight: Recipe | None,
    bias: Recipe | None,
    running_mean: Recipe,
    running_var: Recipe,
    eps: float,
    channels: int,
) -> ConvMap:
    """Batch norm in eval mode: `(x - running_mean) / sqrt(running_var + eps) * weight + bias`."""
    given = tuple(r for r in (weight, bias) if r is not None)
    marks = (weight is not None, bias is not None)
    factors = Recipe("batch norm", _norm_scale, (running_var, *given[: marks[0]]), (eps,))
    shift = Recipe("batch norm", _norm_shift, (factors, running_mean, *given[marks[0] :]))
    return scale(factors, shift, channels)


def average_pool(
    channels: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    *,
    sizes: Sizes,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> ConvMap:
    """Average pooling as a depthwise map. Refuses where the divisor changes from window to window."""
    padded = any(padding)
    if padded and not count_include_pad:
        raise Refusal("average pooling that leaves its padding out of the count divides by less at the border")
    if ceil_mode:
        for n, k, s, p in zip(sizes, kernel, stride, padding, strict=True):
            if n is None or (n + 2 * p - k) % s:
                raise Refusal(f"ceil_mode changes the divisor of the last window (size {n or 'dynamic'}, stride {s})")
    count = prod(kernel)
    recipe = Recipe("average pooling", _constant, (), (channels, tuple(kernel), 1 / (divisor or count)))
    return convolution(
        recipe,
        None,
        in_channels=channels,
        out_channels=channels,
        groups=channels,
        kernel=kernel,
        stride=stride,
        padding=padding,
    )


def pad(channels: int, padding: Sequence[tuple[int, int]], padding_mode: PaddingMode = "zeros") -> ConvMap:
    """Padding alone: one tap of weight 1, read from the padded input."""
    kernel = (1,) * len(padding)
    recipe = Recipe("padding", _ones, (), (channels, kernel))
    return convolution(
        recipe,
        None,
        in_channels=channels,
        out_channels=channels,
        groups=channels,
        kernel=kernel,
        padding=tuple(padding),
        padding_mode=padding_mode,
    )


def selection(in_channels: int, channels: Sequence[int]) -> ConvMap:
    """Output channel j is input channel `channels[j]`."""
    recipe = Recipe("selection", _one_hot, (), (in_channels, tuple(channels)))
    return ConvMap(Geometry(in_channels, len(channels)), recipe)


def _canonical(geometry: Geometry, weight: Recipe, bias: Recipe | None) -> ConvMap:
    simplest = geometry.canonical()
    if simplest.rank != geometry.rank:
        weight = Recipe(weight.law, _reshape, (weight,), (simplest.weight_shape,))
    return ConvMap(simplest, weight, bias)


def _reshape(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    return weight.reshape(shape)


def _ones(channels: int, kernel: tuple[int, ...]) -> Tensor:
    return torch.ones(channels, 1, *kernel, dtype=torch.float64)


def _constant(channels: int, kernel: tuple[int, ...], value: float) -> Tensor:
    return torch.full((channels, 1, *kernel), value, dtype=torch.float64)


def _one_hot(in_channels: int, channels: tuple[int, ...]) -> Tensor:
    return torch.eye(in_channels, dtype=torch.float64)[list(channels)]


def _vector(values: Tensor, channels: int) -> Tensor:
    return values.double().flatten().expand(channels)


def _column(values: Tensor, channels: int) -> Tensor:
    return _vector(values, channels).unsqueeze(1)


def _norm_scale(running_var: Tensor, *rest: Tensor | float) -> Tensor:
    *weight, eps = rest
    factors = torch.rsqrt(running_var + eps)
    return factors * weight[0] if weight else factors


def _norm_shift(factors: Tensor, running_mean: Tensor, *bias: Tensor) -> Tensor:
    shift = -running_mean * factors
    return shift + bias[0] if bias else shift

"""Every kind of layer the algebra knows: one function each, and the table that the laws are run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from torchweld import maps
from torchweld.maps import literal, parameter

from . import convolutions as conv
from .layer import Draw, Layer, Sizes, Wish, numbers
from .oracles import Axis

POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def batch_norm(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    """With and without affine; running statistics only."""
    affine, eps = draw(st.booleans()), draw(st.sampled_from((1e-5, 1e-3)))
    mean, var = numbers(draw, channels), numbers(draw, channels).abs()
    state = {f"{name}.running_mean": mean, f"{name}.running_var": var}
    gamma, beta = (numbers(draw, channels), numbers(draw, channels)) if affine else (None, None)
    if affine:
        state |= {f"{name}.weight": gamma, f"{name}.bias": beta}
    m, v = mean.double(), var.double()
    g, b = (gamma.double(), beta.double()) if affine else (torch.ones_like(m), torch.zeros_like(m))

    def run(x: Tensor) -> Tensor:
        return F.batch_norm(x, m, v, g if affine else None, b if affine else None, False, 0.1, eps)

    recipes = [parameter(f"{name}.{n}") if f"{name}.{n}" in state else None for n in ("weight", "bias")]
    made = maps.batch_norm(*recipes, *map(parameter, list(state)[:2]), eps, channels)
    factors = g / (v + eps).sqrt()
    return Layer(made, state, run, factors.diag(), b - m * factors)


def scale(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    """One factor a channel, or one number for all; shifted or not."""
    factors = numbers(draw, draw(st.sampled_from((1, channels))))
    shift = numbers(draw, draw(st.sampled_from((1, channels)))) if draw(st.booleans()) else None
    state = {f"{name}.factors": factors} | ({} if shift is None else {f"{name}.shift": shift})
    f = factors.double().expand(channels)
    b = f.new_zeros(channels) if shift is None else shift.double().expand(channels)

    def run(x: Tensor) -> Tensor:
        per_channel = (-1,) + (1,) * (x.ndim - 2)
        return x * f.view(per_channel) + b.view(per_channel)

    made = maps.scale(parameter(f"{name}.factors"), None if shift is None else parameter(f"{name}.shift"), channels)
    return Layer(made, state, run, f.diag(), b)


def shift(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    """A constant added to each channel, held by the recipe itself."""
    constant = numbers(draw, channels)
    b = constant.double()

    def run(x: Tensor) -> Tensor:
        return x + b.view((-1,) + (1,) * (x.ndim - 2))

    return Layer(maps.scale(literal(1.0), literal(constant), channels), {}, run, torch.eye(channels).double(), b)


def average_pool(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    rank = len(sizes)
    strides = wish.strides or tuple(draw(st.integers(1, 3)) for _ in sizes)
    slacks = wish.slacks or (None,) * rank
    pads = draw(st.booleans())
    axes = []
    for n, s, slack in zip(sizes, strides, slacks, strict=True):
        found = [Axis(k, s, p, p) for k in (1, 2, 3, 4) for p in range(k // 2 + 1) if (pads or not p)]
        found = [a for a in found if a.runs(n) and (rank < 3 or a.kernel <= n)]  # avg_pool3d forgets its own padding
        axes.append(draw(st.sampled_from([a for a in found if a.near + a.far - a.kernel == slack] or found)))
    kernel, padding = [a.kernel for a in axes], [a.near for a in axes]
    divides = all((n + 2 * a.near - a.kernel) % a.stride == 0 for n, a in zip(sizes, axes, strict=True))
    options: dict[str, Any] = {
        "ceil_mode": divides and not wish.any_size and draw(st.booleans()),
        "count_include_pad": any(padding) or draw(st.booleans()),
    }
    divisor = draw(st.sampled_from((None, 1, 5))) if rank > 1 else None

    def run(x: Tensor) -> Tensor:
        return POOL[rank](x, kernel, strides, padding, **options, **({"divisor_override": divisor} if divisor else {}))

    made = maps.average_pool(channels, kernel, strides, padding, sizes=sizes, divisor=divisor, **options)
    taps = torch.ones(kernel).double()
    weight = torch.einsum("oi,k->oik", torch.eye(channels).double(), taps.flatten() / (divisor or taps.numel()))
    return Layer(made, {}, run, weight.unflatten(2, kernel), torch.zeros(channels).double(), tuple(axes))


def identity(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    def run(x: Tensor) -> Tensor:
        return F.dropout(x, training=False)

    return Layer(maps.identity(channels), {}, run, torch.eye(channels).double(), torch.zeros(channels).double())


def pad(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    mode = draw(st.sampled_from(("zeros", "reflect", "replicate", "circular")))
    axes = []
    for j, n in enumerate(sizes):
        found = [Axis(1, 1, near, far, 1, mode) for near in range(4) for far in range(4)]
        found = [a for a in found if a.runs(n)]
        close = [a for a in found if wish.slacks and a.near + a.far - 1 == wish.slacks[j]]
        axes.append(draw(st.sampled_from(close or found)))
    pairs = [(a.near, a.far) for a in axes]

    def run(x: Tensor) -> Tensor:
        return F.pad(x, [p for pair in reversed(pairs) for p in pair], "constant" if mode == "zeros" else mode)

    weight = torch.eye(channels).double().reshape(channels, channels, *(1,) * len(sizes))
    return Layer(maps.pad(channels, pairs, mode), {}, run, weight, torch.zeros(channels).double(), tuple(axes))


def selection(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    length = wish.out or draw(st.integers(1, 6))
    rows = draw(st.lists(st.integers(0, channels - 1), min_size=length, max_size=length))

    def run(x: Tensor) -> Tensor:
        return x[:, rows]

    weight = torch.eye(channels).double()[rows]
    return Layer(maps.selection(channels, rows), {}, run, weight, torch.zeros(length).double())


@dataclass(frozen=True)
class Kind:
    draw: Callable[[Draw, str, int, Sizes, Wish], Layer]
    keeps_channels: bool = False
    pointwise: bool = False
    strides: bool = True
    spatial: bool = True  # needs at least one spatial axis


KINDS = {
    "convolution": Kind(conv.convolution, spatial=False),
    "grouped": Kind(conv.grouped, spatial=False),
    "depthwise": Kind(conv.depthwise, keeps_channels=True, spatial=False),
    "dilated": Kind(conv.dilated),
    "strided": Kind(conv.strided),
    "asymmetric": Kind(conv.asymmetric),
    "reflect": Kind(conv.reflect),
    "replicate": Kind(conv.replicate),
    "circular": Kind(conv.circular),
    "linear": Kind(conv.linear, pointwise=True, spatial=False),
    "batch norm": Kind(batch_norm, keeps_channels=True, pointwise=True, spatial=False),
    "scale": Kind(scale, keeps_channels=True, pointwise=True, spatial=False),
    "shift": Kind(shift, keeps_channels=True, pointwise=True, spatial=False),
    "average pool": Kind(average_pool, keeps_channels=True),
    "identity": Kind(identity, keeps_channels=True, pointwise=True, spatial=False),
    "pad": Kind(pad, keeps_channels=True, strides=False),
    "selection": Kind(selection, pointwise=True, spatial=False),
    "transposed": Kind(conv.transposed),
}
PAIRS = [(a, b) for a in KINDS for b in KINDS]


def draw_sizes(draw: Draw, *kinds: str) -> Sizes:
    """A small grid of one to three axes; no axis at all where every kind can do without."""
    rank = draw(st.integers(int(any(KINDS[k].spatial for k in kinds)), 3))
    largest = (0, 9, 6, 4)[rank]
    return tuple(draw(st.integers(1, largest)) for _ in range(rank))

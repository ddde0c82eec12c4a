"""The kinds of layer that hold a kernel: convolutions of every sort, and the transposed convolution."""

from __future__ import annotations

from functools import cache

import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from torchweld import maps
from torchweld.maps import PaddingMode, parameter

from .layer import Draw, Layer, Sizes, Wish, numbers
from .oracles import Axis, without_groups

CONV = {0: F.linear, 1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@cache
def windows(
    n: int, stride: int, slack: int | None, mode: PaddingMode, dilations: int, asymmetric: bool, pads: bool
) -> tuple[Axis, ...]:
    """All small windows that run on n positions; those of the wanted slack and padding, where there are any."""
    found = [
        Axis(k, stride, near, far, d, mode)
        for k in (1, 2, 3)
        for d in range(1, dilations + 1)
        for near in range(4)
        for far in (range(4) if asymmetric or slack is not None else (near,))
    ]
    found = [a for a in found if a.runs(n)]
    found = [a for a in found if a.near + a.far - a.extent == slack] or found
    return tuple([a for a in found if bool(a.near or a.far) == pads] or found)


def _conv(
    draw: Draw,
    name: str,
    channels: int,
    sizes: Sizes,
    wish: Wish,
    *,
    groups: int = 1,
    out: int | None = None,
    strides: int = 1,
    dilations: int = 1,
    asymmetric: bool = False,
    mode: PaddingMode = "zeros",
) -> Layer:
    out = out or wish.out or groups * draw(st.integers(1, max(1, 6 // groups)))
    pads, biased, rank = draw(st.booleans()), draw(st.booleans()), len(sizes)
    wanted = wish.strides or tuple(draw(st.integers(min(2, strides), strides)) for _ in sizes)
    slacks = wish.slacks or (None,) * rank
    axes = tuple(
        draw(st.sampled_from(windows(n, s, slack, mode, dilations, asymmetric, pads)))
        for n, s, slack in zip(sizes, wanted, slacks, strict=True)
    )
    weight = numbers(draw, out, channels // groups, *(a.kernel for a in axes))
    bias = numbers(draw, out) if biased else None
    state = {f"{name}.weight": weight} | ({} if bias is None else {f"{name}.bias": bias})
    w, b = weight.double(), None if bias is None else bias.double()
    pair = tuple((a.near, a.far) for a in axes)
    even = mode == "zeros" and all(a.near == a.far for a in axes)

    def run(x: Tensor) -> Tensor:
        if x.ndim == 2:
            return F.linear(x, without_groups(w, groups), b)
        if not even:
            x = F.pad(x, [p for near_far in reversed(pair) for p in near_far], "constant" if mode == "zeros" else mode)
        own = [a.near for a in axes] if even else 0
        return CONV[rank](x, w, b, wanted, own, [a.dilation for a in axes], groups)

    made = maps.convolution(
        parameter(f"{name}.weight"),
        None if bias is None else parameter(f"{name}.bias"),
        in_channels=channels,
        out_channels=out,
        kernel=[a.kernel for a in axes],
        stride=wanted,
        padding=[a.near for a in axes] if even else pair,
        dilation=[a.dilation for a in axes],
        groups=groups,
        padding_mode=mode,
    )
    return Layer(made, state, run, without_groups(w, groups), w.new_zeros(out) if b is None else b, axes)


def convolution(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish)


def grouped(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    divisors = [g for g in range(1, channels + 1) if channels % g == 0 and (wish.out or g) % g == 0]
    return _conv(draw, name, channels, sizes, wish, groups=draw(st.sampled_from(divisors[1:] or divisors)))


def depthwise(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    out = wish.out or channels * draw(st.integers(1, 2))
    return _conv(draw, name, channels, sizes, wish, groups=channels, out=out)


def dilated(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish, dilations=3)


def strided(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish, strides=3, asymmetric=draw(st.booleans()))


def asymmetric(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish, asymmetric=True, dilations=2)


def reflect(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish, mode="reflect", asymmetric=draw(st.booleans()))


def replicate(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish, mode="replicate", asymmetric=draw(st.booleans()))


def circular(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    return _conv(draw, name, channels, sizes, wish, mode="circular", asymmetric=draw(st.booleans()))


def linear(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    """A linear layer over the channels, or the 1x1 convolution that it is at every position."""
    flat = _conv(draw, name, channels, (), Wish(out=wish.out))
    w, b = flat.weight, flat.bias

    def run(x: Tensor) -> Tensor:
        return F.linear(x.movedim(1, -1), w, b).movedim(-1, 1)

    return Layer(flat.map, flat.state, run, w, b)


def transposed(draw: Draw, name: str, channels: int, sizes: Sizes, wish: Wish) -> Layer:
    out, rank = wish.out or draw(st.sampled_from((1, 2, 3, 4))), len(sizes)
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0 and out % g == 0]))
    axes = wish.axes or tuple(draw(st.sampled_from(spread_windows(n, rank))) for n in sizes)
    weight = numbers(draw, channels, out // groups, *(a.kernel for a in axes))
    bias = numbers(draw, out) if draw(st.booleans()) else None
    state = {f"{name}.weight": weight} | ({} if bias is None else {f"{name}.bias": bias})
    w, b = weight.double(), None if bias is None else bias.double()
    reading = {
        "stride": [a.stride for a in axes],
        "padding": [a.near for a in axes],
        "output_padding": [a.output_padding for a in axes],
        "dilation": [a.dilation for a in axes],
    }

    def run(x: Tensor) -> Tensor:
        return TRANSPOSED[rank](x, w, b, groups=groups, **reading)

    made = maps.transposed_convolution(
        parameter(f"{name}.weight"),
        None if bias is None else parameter(f"{name}.bias"),
        in_channels=channels,
        out_channels=out,
        kernel=[a.kernel for a in axes],
        groups=groups,
        **reading,
    )
    # torch stores (I, O/g, *k): each input channel's row holds the outputs of its own group
    full = without_groups(w, groups).transpose(0, 1)
    return Layer(made, state, run, full, w.new_zeros(out) if b is None else b, axes)


@cache
def spread_windows(n: int, rank: int) -> tuple[Axis, ...]:
    found = (
        Axis(k, s, p, p, d, "zeros", True, extra)
        for k in (1, 2, 3)
        for s in (1, 2, 3)
        for p in (0, 1)
        for d in (1, 2)
        for extra in range(max(s, d))
    )
    return tuple(a for a in found if a.runs(n) and a.outputs(n) <= max(n, (20, 20, 10, 5)[rank]))

"""The laws of the algebra: compose, add, concat, select, columns. Pure functions on frozen values.

Each is exact or raises `Refusal(reason)`. `sizes` are the spatial sizes of the input, None where dynamic; a condition
that depends on a size is decided where it is known and refused where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

import torch
from torch import Tensor

from torchweld.core import Refusal
from torchweld.maps.conv_map import ConvMap
from torchweld.maps.exactness import check_composition, check_sum, common_dilation, slack
from torchweld.maps.geometry import Geometry, Sizes
from torchweld.maps.kernels import Steps, compose_kernels, regroup, spread, taps_of, through
from torchweld.maps.recipe import Recipe


def compose(second: ConvMap, first: ConvMap, sizes: Sizes | None = None) -> ConvMap:
    """`second(first(x))` as one map: extent `1 + (k1-1)d1 + (k2-1)d2 s1`, strides multiply, padding `p1 + s1 p2`.

    >>> from torchweld.maps import identity
    >>> compose(identity(3), identity(3)).is_identity
    True
    """
    if first.geometry.out_channels != second.geometry.in_channels:
        raise Refusal(f"{first.geometry.out_channels} channels into a map of {second.geometry.in_channels}")
    if first.is_identity:
        return second
    if second.is_identity:
        return first
    two, one = _of_one_rank(second.geometry, first.geometry)
    check_composition(two, one, _known(sizes, one.rank), biased=first.bias is not None)
    return ConvMap(*_composed(second, first, two, one), composed_bias(second, first.bias))


def composed_bias(second: ConvMap, bias: Recipe | None) -> Recipe | None:
    """The bias of `second(x + bias)`, for an x that already passed the check of the border."""
    if bias is None:
        return second.bias
    passed = Recipe("compose", through, (second.weight, bias), (second.geometry.groups,))
    return passed if second.bias is None else total(passed, second.bias)


def add(a: ConvMap, b: ConvMap, sizes: Sizes | None = None) -> ConvMap:
    """`a(x) + b(x)` as one map on the union of taps, aligned by padding, in the greatest common grouping."""
    one, two = _of_one_rank(a.geometry, b.geometry)
    check_sum(one, two, _known(sizes, one.rank))
    bias = total(a.bias, b.bias) if a.bias and b.bias else a.bias or b.bias
    groups = gcd(one.groups, two.groups)
    if one.transposed:
        geometry, starts = replace(one, groups=groups), ((0,) * one.rank, (0,) * one.rank)
    else:
        geometry, starts = _union(one, two, groups)
    on_grid = tuple(
        (g.weight_shape, g.groups, start, _ratio(g.dilation, geometry.dilation))
        for g, start in zip((one, two), starts, strict=True)
    )
    weight = Recipe("add", _sum, (a.weight, b.weight), (on_grid, groups, geometry.kernel))
    return ConvMap(geometry, weight, bias)


def concat(a: ConvMap, b: ConvMap, sizes: Sizes | None = None) -> ConvMap:
    """The channels of `a(x)`, then those of `b(x)`, as one map."""
    rows = (a.geometry.out_channels, b.geometry.out_channels)
    return add(_placed(a, 0, sum(rows)), _placed(b, rows[0], sum(rows)), sizes)


def select(a: ConvMap, channels: Sequence[int]) -> ConvMap:
    """The named output channels of `a(x)`, in that order, in the finest grouping that still fits."""
    g = a.geometry
    if tuple(channels) == tuple(range(g.out_channels)):
        return a
    groups = next(n for n in range(g.groups, 0, -1) if g.groups % n == 0 and _fits(channels, g.out_channels, n))
    geometry = replace(g, out_channels=len(channels), groups=groups)
    rows = tuple(channels)
    weight = Recipe("select", _rows, (_regrouped(a.weight, g.groups, groups),), rows)
    return ConvMap(geometry, weight, None if a.bias is None else Recipe("select", _rows, (a.bias,), rows))


def columns(a: ConvMap, start: int, stop: int) -> tuple[ConvMap, int]:
    """`a` on an input that is zero outside channels start..stop, as a map of those channels alone, without bias.

    Only the rows that read them are kept: the second value is the number of the first such output channel.
    """
    g = a.geometry
    if (start, stop) == (0, g.in_channels):
        return replace(a, bias=None), 0
    width, height = g.in_channels // g.groups, g.out_channels // g.groups
    first, last = start // width, -(-stop // width)
    whole = first * width == start and last * width == stop
    groups = last - first if whole else 1
    row = first * height
    geometry = replace(g, in_channels=stop - start, out_channels=(last - first) * height, groups=groups)
    rows, cols = (row, last * height), (start - first * width, stop - first * width)
    return ConvMap(geometry, Recipe("select", _cut, (a.weight,), (rows, cols, last - first, groups))), row


def negate(a: ConvMap) -> ConvMap:
    """`-a(x)`."""
    return ConvMap(
        a.geometry,
        Recipe("negate", torch.neg, (a.weight,)),
        None if a.bias is None else Recipe("negate", torch.neg, (a.bias,)),
    )


def total(a: Recipe, b: Recipe) -> Recipe:
    """The sum of two biases."""
    return Recipe("add", torch.add, (a, b))


def _of_one_rank(a: Geometry, b: Geometry) -> tuple[Geometry, Geometry]:
    rank = max(a.rank, b.rank)
    if min(a.rank, b.rank) not in (0, rank):
        raise Refusal(f"maps over {a.rank} and {b.rank} spatial dimensions")
    return a.lifted(rank), b.lifted(rank)


def _known(sizes: Sizes | None, rank: int) -> Sizes:
    return sizes[-rank:] if sizes is not None and rank and len(sizes) >= rank else (None,) * rank


def _composed(second: ConvMap, first: ConvMap, two: Geometry, one: Geometry) -> tuple[Geometry, Recipe]:
    groups = gcd(two.groups, one.groups)
    if one.transposed or two.transposed:
        base = one if one.transposed else two
        geometry = replace(base, in_channels=one.in_channels, out_channels=two.out_channels, groups=groups)
        steps: tuple[Steps, Steps] = ((1,) * one.rank, (1,) * one.rank)
    else:
        geometry, steps = _chained(two, one, groups)
    arguments = (two.weight_shape, one.weight_shape, (two.groups, one.groups, groups), geometry.kernel, steps)
    return geometry, Recipe("compose", _compose, (second.weight, first.weight), arguments)


def _chained(two: Geometry, one: Geometry, groups: int) -> tuple[Geometry, tuple[Steps, Steps]]:
    """The geometry of the composition, and how many of its taps lie between two taps of either map."""
    dims = list(zip(one.kernel, one.dilation, one.stride, two.kernel, two.dilation, strict=True))
    dilation = tuple(common_dilation((d1 * (k1 > 1), d2 * s1 * (k2 > 1))) for k1, d1, s1, k2, d2 in dims)
    extent = tuple(1 + (k1 - 1) * d1 + (k2 - 1) * d2 * s1 for k1, d1, s1, k2, d2 in dims)
    padding = zip(one.padding, one.stride, two.padding, strict=True)
    geometry = Geometry(
        one.in_channels,
        two.out_channels,
        groups,
        tuple((e - 1) // d + 1 for e, d in zip(extent, dilation, strict=True)),
        tuple(a * b for a, b in zip(one.stride, two.stride, strict=True)),
        tuple((p1[0] + s1 * p2[0], p1[1] + s1 * p2[1]) for p1, s1, p2 in padding),
        dilation,
        two.padding_mode if two.padded else one.padding_mode,
    )
    second_steps = tuple(d2 * s1 // d if k2 > 1 else 1 for (_, _, s1, k2, d2), d in zip(dims, dilation, strict=True))
    first_steps = tuple(d1 // d if k1 > 1 else 1 for (k1, d1, _, _, _), d in zip(dims, dilation, strict=True))
    return geometry, (second_steps, first_steps)


def _compose(
    second: Tensor,
    first: Tensor,
    shape2: Steps,
    shape1: Steps,
    groups: tuple[int, int, int],
    size: Steps,
    steps: tuple[Steps, Steps],
) -> Tensor:
    return compose_kernels(second.reshape(shape2), first.reshape(shape1), groups, size, steps)


def _union(a: Geometry, b: Geometry, groups: int) -> tuple[Geometry, tuple[Steps, Steps]]:
    """The geometry of the sum, and where on its grid of taps each map's first tap lies."""
    near = tuple(max(p[0], q[0]) for p, q in zip(a.padding, b.padding, strict=True))
    starts = [tuple(n - p[0] for n, p in zip(near, g.padding, strict=True)) for g in (a, b)]
    extent = tuple(
        max(sa + ea, sb + eb) for sa, ea, sb, eb in zip(starts[0], a.extent, starts[1], b.extent, strict=True)
    )
    dilation = tuple(
        common_dilation((da * (ka > 1), db * (kb > 1), abs(sa - sb)))
        for da, ka, db, kb, sa, sb in zip(a.dilation, a.kernel, b.dilation, b.kernel, *starts, strict=True)
    )
    mode = a.padding_mode if a.padded else b.padding_mode
    # Slacks differ at a static size only, and either gives its output size. The larger keeps padding symmetric; but
    # reflect and circular padding may not outgrow the image, so there the smaller, which pads no more than a or b did.
    agreed = max if mode in ("zeros", "replicate") else min
    far = tuple(max(0, agreed(ca, cb) - n + e) for ca, cb, n, e in zip(slack(a), slack(b), near, extent, strict=True))
    geometry = replace(
        a,
        groups=groups,
        kernel=tuple((e - 1) // d + 1 for e, d in zip(extent, dilation, strict=True)),
        padding=tuple(zip(near, far, strict=True)),
        dilation=dilation,
        padding_mode=mode,
    ).canonical()
    on_grid = [tuple(s // d for s, d in zip(start, dilation, strict=True)) for start in starts]
    return geometry, (on_grid[0], on_grid[1])


def _sum(
    a: Tensor, b: Tensor, on_grid: tuple[tuple[Steps, int, Steps, Steps], ...], groups: int, size: Steps
) -> Tensor:
    parts = [
        (regroup(weight.reshape(shape), own_groups, groups), start, step)
        for weight, (shape, own_groups, start, step) in zip((a, b), on_grid, strict=True)
    ]
    (first, start, step), (second, *place) = sorted(parts, key=lambda part: part[0].numel(), reverse=True)
    result = first.clone() if tuple(first.shape[2:]) == size else spread(first, size, start, step)
    taps_of(result, second, *place).add_(second)
    return result


def _ratio(dilation: Steps, common: Steps) -> Steps:
    return tuple(max(1, d // c) for d, c in zip(dilation, common, strict=True))


def _placed(a: ConvMap, row: int, rows: int) -> ConvMap:
    """`a` as the rows from `row` on of a map with `rows` output channels, the others zero."""
    g = a.geometry
    weight = Recipe("concat", _embed, (_regrouped(a.weight, g.groups, 1),), (row, rows))
    bias = None if a.bias is None else Recipe("concat", _embed, (a.bias,), (row, rows))
    return ConvMap(replace(g, out_channels=rows, groups=1), weight, bias)


def _regrouped(weight: Recipe, groups: int, coarser: int) -> Recipe:
    return weight if groups == coarser else Recipe("regroup", regroup, (weight,), (groups, coarser))


def _fits(channels: Sequence[int], out_channels: int, groups: int) -> bool:
    """Whether the channels fall into `groups` groups of one size, in order."""
    per, height = len(channels) // groups, out_channels // groups
    return len(channels) % groups == 0 and all(c // height == j // per for j, c in enumerate(channels))


def _embed(rows: Tensor, row: int, out_channels: int) -> Tensor:
    wide = rows.new_zeros(out_channels, *rows.shape[1:])
    wide[row : row + rows.shape[0]] = rows
    return wide


def _rows(values: Tensor, *channels: int) -> Tensor:
    return values[list(channels)]


def _cut(weight: Tensor, rows: tuple[int, int], cols: tuple[int, int], own_groups: int, groups: int) -> Tensor:
    block = regroup(weight[rows[0] : rows[1]], own_groups, groups)
    return block if groups > 1 else block[:, cols[0] : cols[1]]

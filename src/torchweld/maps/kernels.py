"""Arithmetic of kernels, on weights (O, I/g, *k) in float64. The laws say when it may be used; here is only how.

Letters: g groups; O, M, I channels out, between, in; a, b tap positions of the second and the first kernel.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

Steps = tuple[int, ...]


def regroup(
    weight: Tensor,  # (O, I/g, *k)
    groups: int,
    coarser: int,
) -> Tensor:  # (O, I/coarser, *k)
    """The same map with fewer groups: blocks joined, zeros between them."""
    if groups == coarser:
        return weight
    out, per_group, *kernel = weight.shape
    joined = groups // coarser
    blocks = weight.reshape(coarser, joined, out // groups, per_group, -1)
    wide = weight.new_zeros(coarser, joined, out // groups, joined, per_group, blocks.shape[-1])
    for j in range(joined):
        wide[:, j, :, j] = blocks[:, j]
    return wide.reshape(out, joined * per_group, *kernel)


def compose_kernels(
    second: Tensor,  # (O, M/g2, *k2)
    first: Tensor,  # (M, I/g1, *k1)
    groups: tuple[int, int, int],  # g2, g1, g of the result
    size: Steps,  # the result's kernel
    steps: tuple[Steps, Steps],  # taps of the result from one tap of second / first to its next
) -> Tensor:  # (O, I/g, *size)
    """`sum over m, a, b: second[o, m, a] first[m, i, b]` at tap `a * steps[0] + b * steps[1]`."""
    g2, g1, g = groups
    out, between = second.shape[0], first.shape[0]
    if g2 == between == out:  # per channel after anything: scale the rows
        second_blocks, first_blocks = second, first.unsqueeze(0)
        equation = "oz...,zoi...->oi..."
        result_shape: tuple[int, ...] = (out, first.shape[1])
    elif g1 == between == first.shape[1] * g1:  # anything after per channel: scale the columns
        second_blocks, first_blocks = second.unflatten(0, (g2, -1)), first.reshape(g2, -1, *first.shape[2:])
        equation = "gom...,gm...->gom..."
        result_shape = (g2, out // g2, second.shape[1])
    else:
        second_blocks = regroup(second, g2, g).unflatten(0, (g, -1))
        first_blocks = regroup(first, g1, g).unflatten(0, (g, -1))
        equation = "gom...,gmi...->goi..."
        result_shape = (g, out // g, first_blocks.shape[2])
    rank = len(size)
    if 1 in (_count(second.shape[2:]), _count(first.shape[2:])) and size in (second.shape[2:], first.shape[2:]):
        return _at_one_tap(equation, second_blocks, first_blocks, rank).reshape(out, -1, *size)
    result = second.new_zeros(*result_shape, *size)
    k2, k1 = second.shape[2:], first.shape[2:]
    one_by_one, whole = (first_blocks, second_blocks) if _count(k1) <= _count(k2) else (second_blocks, first_blocks)
    loop, kept = (1, 0) if one_by_one is first_blocks else (0, 1)
    whole_kernel = (k2, k1)[kept]
    for tap in product(*map(range, (k2, k1)[loop])):
        single = one_by_one[_at(*tap)]
        pair = (single, whole) if loop == 0 else (whole, single)
        place = tuple(
            slice(t * start, t * start + (k - 1) * step + 1, step)
            for t, start, step, k in zip(tap, steps[loop], steps[kept], whole_kernel, strict=True)
        )
        result[_at(*place)] += _contract(equation, *pair, rank)
    return result.reshape(out, -1, *size)


def _at_one_tap(equation: str, second: Tensor, first: Tensor, rank: int) -> Tensor:
    """The composition where one of the kernels has a single tap: the other's taps stay where they are."""
    dims = (second.ndim - rank, first.ndim - rank)
    if _count(second.shape[dims[0] :]) == 1:
        second = second.reshape(second.shape[: dims[0]])
    else:
        first = first.reshape(first.shape[: dims[1]])
    return _contract(equation, second, first, rank)


def _contract(equation: str, second: Tensor, first: Tensor, rank: int) -> Tensor:
    """einsum where at most one operand still has its tap dimensions, named x, y, z apart from the channels' letters."""
    inputs, output = equation.split("->")
    names = inputs.split(",")
    taps = "XYZ"[:rank]
    dims = [len(n.replace("...", "")) for n in names]
    filled = [
        n.replace("...", taps if operand.ndim > d else "")
        for n, operand, d in zip(names, (second, first), dims, strict=True)
    ]
    tail = taps if any(operand.ndim > d for operand, d in zip((second, first), dims, strict=True)) else ""
    return torch.einsum(f"{filled[0]},{filled[1]}->{output.replace('...', tail)}", second, first)


def _at(*places: Any) -> Any:
    """An index of the last dimensions."""
    return (..., *places)


def _count(kernel: torch.Size) -> int:
    return kernel.numel()


def spread(
    weight: Tensor,  # (O, I/g, *k)
    size: Steps,
    start: Steps,
    step: Steps,
) -> Tensor:  # (O, I/g, *size)
    """The kernel's taps on a larger grid: tap i at `start + i * step`, zeros elsewhere."""
    wide = weight.new_zeros(*weight.shape[:2], *size)
    taps_of(wide, weight, start, step).copy_(weight)
    return wide


def taps_of(wide: Tensor, weight: Tensor, start: Steps, step: Steps) -> Tensor:
    """The part of a larger kernel where the taps of `weight` lie: tap i at `start + i * step`."""
    place = tuple(slice(a, a + (k - 1) * d + 1, d) for a, d, k in zip(start, step, weight.shape[2:], strict=True))
    return wide[_at(*place)]


def through(
    second: Tensor,  # (O, M/g, *k)
    bias: Tensor,  # (M,)
    groups: int,
) -> Tensor:  # (O,)
    """What a constant shift per channel becomes after the map, away from borders."""
    summed = second.flatten(2).sum(2) if second.ndim > 2 else second
    return torch.einsum("gom,gm->go", summed.unflatten(0, (groups, -1)), bias.unflatten(0, (groups, -1))).flatten()

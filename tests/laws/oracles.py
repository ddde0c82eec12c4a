"""What a map is, from its definition: the dense matrix of `y[o, t] = sum_i,a W[o, i, a] x[i, s t + d a - p] + b[o]`.

Letters: O, I channels out and in; k kernel; n, m sizes before and after along an axis. Nothing here calls the laws.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from torchweld.maps import ConvMap, PaddingMode, State


@dataclass(frozen=True)
class Axis:
    """How a map reads along one spatial axis."""

    kernel: int = 1
    stride: int = 1
    near: int = 0
    far: int = 0
    dilation: int = 1
    mode: PaddingMode = "zeros"
    transposed: bool = False
    output_padding: int = 0

    @property
    def extent(self) -> int:
        return 1 + (self.kernel - 1) * self.dilation

    def outputs(self, n: int) -> int:
        if self.transposed:
            return (n - 1) * self.stride - self.near - self.far + self.extent + self.output_padding
        return (n + self.near + self.far - self.extent) // self.stride + 1

    def runs(self, n: int) -> bool:
        """Whether the field's operators accept this size: something comes out, and padding is within their limit."""
        most = {"zeros": None, "replicate": None, "reflect": n - 1, "circular": n}[self.mode]
        padding_fits = most is None or max(self.near, self.far) <= most
        return n >= 1 and padding_fits and self.outputs(n) >= 1

    def positions(self, first: int, last: int) -> Tensor:  # (last - first, k)
        """Where on the input each tap lies, for the outputs first..last, which may be outside the real ones."""
        return torch.arange(first, last)[:, None] * self.stride + torch.arange(self.kernel) * self.dilation - self.near

    def reads(self, n: int) -> Tensor:  # (m, k, n)
        """1 where an output reads an input through a tap."""
        if self.transposed:
            there = torch.arange(n) * self.stride + (torch.arange(self.kernel) * self.dilation)[:, None] - self.near
            return (torch.arange(self.outputs(n))[:, None, None] == there).double()
        q = self.positions(0, self.outputs(n))
        inside = (q >= 0) & (q < n)
        if self.mode == "zeros":
            return one_hot(q.clamp(0, n - 1), n) * inside[..., None].double()
        if self.mode == "reflect":
            q = torch.where(q < 0, -q, torch.where(q >= n, 2 * (n - 1) - q, q))
        elif self.mode == "replicate":
            q = q.clamp(0, n - 1)
        else:
            q = q % n
        return one_hot(q, n).double()


Axes = tuple[Axis, ...]


def dense(
    weight: Tensor,  # (O, I, *k), zeros between groups written out; (O, I) stands for one tap at every position
    bias: Tensor,  # (O,)
    axes: Axes,
    sizes: tuple[int, ...],
) -> tuple[Tensor, Tensor]:  # (O * m, I * n), (O * m,)
    """The matrix of the map on a grid of these sizes, and its constant."""
    rank = len(sizes)
    if not axes:
        axes, weight = (Axis(),) * rank, weight.reshape(*weight.shape, *(1,) * rank)
    equation, operands = "oi" + "abc"[:rank], [weight]
    for axis, n, m_k_n in zip(axes, sizes, ("tax", "uby", "vcz")[:rank], strict=True):
        equation += "," + m_k_n
        operands.append(axis.reads(n))
    tensor = torch.einsum(f"{equation}->o{'tuv'[:rank]}i{'xyz'[:rank]}", *operands)
    rows = tensor.shape[: 1 + rank].numel()
    return tensor.reshape(rows, -1), bias.repeat_interleave(rows // weight.shape[0])


def axes_of(a: ConvMap) -> Axes:
    """How a map of the algebra says it reads."""
    g = a.geometry
    extra = g.output_padding if g.transposed else (0,) * g.rank
    per_axis = zip(g.kernel, g.stride, g.padding, g.dilation, extra, strict=True)
    return tuple(Axis(k, s, p[0], p[1], d, g.padding_mode, g.transposed, o) for k, s, p, d, o in per_axis)


def dense_map(a: ConvMap, state: State, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The matrix and the constant of a map of the algebra, from its weight, its bias and its geometry alone."""
    g, weight, bias = a.geometry, a.weight_in(state), a.bias_in(state)
    assert weight.dtype == torch.float64, weight.dtype
    assert weight.shape == g.weight_shape, (weight.shape, g.weight_shape)
    assert bias is None or bias.shape == (g.out_channels,), bias
    return dense(
        without_groups(weight, g.groups),
        weight.new_zeros(g.out_channels) if bias is None else bias,
        axes_of(a),
        sizes,
    )


def without_groups(weight: Tensor, groups: int) -> Tensor:  # (O, I/g, *k) -> (O, I, *k)
    """Output channel o of group h reads the input channels h I/g .. (h + 1) I/g."""
    out, width = weight.shape[:2]
    wide = weight.new_zeros(out, width * groups, *weight.shape[2:])
    for o in range(out):
        h = o // (out // groups)
        wide[o, h * width : (h + 1) * width] = weight[o]
    return wide


def assert_same(actual: Tensor, expected: Tensor) -> None:
    """Equal to within 4096 roundings of the dtype, measured at the largest expected value."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    assert actual.dtype == expected.dtype, f"{actual.dtype}, not {expected.dtype}"
    assert expected.numel(), "nothing to compare"
    bound = 4096 * torch.finfo(expected.dtype).eps * max(expected.abs().max().item(), 1.0)
    error = (actual - expected).abs().max().item()
    assert error <= bound, f"off by {error:.3g}, allowed {bound:.3g}"


def differ(actual: Tensor, expected: Tensor) -> bool:
    """Whether they differ by far more than rounding, or in shape."""
    if actual.shape != expected.shape:
        return True
    return (actual - expected).abs().max().item() > 1e6 * torch.finfo(expected.dtype).eps


def random_numbers(seed: int, *shape: int) -> Tensor:
    """Float64 numbers of either sign between 0.5 and 1.5 in size, so that none is near zero and no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5
    return torch.where(torch.rand(shape, generator=generator) < 0.5, -size, size)

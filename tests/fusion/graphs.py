"""Networks that nobody wrote: drawn operator by operator, each run once while it is drawn, so that sizes always fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

import torchweld as tw
from torchweld.core import relative_error
from torchweld.fusion import Fused

from .agreement import noise, randomised

Draw = Callable[[st.SearchStrategy[Any]], Any]
BOUND = 1e-10
UNFIT = (RuntimeError, ValueError, IndexError, TypeError)  # what torch says to sizes that do not fit


class Function(nn.Module):
    def __init__(self, name: str, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.name, self.function = name, function

    def forward(self, *xs: Tensor) -> Tensor:
        return self.function(*xs)

    def extra_repr(self) -> str:
        return self.name


class PerChannel(nn.Module):
    """Factors and shifts as parameters, one a channel of an image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factors, self.shifts = (nn.Parameter(torch.randn(channels, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors + self.shifts


class Product(nn.Module):
    """Two matrices of low rank between, as functional code has them."""

    def __init__(self, channels: int, rank: int, out: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(channels, rank)), nn.Parameter(torch.randn(rank, out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a @ self.b


class Drawn(nn.Module):
    """Layers in a row, each with the values it reads; a layer may stand at several places. Gives what nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.steps: list[tuple[int, tuple[int, ...]]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for layer, reads in self.steps:
            values.append(self.layers[layer](*(values[i] for i in reads)))
        read = {i for _, reads in self.steps for i in reads}
        return tuple(v for i, v in enumerate(values) if i not in read)


IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "scale": lambda x: x * 0.7,
    "shift": lambda x: x - 0.3,
    "negate": lambda x: -x,
    "divide": lambda x: x / 1.7,
    "reversed": lambda x: 0.5 - x,
    "double": lambda x: torch.add(x, x, alpha=2),
    "dropout": lambda x: F.dropout(x, 0.3, training=False),
    "there and back": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "flip": lambda x: x.flip(3),
    "square": lambda x: x * x * 0.1,
    "gate": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "centre": lambda x: x - F.adaptive_avg_pool2d(x, 1),
    "max": lambda x: F.max_pool2d(x, 3, 1, 1),
    "larger": lambda x: F.interpolate(x, scale_factor=2),
    "padded": lambda x: F.pad(x, (1, 0, 0, 2)),
    "padded by reflection": lambda x: F.pad(x, (1, 1, 0, 1), "reflect"),
    "pooled": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "averaged": lambda x: x.mean((2, 3)),
    "tokens": lambda x: x.flatten(2).transpose(1, 2),
    "halves": lambda x: torch.cat(list(reversed(x.chunk(2, 1))), 1),
    "every other": lambda x: x[:, ::2],
    "every other pixel": lambda x: x[:, :, ::2, 1::2],
    "channels flipped": lambda x: x.flip(1),
    "rolled": lambda x: x.roll(1, 1).roll(1, 2),
    "repeated": lambda x: x.repeat(1, 2, 1, 1),
    "stacked": lambda x: torch.stack([x, -2 * x, x.sigmoid()], 1).sum(1),
    "plus nothing": lambda x: sum([x, x]) * 1,
    "summed": lambda x: x.sum((2, 3)),
    "narrowed": lambda x: x.narrow(1, 0, 1 + x.shape[1] // 2),
    "flattened": lambda x: F.adaptive_avg_pool2d(x, (2, 1)).flatten(1),
    "flattened, channels last": lambda x: F.adaptive_avg_pool2d(x, (1, 2)).permute(0, 2, 3, 1).flatten(1),
    "shuffle": lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
}
IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu_": lambda x: x.relu_(),
    "mul_": lambda x: x.mul_(0.6),
    "write to a part": lambda x: _written(x),
    "add_": lambda x: x.add_(0.2),
}
FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "scale": lambda x: 1.3 * x,
    "softmax": lambda x: x.softmax(-1),
    "first": lambda x: x[..., : x.shape[-1] // 2 + 1],
    "unit": lambda x: x.unsqueeze(1).squeeze(1),
}
KERNELS = ((1, 0, 1), (3, 1, 1), (3, 1, 1), (3, 2, 2), (2, 1, 1), (1, 1, 1), ((1, 3), (0, 1), 1), ((3, 2), (1, 0), 1))
POOLS = (
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
)


def _written(x: Tensor) -> Tensor:
    x[:, :1] *= 2
    return x + 1


def draw_network(draw: Draw, most: int = 12) -> tuple[Drawn, Tensor]:
    """A network of 3 to `most` operators in float64, and an input for it."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    x = noise(2, draw(st.sampled_from((1, 2, 3, 4))), draw(st.integers(5, 9)), draw(st.integers(5, 9)))
    network, values = Drawn(), [x]
    for _ in range(draw(st.integers(3, most))):
        reads = [len(values) - 1 - min(draw(st.sampled_from((0, 0, 0, 0, 1, 2, 4))), len(values) - 1)]
        if draw(st.integers(0, 9)) == 0 and len(network.layers):
            index = draw(st.integers(0, len(network.layers) - 1))
        else:
            layer, more = _layer(draw, reads[0], values)
            index, reads = len(network.layers), [*reads, *more]
            network.layers.append(randomised(layer, draw(st.integers(0, 99))).double())
        try:
            with torch.no_grad():
                value = network.layers[index](*(values[i].clone() for i in reads))
        except UNFIT:
            continue
        if 0 < value.numel() < 20000 and value.shape[1] <= 12:
            network.steps.append((index, tuple(reads)))
            values.append(value)
    return network.eval(), x


def _layer(draw: Draw, at: int, values: Sequence[Tensor]) -> tuple[nn.Module, list[int]]:
    """A layer for a value, and what else it reads."""
    x = values[at]
    alike = [i for i, v in enumerate(values) if v.shape == x.shape]
    kinds = ["conv", "conv", "norm", "add", "cat", "slice", "pool", "parameters", "function", "function", "in place"]
    others = ["linear", "linear", "add", "features", "layer norm", "matrix"]
    kind = draw(st.sampled_from([*kinds, "group norm"] if x.ndim == 4 else others))
    channels = x.shape[1]
    if kind == "conv":
        return _convolution(draw, channels), []
    if kind == "norm":
        return nn.BatchNorm2d(channels, affine=draw(st.booleans())), []
    if kind == "add":
        sign = draw(st.sampled_from((1, 1, -1)))
        return Function(f"sum {sign}", lambda a, b: a + b if sign > 0 else a - b), [draw(st.sampled_from(alike))]
    if kind == "cat":
        beside = [i for i, v in enumerate(values) if v.ndim == 4 and v.shape[2:] == x.shape[2:]]
        return Function("cat", lambda *xs: torch.cat(xs, 1)), draw(
            st.lists(st.sampled_from(beside), min_size=1, max_size=2)
        )
    if kind == "slice":
        start = draw(st.integers(0, channels - 1))
        stop = draw(st.integers(start + 1, channels))
        return Function(f"slice {start}:{stop}", lambda v: v[:, start:stop]), []
    if kind == "pool":
        own = {"ceil_mode": draw(st.booleans()), "count_include_pad": draw(st.booleans())}
        return nn.AvgPool2d(**draw(st.sampled_from(POOLS)), **own), []
    if kind == "parameters":
        return PerChannel(channels), []
    if kind == "linear":
        return nn.Linear(x.shape[-1], draw(st.integers(1, 5)), draw(st.booleans())), []
    if kind in ("layer norm", "group norm"):
        return _drawn_norm(draw, kind, x), []
    if kind == "matrix":
        return Product(x.shape[-1], draw(st.integers(1, 3)), draw(st.integers(1, 5))), []
    table = {"function": IMAGES, "in place": IN_PLACE, "features": FEATURES}[kind]
    name = draw(st.sampled_from(sorted(table)))
    return Function(name, table[name]), []


def _drawn_norm(draw: Draw, kind: str, x: Tensor) -> nn.Module:
    """A norm with random weights: the tests' randomisation is of running statistics."""
    if kind == "group norm":
        norm: nn.Module = nn.GroupNorm(draw(st.sampled_from([g for g in (1, 2) if x.shape[1] % g == 0])), x.shape[1])
    elif draw(st.booleans()):
        norm = nn.LayerNorm(x.shape[-1], bias=draw(st.booleans()))
    else:
        norm = nn.RMSNorm(x.shape[-1], eps=1e-5)
    for p in norm.parameters():
        nn.init.uniform_(p, -1.5, 1.5)
    return norm


def _convolution(draw: Draw, channels: int) -> nn.Module:
    kernel, padding, dilation = draw(st.sampled_from(KERNELS))
    groups = draw(st.sampled_from([g for g in (1, 1, 2, channels) if channels % g == 0]))
    out = groups * draw(st.integers(1, max(1, 6 // groups)))
    bias = draw(st.booleans())
    if draw(st.integers(0, 9)) == 0:
        return nn.ConvTranspose2d(channels, out, kernel, draw(st.integers(1, 2)), padding, 0, groups, bias, dilation)
    mode = draw(st.sampled_from(("zeros", "zeros", "zeros", "reflect", "replicate", "circular")))
    stride = draw(st.sampled_from((1, 1, 1, 2)))
    return nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias, padding_mode=mode)


def check(network: Drawn, x: Tensor) -> Fused | None:
    """Fuses and compares, at sizes that the original takes; None where capture refuses. Anything else raises."""
    try:
        return _checked(network, x)
    except Exception as error:
        error.add_note(f"input {tuple(x.shape)}, steps {network.steps}\n{network}")
        raise


def _checked(network: Drawn, x: Tensor) -> Fused | None:
    try:
        fused = tw.fuse(network, x)
    except tw.InputError:
        return None
    _, channels, height, width = x.shape
    for other in (x, noise(1, channels, height + 1, width), noise(5, channels, height - 1, width + 4)):
        try:
            with torch.no_grad():
                expected = network(other.clone())
        except UNFIT:
            continue
        try:
            with torch.no_grad():
                actual = fused.module(other.clone())
        except AssertionError:
            assert other is not x, "it runs at least where it was captured"
            continue
        assert len(actual) == len(expected)
        for got, wanted in zip(actual, expected, strict=True):
            assert relative_error(got, wanted) <= BOUND, f"{tuple(other.shape)}: {relative_error(got, wanted):.2g}"
    return fused

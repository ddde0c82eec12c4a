"""Each operator that is read as algebra: what becomes of it, and that the function stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .agreement import noise, weld


class Between(nn.Module):
    """A 1x1 convolution with bias, some function, and another convolution."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 6) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 6, 1), nn.Conv2d(channels, 5, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


SCALED = {
    "scale": lambda x: x * 0.7,
    "scale from the left": lambda x: 0.7 * x,
    "divide": lambda x: x / 3.0,
    "negate": lambda x: -x,
    "shift": lambda x: x + 0.3,
    "subtract": lambda x: x - 0.3,
    "subtract from": lambda x: 0.3 - x,
    "add itself": lambda x: x + x,
    "subtract twice itself": lambda x: torch.sub(x, 2 * x),
    "alpha": lambda x: torch.add(x, 0.5, alpha=3),
    "identity": lambda x: F.dropout(x, training=False),
    "clone": lambda x: x.clone().contiguous(),
    "plus nothing": lambda x: sum([x, x]) * 1,
    "sum of a stack": lambda x: torch.stack([x, 2 * x], 1).sum(1),
    "mean of a stack": lambda x: torch.stack([x, 2 * x, -x]).mean(0),
}


@pytest.mark.parametrize("name", SCALED)
def test_constants_and_views_between_two_convolutions_vanish(name: str) -> None:
    fused = weld(Between(SCALED[name]), noise(2, 4, 9, 7), also=[(noise(1, 4, 5, 8),)])
    assert (fused.report.after.convs, fused.report.after.operators) == (1, 1)


PIECES = {
    "slice": (lambda x: x[:, 1:4], 3),
    "slice with a step": (lambda x: x[:, ::2], 3),
    "chunk": (lambda x: x.chunk(4, 1)[1], 2),
    "unequal split": (lambda x: torch.cat(list(reversed(x.split([1, 2, 3], 1))), 1), 6),
    "shuffle": (lambda x: x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2), 6),
    "halves added": (lambda x: x[:, :3] + x[:, 3:], 3),
    "halves subtracted": (lambda x: x.chunk(2, 1)[0] - x.chunk(2, 1)[1], 3),
    "flip": (lambda x: x.flip(1), 6),
    "select": (lambda x: x.select(1, 2).unsqueeze(1), 1),
    "expand": (lambda x: x[:, :1].expand(-1, 3, -1, -1), 3),
    "roll": (lambda x: x.roll(2, 1), 6),
    "repeat": (lambda x: x.repeat(1, 2, 1, 1), 12),
    "stack": (lambda x: torch.stack([x, -x], 2).flatten(1, 2), 12),
    "permute there and back": (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), 6),
    "reshape there and back": (lambda x: x.reshape(x.shape[0], 2, 3, *x.shape[2:]).reshape(x.shape), 6),
    "index": (lambda x: x[:, [3, 1, 1]], 3),
    "axes moved there and back": (lambda x: x.movedim(1, -1).swapaxes(1, 2).swapaxes(1, 2).movedim(-1, 1), 6),
    "narrow": (lambda x: x.narrow(1, 2, 3), 3),
    "roll and flip a view": (lambda x: x.roll(1, 2).flip(3, 2).roll(-1, 1), 6),
    "larger": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), 6),
}
CHOICES = ("slice", "slice with a step", "chunk", "shuffle", "flip", "roll", "repeat", "expand", "narrow")


@pytest.mark.parametrize("name", PIECES)
def test_channels_are_picked_moved_and_joined(name: str) -> None:
    function, channels = PIECES[name]
    weld(Between(function, channels), noise(2, 4, 9, 7), also=[(noise(1, 4, 5, 8),)])


@pytest.mark.parametrize("name", CHOICES)
def test_choices_of_channels_vanish_into_the_convolutions(name: str) -> None:
    function, channels = PIECES[name]
    fused = weld(Between(function, channels), noise(2, 4, 9, 7))
    assert (fused.report.after.convs, fused.report.after.operators) == (1, 1)


def test_a_sum_over_positions_passes_without_a_shift_only() -> None:
    class Summed(nn.Module):
        def __init__(self, bias: bool) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(4, 64, 1, bias=bias), nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).sum((2, 3)))

    assert weld(Summed(bias=False), noise(2, 4, 9, 7), also=[(noise(1, 4, 5, 8),)]).report.after.convs == 0
    kept = weld(Summed(bias=True), noise(2, 4, 9, 7), also=[(noise(1, 4, 5, 8),)])
    assert any("constant shift" in d.reason for d in kept.report.refusals)


POOLS = {
    "plain": nn.AvgPool2d(2),
    "overlapping": nn.AvgPool2d(3, 2),
    "padding counted": nn.AvgPool2d(3, 2, 1),
    "padding not counted": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "ceil": nn.AvgPool2d(2, ceil_mode=True),
    "ceil, padding counted": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "own divisor": nn.AvgPool2d(3, 2, 1, divisor_override=5),
    "not square": nn.AvgPool2d((1, 3), (2, 1), (0, 1)),
    "adaptive": nn.AdaptiveAvgPool2d((3, 2)),
    "to one": nn.AdaptiveAvgPool2d(1),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("before", [True, False])
def test_average_pooling_beside_a_biased_convolution(name: str, before: bool) -> None:
    conv = nn.Conv2d(4, 5, 1)
    model = nn.Sequential(conv, POOLS[name]) if before else nn.Sequential(POOLS[name], conv, nn.BatchNorm2d(5))
    weld(model, noise(2, 4, 9, 8), also=[(noise(1, 4, 6, 11),), (noise(5, 4, 7, 7),)])


@pytest.mark.parametrize("name", [n for n in POOLS if n not in ("adaptive", "to one")])
def test_average_pooling_among_branches(name: str) -> None:
    class Inception(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.after = POOLS[name], nn.Conv2d(4, 3, 1)
            self.beside = nn.Sequential(nn.Conv2d(4, 3, 1), POOLS[name])

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.after(self.pool(x)), self.beside(x), self.pool(x)], 1)

    weld(Inception(), noise(2, 4, 9, 8), also=[(noise(1, 4, 6, 11),)])


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("affine", [True, False])
def test_transposed_and_plain_convolutions_of_every_rank(rank: int, affine: bool) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
    norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[rank - 1]
    model = nn.Sequential(
        conv(4, 6, 3, padding=1),
        norm(6, affine=affine),
        nn.ReLU(),
        transposed(6, 4, 3, 2, 1, 1, groups=2),
        norm(4, affine=affine),
        nn.ReLU(),
        conv(4, 4, 1, groups=4),
        norm(4, affine=affine),
    )
    sizes = (7, 4, 5)[:rank]
    fused = weld(model, noise(2, 4, *sizes), also=[(noise(1, 4, *reversed(sizes)),)])
    assert fused.report.after.norms == 1, "the last, a norm of its own"
    assert fused.report.after.convs == 2


def test_norms_without_running_statistics_stay() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, track_running_stats=False))
    fused = weld(model, noise(2, 4, 9, 7), also=[(noise(3, 4, 5, 8),)])
    assert (fused.report.after.convs, fused.report.after.norms) == (1, 1)
    other = nn.Sequential(nn.Conv2d(4, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.GroupNorm(3, 6), nn.LayerNorm(7))
    weld(other, noise(2, 4, 9, 9))


def test_linear_layers_and_their_norms() -> None:
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)
    )
    fused = weld(model, noise(4, 6), also=[(noise(7, 6),), (noise(1, 6),)])
    assert (fused.report.after.linears, fused.report.after.norms) == (2, 0)
    tokens = weld(nn.Sequential(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 5)), noise(2, 7, 6))
    assert tokens.report.after.operators == 1


class PerChannel(nn.Module):
    """Layer scale and shift, as parameters of shapes that broadcast."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3)
        self.scale, self.shift = (nn.Parameter(noise(*shape, seed=s)) for s in (3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv(x) - self.shift) * self.scale / (self.scale.abs() + 1) + torch.exp(self.shift)


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1), (1,), (1, 1, 1, 1)])
def test_per_channel_parameters_are_taken_in(shape: tuple[int, ...]) -> None:
    fused = weld(PerChannel(*shape), noise(2, 4, 9, 7), also=[(noise(1, 4, 5, 8),)])
    assert fused.report.after.operators == 1


@pytest.mark.parametrize("shape", [(7,), (6, 1, 5), (1, 1, 7, 5)])
def test_constants_that_vary_over_positions_stay(shape: tuple[int, ...]) -> None:
    fused = weld(
        PerChannel(*(5 if s == 7 else s for s in shape)) if len(shape) == 1 else PerChannel(*shape), noise(2, 4, 9, 7)
    )
    assert fused.report.after.operators > 1


def test_constants_that_broadcast_the_value_itself_stay() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 1, 3)
            self.scale = nn.Parameter(noise(6, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) * self.scale + self.scale

    weld(Outer(), noise(2, 4, 9, 7), also=[(noise(1, 4, 5, 8),)])


def test_integers_and_mixed_dtypes_are_left_alone() -> None:
    class Counting(nn.Module):
        def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return (n + 2) * 3 - n // 2, x * n + n, (x + 1).to(torch.float32) * 2 + x

    n = torch.arange(6).reshape(2, 3)
    weld(Counting(), noise(2, 3), n, also=[(noise(4, 3), torch.arange(12).reshape(4, 3))])


class TwoSums(nn.Module):
    """A norm's output in two sums: neither may write over it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        twice = torch.cat([x, x], 1) * 0.7
        y = self.norm(twice)
        return y + twice + twice, (twice * 0.7 + twice) + y


def test_a_value_in_two_sums_is_written_over_by_neither() -> None:
    weld(TwoSums(), noise(2, 4, 5, 6))


def test_a_sum_writes_over_what_nobody_else_reads() -> None:
    fused = weld(
        nn.Sequential(Residual(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))), noise(2, 4, 5, 6)
    )
    assert torch.ops.aten.add_.Tensor in {n.target for n in fused.module.graph.nodes}


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


MAYBE_THE_INPUT: dict[str, Callable[[Tensor], Tensor]] = {  # each may return the very memory that it was given
    "dropout": lambda x: F.dropout(x, 0.3, False),
    "contiguous": lambda x: x.contiguous(),
    "to": lambda x: x.to(torch.float32),
    "clone": lambda x: x.clone(),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "flatten, unflatten": lambda x: x.flatten(1).unflatten(1, (4, 6, 7)),
    "permute and back": lambda x: x.permute(0, 1, 3, 2).permute(0, 1, 3, 2),
    "pad by nothing": lambda x: F.pad(x, (0, 0, 0, 0)),
    "pool by one": lambda x: F.avg_pool2d(x, 1),
    "slice of all": lambda x: x[:, 0:4],
    "narrow to all": lambda x: x.narrow(1, 0, 4),
    "times 1": lambda x: x * 1,
    "plus 0": lambda x: x + 0,
    "chunk": lambda x: torch.cat([x, x], 1).chunk(2, 1)[0],
    "scale by one": lambda x: F.interpolate(x, scale_factor=1),
}


class SumBeside(nn.Module):
    """`way(x)` and a convolution of x, added with either as the first."""

    def __init__(self, way: Callable[[Tensor], Tensor], first: bool) -> None:
        super().__init__()
        self.way, self.first, self.conv = way, first, nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        kept, made = self.way(x), torch.sigmoid(self.conv(x))
        return kept + made if self.first else made + kept


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("way", MAYBE_THE_INPUT.values(), ids=MAYBE_THE_INPUT)
def test_no_sum_writes_over_the_input(way: Callable[[Tensor], Tensor], first: bool) -> None:
    x = noise(2, 4, 6, 7)
    kept = x.clone()
    fused = weld(SumBeside(way, first), x)
    fused(x)
    assert torch.equal(x, kept)

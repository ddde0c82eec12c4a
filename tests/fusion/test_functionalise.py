"""In-place operators: made functional where nobody else sees the memory, else left as they were."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchweld as tw

from .agreement import noise, weld


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1)


class Chain(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        y += self.conv(x)
        y.mul_(2).sub_(0.5)
        y /= 3
        return self.last(F.dropout(y, inplace=True, training=False))


def test_a_chain_of_in_place_arithmetic_is_one_convolution() -> None:
    fused = weld(Chain(), noise(2, 4, 7, 6), also=[(noise(1, 4, 5, 5),)])
    assert (fused.report.after.operators, fused.report.after.convs) == (1, 1)


class ReadBefore(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        first = y * 2
        y.relu_()
        return self.last(y + first)


class ReadThroughAView(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        view = y.flatten(2)
        y.mul_(3)
        return self.last(y) + view.sum(2)[:, :4, None, None]


class WrittenThroughAView(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        y[:, 2:4].mul_(-2)
        y[:, :, 0] = 0.5
        return self.last(y)


class WrittenThroughAPart(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        a, b = y.chunk(2, 1)
        a += b
        return self.last(self.norm(y))


class WrittenThroughATranspose(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y.transpose(2, 3)[:, :, 1:].add_(1)
        return self.last(self.norm(y))


class WritesItsInput(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        before = self.conv(x)
        x.mul_(2).add_(1)
        return self.last(self.norm(self.conv(x))) + self.last(before)


class WritesAPartOfItsInput(InPlace):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x[:, 1] = -x[:, 0]
        return self.last(self.norm(self.conv(x))), x


class WritesItsResult(InPlace):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norm(self.conv(x))
        z = self.last(y)
        y.add_(z[:, :1])
        return y, z.relu_()


class FilledFromNothing(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, 1:3] = x[:, :2]
        y[:, 3] += 0.25
        return self.last(self.norm(self.conv(y)))


class ReluInPlace(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = F.relu(y, inplace=True)
        return self.last(self.norm(y) + z)


class Copied(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        kept = y.clone()
        y.copy_(kept.flip(3))
        return self.last(y - kept)


@pytest.mark.parametrize(
    "kind",
    [
        ReadBefore,
        ReadThroughAView,
        WrittenThroughAView,
        WrittenThroughAPart,
        WrittenThroughATranspose,
        WritesItsInput,
        WritesAPartOfItsInput,
        WritesItsResult,
        FilledFromNothing,
        ReluInPlace,
        Copied,
    ],
)
def test_shared_memory_is_respected(kind: type[InPlace]) -> None:
    weld(kind(), noise(2, 4, 7, 6), also=[(noise(1, 4, 5, 5),), (noise(3, 4, 4, 9),)])


def test_fused_activations_never_write_over_what_others_read() -> None:
    class Residual(InPlace):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            y = self.norm(self.conv(x))
            a, b = torch.relu(y), F.leaky_relu(-y, 0.1)
            c = torch.relu(x)
            return self.last(a + b), y, self.last(torch.relu(self.conv(c))) + c

    x = noise(2, 4, 7, 6)
    fused = weld(Residual(), x)
    kept = x.clone()
    fused(x)
    assert torch.equal(x, kept)


def test_a_model_that_counts_its_own_calls_is_refused() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return self.conv(x) * self.seen

    with pytest.raises((tw.CheckFailed, tw.InputError)):
        tw.fuse(Counter().double().eval(), noise(2, 4, 3, 3))

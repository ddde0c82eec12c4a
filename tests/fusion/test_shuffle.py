"""A channel shuffle is a choice of channels, whatever views write it; and models that remember are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchweld.core import InputError, relative_error
from torchweld.fusion import fuse


def by_view(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def by_unflatten(x: Tensor) -> Tensor:
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def by_permute(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.reshape(b, 3, c // 3, h, w).permute(0, 2, 1, 3, 4).contiguous().view(b, -1, h, w)


class Shuffled(nn.Module):
    def __init__(self, shuffle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.second, self.shuffle = nn.Conv2d(6, 5, 1), shuffle

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.shuffle(self.norm(self.first(x)))).relu()


@pytest.mark.parametrize("shuffle", [by_view, by_unflatten, by_permute])
def test_a_shuffle_between_convolutions_vanishes(shuffle: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = Shuffled(shuffle).eval()
    nn.init.uniform_(model.norm.running_var, 0.5, 2)
    nn.init.normal_(model.norm.running_mean)
    x = torch.randn(2, 4, 8, 11)
    fused = fuse(model, x)
    assert (fused.report.after.convs, fused.report.after.norms, fused.report.after.operators) == (1, 0, 2)
    for size in ((1, 4, 5, 9), (3, 4, 12, 7)):
        y = torch.randn(size)
        assert relative_error(fused(y), model(y)) < 1e-5


def test_views_that_move_positions_are_no_shuffle() -> None:
    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            b, c, h, w = x.shape
            return self.conv(self.conv(x).view(b, 2, c * h * w // 2).transpose(1, 2).reshape(b, c, h, w))

    torch.manual_seed(0)
    model, x = Moved().eval(), torch.randn(2, 4, 4, 6)
    fused = fuse(model, x)
    assert fused.report.after.convs == 2
    assert relative_error(fused(x), model(x)) < 1e-5


def test_a_model_that_writes_its_buffer_is_refused_and_left_as_it_was() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return self.conv(x)

    model = Counting().eval()
    with pytest.raises(InputError, match="writes its buffer 'seen' each time"):
        fuse(model, torch.randn(1, 2, 3, 3))
    assert model.seen.item() == 0


def test_a_model_that_fills_a_cache_once_is_welded_and_its_buffer_put_back() -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
            self.register_buffer("grid", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            if self.grid.shape[0] != x.shape[3]:
                self.grid = torch.arange(x.shape[3], dtype=x.dtype, device=x.device)
            return self.norm(self.conv(x)) * self.grid

    model, x = Cached().eval(), torch.randn(2, 2, 3, 5)
    fused = fuse(model, x)
    assert torch.equal(model.grid, torch.zeros(1))
    assert fused.report.after.norms == 0
    assert relative_error(fused(x), model(x)) < 1e-5

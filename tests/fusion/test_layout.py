"""A map is applied where its operand lies in memory as the module reads it, and where no more is copied than before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import torchweld as tw


class Between(nn.Module):
    """Tokens (B, N, C) through a 1x1 convolution, by way of an image and back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        image = x.permute(0, 2, 1).unflatten(2, (4, 4))
        return self.conv(image).flatten(2).permute(0, 2, 1).sin()


class Windows(nn.Module):
    """Windows (B, 4 * 4, 3 * 3, C) put together to an image, of which a wider convolution and a sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.wider = nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 32, 1, bias=False), nn.BatchNorm2d(32), nn.GELU())
        self.back = nn.Conv2d(32, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        image = x.sin().reshape(-1, 4, 4, 3, 3, 8).permute(0, 5, 1, 3, 2, 4).reshape(-1, 8, 12, 12)
        return image + self.back(self.wider(image))


def kinds(fused: tw.Fused) -> set[type[nn.Module]]:
    return {type(m) for m in fused.module.modules()} & {nn.Conv2d, nn.Linear}


def test_a_convolution_on_tokens_is_a_linear() -> None:
    torch.manual_seed(0)
    assert kinds(tw.fuse(Between().eval(), (torch.randn(2, 16, 8),))) == {nn.Linear}


def test_a_convolution_stays_behind_a_copy_of_fewer_channels() -> None:
    torch.manual_seed(0)
    fused = tw.fuse(Windows().eval(), (torch.randn(2, 16, 9, 8),))
    assert kinds(fused) == {nn.Conv2d}
    assert sum(p.ndim == 1 for p in fused.module.parameters()) == 2  # biases; both norms are welded

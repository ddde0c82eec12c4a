"""Residual networks for small images, and for CPUs: few, wide stages, so that most of the work is in large products.

Basic blocks as in He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.2, one or two a stage, each stage halving
the image; a stem that keeps its size (`compact_...`), or halves it first (`compact_..._s2`, for larger images).
Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from torchweld.layers import BasicBlock
from torchweld.models.images import check_counts, check_image


@dataclass(frozen=True)
class Size:
    """`stem` channels after the first convolution; `widths[i]` channels and `depths[i]` blocks in stage i."""

    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    strides: tuple[int, ...]  # of the stem, then of each stage's first block


SIZES = {
    "compact_small": Size(32, (64, 128, 256), (1, 1, 1), (1, 2, 2, 2)),  # 1.2M parameters, 37M products at 28x28
    "compact_medium": Size(48, (96, 192, 384), (2, 2, 1), (1, 2, 2, 2)),
    "compact_small_s2": Size(32, (64, 128, 256), (1, 1, 1), (2, 2, 2, 2)),
    "compact_medium_s2": Size(48, (96, 192, 384), (1, 2, 2), (2, 2, 2, 2)),
}


class CompactNet(nn.Module):
    """A stem, stages of basic blocks, the mean over the image, one linear layer.

    >>> import torch
    >>> net = CompactNet(SIZES["compact_small"], classes=10, channels=1)
    >>> net(torch.randn(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, size: Size, classes: int, channels: int) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels)
        self.channels, self._reduction = channels, math.prod(size.strides)
        stem = nn.Conv2d(channels, size.stem, 3, size.strides[0], 1, bias=False)
        stages: list[nn.Module] = [nn.Sequential(stem, nn.BatchNorm2d(size.stem), nn.ReLU())]
        width_in = size.stem
        for width, depth, stride in zip(size.widths, size.depths, size.strides[1:], strict=True):
            stages.append(nn.Sequential(*(BasicBlock(width if i else width_in, width, 1 if i else stride)
                                          for i in range(depth))))  # fmt: skip
            width_in = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "compact", self.channels, 1, self._reduction if self.training else None)
        return self.head(self.stages(x).mean((2, 3)))


def compact(name: str, classes: int, channels: int) -> CompactNet:
    """The network of a size in `SIZES`. Raises `InputError` for less than one class or channel."""
    return CompactNet(SIZES[name], classes, channels)

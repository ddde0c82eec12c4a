"""A residual network of native residual blocks for images of any size, in the manner of RepVGG (Ding et al. 2021).

Each stage begins with a strided block, which halves the image; the others keep it. After welding, every block is one
convolution and a ReLU, and the whole network a plain chain of them.

Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from torchweld.layers import ResidualBlock
from torchweld.models.images import check_counts, check_image


@dataclass(frozen=True)
class Size:
    """`widths[i]` channels and `depths[i]` blocks in stage i; `strides[i]` of its first block."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    strides: tuple[int, ...]


SIZES = {
    "branched_nano": Size((16, 32, 64), (1, 1, 1), (1, 2, 2)),  # images from 8x8
    "branched_tiny": Size((24, 48, 96), (2, 2, 1), (1, 2, 2)),
    "branched_small": Size((32, 64, 128, 256), (2, 2, 4, 1), (1, 2, 2, 2)),  # images from 32x32
    "branched_a0": Size((48, 48, 96, 192, 1280), (1, 2, 4, 14, 1), (2, 2, 2, 2, 2)),  # images of 224x224: RepVGG-A0
}


class BranchedNet(nn.Module):
    """Stages of branched blocks with a ReLU after each, the mean over the image, one linear layer.

    >>> import torch
    >>> net = BranchedNet(SIZES["branched_nano"], classes=10, channels=1)
    >>> net(torch.randn(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """

    def __init__(self, size: Size, classes: int, channels: int) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels)
        self.channels, self._reduction = channels, math.prod(size.strides)
        stages = []
        for width, depth, stride in zip(size.widths, size.depths, size.strides, strict=True):
            blocks: list[nn.Module] = []
            for i in range(depth):
                blocks.append(ResidualBlock(channels, width, stride=1 if i else stride, padding=1, norm=True))
                blocks.append(nn.ReLU())
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "branched", self.channels, 1, self._reduction if self.training else None)
        return self.head(self.stages(x).mean((2, 3)))


def branched(name: str, classes: int, channels: int) -> BranchedNet:
    """The branched network of a size in `SIZES`. Raises `InputError` for less than one class or channel."""
    return BranchedNet(SIZES[name], classes, channels)

"""DenseNet-121 with torchvision's keys and shapes, and the notes' DenseNet for one channel.

Source: Huang et al. 2017, https://arxiv.org/abs/1608.06993, table 1. The notes' form: a stem of 64 channels, 4 blocks
of 4 layers, growth 32, no bottlenecks, transitions that halve channels and image; for 96x96 images.
Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.layers import DenseBlock, Transition
from torchweld.models.images import check_counts, check_image

SMALLEST = 29  # the stem rounds halves up, the three transitions down


@dataclass(frozen=True)
class Size:
    """Layers of each block, growth rate, channels of the stem, width of a bottleneck in growth rates (0: none)."""

    depths: tuple[int, int, int, int]
    growth: int = 32
    stem: int = 64
    bottleneck: int = 4
    stem_bias: bool = False


SIZES = {
    "densenet121": Size((6, 12, 24, 16)),
    "densenet_notes": Size((4, 4, 4, 4), bottleneck=0, stem_bias=True),
}


class DenseNet(nn.Module):
    """A densely connected network for images of 29x29 pixels or more; 224x224 in the paper, 96x96 in the notes.

    `rate`: dropout in each dense layer. Raises `InputError` for smaller images, and in training for one image that is
    a single pixel at the end.

    >>> net = DenseNet(SIZES["densenet_notes"], classes=10, channels=1)
    >>> net(torch.randn(2, 1, 33, 40)).shape, net.classifier.in_features
    (torch.Size([2, 10]), 248)
    """

    def __init__(self, size: Size, classes: int, channels: int = 3, rate: float = 0.0) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels)
        self.channels = channels
        parts: list[tuple[str, nn.Module]] = [
            ("conv0", nn.Conv2d(channels, size.stem, 7, 2, 3, bias=size.stem_bias)),
            ("norm0", nn.BatchNorm2d(size.stem)),
            ("relu0", nn.ReLU()),
            ("pool0", nn.MaxPool2d(3, 2, 1)),
        ]
        width = size.stem
        for i, depth in enumerate(size.depths, start=1):
            block = DenseBlock(depth, width, size.growth, size.bottleneck, rate)
            parts.append((f"denseblock{i}", block))
            width = block.channels_out
            if i < len(size.depths):
                parts.append((f"transition{i}", Transition(width, width // 2)))
                width //= 2
        parts.append(("norm5", nn.BatchNorm2d(width)))
        self.features = nn.Sequential(OrderedDict(parts))
        self.classifier = nn.Linear(width, classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def stages(self) -> tuple[nn.Module, ...]:
        """The network up to each halving of the image, for an encoder: a transition opens the next stage."""
        named = dict(self.features.named_children())
        stem = nn.Sequential(*(named[name] for name in ("conv0", "norm0", "relu0")))
        rest = [nn.Sequential(named[f"transition{i}"], named[f"denseblock{i + 1}"]) for i in (1, 2)]
        last = nn.Sequential(named["transition3"], named["denseblock4"], named["norm5"], nn.ReLU())
        return stem, nn.Sequential(named["pool0"], named["denseblock1"]), *rest, last

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        # 60 pixels are 15 behind the stem, and 1 behind three halvings that round down.
        check_image(x, "densenet", self.channels, SMALLEST, 60 if self.training else None)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(F.relu(self.features(x)), 1), 1))


def densenet(name: str, classes: int, channels: int) -> DenseNet:
    """The DenseNet of a name in `SIZES`."""
    return DenseNet(SIZES[name], classes, channels)

"""DenseNet's parts: layers whose outputs are appended to their inputs, and transitions that halve.

A dense block of L layers with growth rate k turns `k0` channels into `k0 + k L`; layer l reads `k0 + k (l - 1)`.
Modules are named as in torchvision, so that weights can be exchanged. Source: Huang et al. 2017,
https://arxiv.org/abs/1608.06993.

Shapes: B batch, C channels in, k growth, O channels out, H and W the image.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError


class DenseLayer(nn.Module):
    """BN, ReLU, 3x3 convolution to `growth` channels; with a bottleneck, BN, ReLU, 1x1 to `bottleneck * growth` first.

    The result holds the new channels only. `rate`: dropout behind the last convolution.

    >>> DenseLayer(8, growth=4, bottleneck=4)(torch.randn(1, 8, 5, 7)).shape
    torch.Size([1, 4, 5, 7])
    """

    def __init__(self, channels: int, growth: int, bottleneck: int = 0, rate: float = 0.0) -> None:
        super().__init__()
        if min(channels, growth) < 1 or bottleneck < 0:
            raise InputError(f"channels={channels}, growth={growth}, bottleneck={bottleneck}: they must be positive")
        self.rate, self.narrow = rate, bottleneck > 0
        self.norm1 = nn.BatchNorm2d(channels)
        if self.narrow:
            self.conv1 = nn.Conv2d(channels, bottleneck * growth, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(bottleneck * growth)
            self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, k, H, W)
        y = self.conv1(F.relu(self.norm1(x)))
        if self.narrow:
            y = self.conv2(F.relu(self.norm2(y)))
        return F.dropout(y, self.rate, self.training) if self.rate else y


class DenseBlock(nn.ModuleDict):
    """`layers` dense layers, each reading the input and all earlier results, concatenated along channels.

    `channels_out` is `channels + layers * growth`.

    >>> block = DenseBlock(layers=4, channels=64, growth=32)
    >>> block(torch.randn(1, 64, 5, 7)).shape, block.channels_out
    (torch.Size([1, 192, 5, 7]), 192)
    """

    def __init__(self, layers: int, channels: int, growth: int, bottleneck: int = 0, rate: float = 0.0) -> None:
        super().__init__()
        for i in range(layers):
            self[f"denselayer{i + 1}"] = DenseLayer(channels + i * growth, growth, bottleneck, rate)
        self.channels_out = channels + layers * growth

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, C + L k, H, W)
        for layer in self.values():
            x = torch.cat((x, layer(x)), 1)
        return x


class Transition(nn.Sequential):
    """BN, ReLU, 1x1 convolution, 2x2 average pooling at stride 2: fewer channels, half the image.

    >>> Transition(64, 32)(torch.randn(1, 64, 8, 9)).shape
    torch.Size([1, 32, 4, 4])
    """

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, channels_out, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, O, H // 2, W // 2)
        return cast(Tensor, super().forward(x))

"""ResNet-18, -34 and -50 with torchvision's keys and shapes, and the notes' ResNet-18 for one channel.

Source: He et al. 2015, https://arxiv.org/abs/1512.03385, table 1. The notes' form is the same network as one chain of
stages for 96x96 images; the stem's convolution has a bias there.
Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchweld.layers import BasicBlock, Bottleneck
from torchweld.models.images import check_counts, check_image

WIDTHS = (64, 128, 256, 512)
_REDUCTION = 32


@dataclass(frozen=True)
class Size:
    """The kind of block and how many of them in each of the four stages."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]


SIZES = {
    "resnet18": Size(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Size(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Size(Bottleneck, (3, 4, 6, 3)),
}


class ResNet(nn.Module):
    """A residual network for images of any size; 224x224 in the paper.

    Raises `InputError` for another number of channels, and in training for one image of 32x32 or less, whose last
    batch norm would see one value.

    >>> ResNet(SIZES["resnet18"], classes=10, channels=1)(torch.randn(2, 1, 33, 40)).shape
    torch.Size([2, 10])
    """

    def __init__(self, size: Size, classes: int, channels: int = 3) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels)
        self.channels = channels
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width_in = 64
        for i, (width, depth) in enumerate(zip(WIDTHS, size.depths, strict=True)):
            self.add_module(f"layer{i + 1}", stage(size.block, width_in, width, depth, stride=2 if i else 1))
            width_in = width * size.block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width_in, classes)
        _initialise(self)

    def stages(self) -> tuple[nn.Module, ...]:
        """The network up to each halving of the image, for an encoder."""
        stem, first = nn.Sequential(self.conv1, self.bn1, self.relu), self.get_submodule("layer1")
        return stem, nn.Sequential(self.maxpool, first), *(self.get_submodule(f"layer{i}") for i in (2, 3, 4))

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "resnet", self.channels, 1, _REDUCTION if self.training else None)
        for part in self.stages():
            x = part(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class NotesResNet(nn.Sequential):
    """The notes' ResNet-18 as they print it: stem, four stages, the mean, one linear layer; 1x96x96 images, 10 classes.

    >>> net = NotesResNet().eval()
    >>> x = torch.randn(1, 1, 96, 96)
    >>> for part in list(net.children())[:7]:
    ...     x = part(x)
    >>> x.shape
    torch.Size([1, 256, 6, 6])
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        check_counts(classes=classes, channels=channels)
        parts: list[tuple[str, nn.Module]] = [
            ("conv1", nn.Conv2d(channels, 64, 7, 2, 3)),
            ("bn1", nn.BatchNorm2d(64)),
            ("relu", nn.ReLU()),
            ("maxpool", nn.MaxPool2d(3, 2, 1)),
        ]
        for i, (width_in, width) in enumerate(zip((64, *WIDTHS), WIDTHS, strict=False)):
            parts.append((f"resnet_block{i + 1}", stage(BasicBlock, width_in, width, 2, stride=2 if i else 1)))
        parts += [
            ("global_avg_pool", nn.AdaptiveAvgPool2d(1)),
            ("flatten", nn.Flatten()),
            ("fc", nn.Linear(512, classes)),
        ]
        super().__init__(OrderedDict(parts))
        self.channels = channels
        _initialise(self)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "resnet18_notes", self.channels, 1, _REDUCTION if self.training else None)
        return super().forward(x)


def stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, depth: int, stride: int
) -> nn.Sequential:
    """`depth` blocks of one width, the first of them with the stride.

    >>> len(stage(BasicBlock, 64, 128, depth=2, stride=2))
    2
    """
    blocks: list[nn.Module] = [block(channels, width, stride)]
    blocks += [block(width * block.expansion, width) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def resnet(name: str, classes: int, channels: int) -> nn.Module:
    """The ResNet of a name in `SIZES`, or `resnet18_notes`."""
    if name == "resnet18_notes":
        return NotesResNet(classes, channels)
    return ResNet(SIZES[name], classes, channels)


def _initialise(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

"""VGG: runs of 3x3 convolutions, each run ended by 2x2 pooling. Keys and shapes are torchvision's.

Two 3x3 convolutions see what one 5x5 sees, three what one 7x7 sees, with fewer weights and more ReLUs. Source:
Simonyan & Zisserman 2014, https://arxiv.org/abs/1409.1556, table 1 (A, B, D, E).
Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchweld.models.images import check_counts, check_image

WIDTHS = (64, 128, 256, 512, 512)
RUNS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
NAMES = tuple(f"{name}{norm}" for name in RUNS for norm in ("", "_bn"))
SMALLEST = 32


class VGG(nn.Module):
    """A VGG of the given runs for images of 32x32 pixels or more; 224x224 in the paper.

    `norm`: batch norm between convolution and ReLU. `hidden`: width of the two dense layers. `rate`: their dropout.
    Raises `InputError` for smaller images.

    >>> VGG(RUNS["vgg11"], classes=10, channels=1, hidden=16)(torch.randn(1, 1, 33, 40)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        runs: tuple[int, ...],
        classes: int,
        channels: int = 3,
        norm: bool = False,
        hidden: int = 4096,
        rate: float = 0.5,
    ) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels, hidden=hidden)
        self.channels, self.norm = channels, norm
        parts: list[nn.Module] = []
        for width, run in zip(WIDTHS, runs, strict=True):
            for _ in range(run):
                parts += [
                    nn.Conv2d(channels, width, 3, padding=1),
                    *([nn.BatchNorm2d(width)] if norm else []),
                    nn.ReLU(),
                ]
                channels = width
            parts.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*parts)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, hidden),
            nn.ReLU(),
            nn.Dropout(rate),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(rate),
            nn.Linear(hidden, classes),
        )

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "vgg", self.channels, SMALLEST)
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg(name: str, classes: int, channels: int) -> VGG:
    """The VGG of a name in `NAMES`."""
    base, _, norm = name.partition("_")
    return VGG(RUNS[base], classes, channels, norm == "bn")

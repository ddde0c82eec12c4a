"""AlexNet: five convolutions, then dense layers with dropout. Keys and shapes are torchvision's.

Sources: Krizhevsky, Sutskever & Hinton 2012; the single-column form of Krizhevsky 2014,
https://arxiv.org/abs/1404.5997. Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchweld.models.images import check_counts, check_image

SMALLEST = 63  # three 3x3 poolings at stride 2 behind an 11x11 convolution at stride 4


class AlexNet(nn.Module):
    """AlexNet for images of 63x63 pixels or more; 224x224 in the paper.

    `hidden`: width of the two dense layers. `rate`: their dropout. Raises `InputError` for smaller images.

    >>> AlexNet(classes=10, channels=1, hidden=32)(torch.randn(1, 1, 64, 71)).shape
    torch.Size([1, 10])
    """

    def __init__(self, classes: int, channels: int = 3, hidden: int = 4096, rate: float = 0.5) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels, hidden=hidden)
        self.channels = channels
        self.features = nn.Sequential(
            nn.Conv2d(channels, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(rate),
            nn.Linear(256 * 6 * 6, hidden),
            nn.ReLU(),
            nn.Dropout(rate),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "alexnet", self.channels, SMALLEST)
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def alexnet(name: str, classes: int, channels: int) -> AlexNet:
    """AlexNet by its name in the table of models."""
    return AlexNet(classes, channels)

"""LeNet with batch norm, in the notes' form: after every layer but the last, before its sigmoid.

Sources: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", for the layers; Ioffe & Szegedy
2015 for the norms. Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from torchweld.models.images import ShapeError, check_counts, check_image

SMALLEST = 16


class LeNet(nn.Sequential):
    """LeNet for images of 16x16 pixels or more; at 28x28 its adaptive pooling is the identity.

    Raises `InputError` for smaller images, and in training for a batch of one, which the dense norms cannot use.

    >>> import torch
    >>> LeNet()(torch.randn(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        check_counts(classes=classes, channels=channels)
        super().__init__(
            nn.Conv2d(channels, 6, 5),
            nn.BatchNorm2d(6),
            nn.Sigmoid(),
            nn.AvgPool2d(2, 2),
            nn.Conv2d(6, 16, 5),
            nn.BatchNorm2d(16),
            nn.Sigmoid(),
            nn.AvgPool2d(2, 2),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(256, 120),
            nn.BatchNorm1d(120),
            nn.Sigmoid(),
            nn.Linear(120, 84),
            nn.BatchNorm1d(84),
            nn.Sigmoid(),
            nn.Linear(84, classes),
        )
        self.channels = channels

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "lenet_bn", self.channels, SMALLEST)
        if self.training and x.shape[0] == 1:
            raise ShapeError("batch norm between dense layers cannot train on one image; give two or call .eval()")
        return super().forward(x)


def lenet(name: str, classes: int, channels: int) -> LeNet:
    """LeNet by its name in the table of models."""
    return LeNet(classes, channels)

"""Residual networks for small images and few minutes: a maximum over 2x2 between each stage's convolution and its norm.

After Page's ResNet-9 (How to Train Your ResNet, 2018, https://github.com/davidcpage/cifar10-fast). Norms and
activations take as long as memory does; behind the pooling they see a quarter of it, so almost all time goes into
products, also at the full size of the image. Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from torchweld.layers import SmallImageConv2d
from torchweld.models.images import check_counts, check_image


@dataclass(frozen=True)
class Size:
    """`widths[i]` channels and `depths[i]` residual layers in stage i; every stage halves the image."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]


SIZES = {
    "pooled_small": Size((64, 128, 256), (1, 1, 1)),  # 1.1M parameters, 49M products at 28x28
    "pooled_medium": Size((64, 128, 256), (2, 2, 2)),  # 1.9M, 69M
}


class ConvLayer(nn.Sequential):
    """Convolution, pooling if asked, norm, ReLU: (B, I, H, W) -> (B, O, H, W), or (B, O, H//2, W//2) `pooled`."""

    def __init__(self, in_channels: int, out_channels: int, *, pooled: bool) -> None:
        conv = SmallImageConv2d(in_channels, out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        pool = [nn.MaxPool2d(2)] if pooled else []
        super().__init__(conv, *pool, nn.BatchNorm2d(out_channels), nn.ReLU())


class Residual(nn.Sequential):
    """`x + layers(x)`: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


class PooledNet(nn.Module):
    """Stages of a pooled layer and a residual of layers, the maximum over the image, one linear layer.

    >>> import torch
    >>> net = PooledNet(SIZES["pooled_small"], classes=10, channels=1)
    >>> net(torch.randn(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self, size: Size, classes: int, channels: int) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels)
        self.channels, self.smallest = channels, 2 ** len(size.widths)
        stages: list[nn.Module] = []
        width_in = channels
        for width, depth in zip(size.widths, size.depths, strict=True):
            layers = (ConvLayer(width, width, pooled=False) for _ in range(depth))
            stages.append(nn.Sequential(ConvLayer(width_in, width, pooled=True), Residual(*layers)))
            width_in = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(width_in, classes, bias=False)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "pooled", self.channels, self.smallest, 2 * self.smallest - 1 if self.training else None)
        return 0.5 * self.head(self.stages(x).amax((2, 3)))  # smaller scores at the start: Page's step 7


def pooled(name: str, classes: int, channels: int) -> PooledNet:
    """The network of a size in `SIZES`. Raises `InputError` for less than one class or channel."""
    return PooledNet(SIZES[name], classes, channels)

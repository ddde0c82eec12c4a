"""The plain convolutional network, by its grammar `[[CONV-RELU]*N-POOL?]*M-[FC-RELU]*K-FC`.

Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.models.images import check_counts, check_image


@dataclass(frozen=True)
class Grammar:
    """`convs` (N) 3x3 convolutions for each of `widths` (M of them), pooled if `pool`; `hidden` (K) dense layers.

    `grid`: side of the map that the dense layers read; images are averaged down to it.
    """

    convs: int = 2
    widths: tuple[int, ...] = (32, 64)
    hidden: tuple[int, ...] = (128,)
    pool: bool = True
    grid: int = 4

    def __str__(self) -> str:
        pool = "-POOL" if self.pool else ""
        dense = f"[FC-RELU]*{len(self.hidden)}-" if self.hidden else ""
        return f"[[CONV-RELU]*{self.convs}{pool}]*{len(self.widths)}-{dense}FC"


class PlainCNN(nn.Sequential):
    """The network of a `Grammar`; from as many pixels as leave one behind the poolings.

    Raises `InputError` for a grammar with a count below 1 and for smaller images.

    >>> import torch
    >>> str(Grammar(convs=3, pool=False))
    '[[CONV-RELU]*3]*2-[FC-RELU]*1-FC'
    >>> PlainCNN(Grammar(), classes=10, channels=1)(torch.randn(1, 1, 9, 14)).shape
    torch.Size([1, 10])
    """

    def __init__(self, grammar: Grammar, classes: int, channels: int = 3) -> None:
        check_counts(classes=classes, channels=channels, convs=grammar.convs, grid=grammar.grid)
        if not grammar.widths:
            raise InputError("widths=() leaves no convolution; give one width or more")
        for width in (*grammar.widths, *grammar.hidden):
            check_counts(width=width)
        parts: list[nn.Module] = []
        width_in = channels
        for width in grammar.widths:
            for _ in range(grammar.convs):
                parts += [nn.Conv2d(width_in, width, 3, padding=1), nn.ReLU()]
                width_in = width
            if grammar.pool:
                parts.append(nn.MaxPool2d(2, 2))
        parts += [nn.AdaptiveAvgPool2d(grammar.grid), nn.Flatten()]
        width_in *= grammar.grid**2
        for width in grammar.hidden:
            parts += [nn.Linear(width_in, width), nn.ReLU()]
            width_in = width
        super().__init__(*parts, nn.Linear(width_in, classes))
        self.channels = channels
        self.smallest = 2 ** len(grammar.widths) if grammar.pool else 1

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K)
        check_image(x, "plain_cnn", self.channels, self.smallest)
        return super().forward(x)


def plain(name: str, classes: int, channels: int) -> PlainCNN:
    """The plain network with the grammar's defaults."""
    return PlainCNN(Grammar(), classes, channels)

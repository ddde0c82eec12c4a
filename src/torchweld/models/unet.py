"""Segmentation over any encoder: its maps, coarse to fine, are enlarged, joined and convolved, as in U-Net.

Source: Ronneberger, Fischer & Brox 2015, https://arxiv.org/abs/1505.04597; padded convolutions with batch norm here,
and bilinear enlargement to the size of the finer map, so that odd sizes fit.
Shapes: B batch, C channels in, H and W the image, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError
from torchweld.models.images import check_counts, check_image


class Enlarge(nn.Module):
    """Bilinear, to the size of another map.

    >>> Enlarge()(torch.zeros(1, 2, 3, 3), torch.zeros(1, 5, 7, 6)).shape
    torch.Size([1, 2, 7, 6])
    """

    def forward(
        self,
        coarse: Tensor,  # (B, C, h, w)
        like: Tensor,  # (B, C', H, W)
    ) -> Tensor:  # (B, C, H, W)
        return F.interpolate(coarse, size=like.shape[2:], mode="bilinear", align_corners=False)


class Decode(nn.Module):
    """Enlarge the coarse map to the fine one's size, join them, two 3x3 convolutions with batch norm and ReLU.

    >>> Decode(8, 4, 6)(torch.randn(2, 8, 3, 3), torch.randn(2, 4, 5, 6)).shape
    torch.Size([2, 6, 5, 6])
    """

    def __init__(self, coarse: int, fine: int, out: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for channels in (coarse + fine, out):
            parts += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.enlarge, self.convs = Enlarge(), nn.Sequential(*parts)

    def forward(
        self,
        coarse: Tensor,  # (B, C, h, w)
        fine: Tensor,  # (B, C', H, W)
    ) -> Tensor:  # (B, O, H, W)
        return self.convs(torch.cat((self.enlarge(coarse, fine), fine), 1))


class UNet(nn.Module):
    """Scores for each pixel from the stages of an encoder.

    `encoder`: modules to be run one after the other, each ending at a coarser map; whatever they are, their channels
    are found by running them once. The first finer map is the image itself; with `from_image=False` it is the first
    stage's, and the scores are enlarged to the image, which saves the costliest level. `smallest`: the least side the
    encoder can read. Raises `InputError` for smaller images and for an encoder without stages.

    >>> net = UNet([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)], classes=2, channels=3)
    >>> net(torch.randn(1, 3, 33, 41)).shape
    torch.Size([1, 2, 33, 41])
    """

    def __init__(
        self,
        encoder: Sequence[nn.Module],
        classes: int,
        channels: int = 3,
        smallest: int = 1,
        from_image: bool = True,
    ) -> None:
        super().__init__()
        check_counts(classes=classes, channels=channels)
        if not encoder:
            raise InputError("the encoder has no stages; give one module or more")
        self.channels, self.smallest, self.from_image = channels, smallest, from_image
        self.encoder = nn.ModuleList(encoder)
        widths = (channels, *self._widths())[0 if from_image else 1 :]
        decoders, coarse = [], widths[-1]
        for fine in widths[-2::-1]:
            out = max(16, fine)
            decoders.append(Decode(coarse, fine, out))
            coarse = out
        self.decoders = nn.ModuleList(decoders)
        self.head = nn.Conv2d(coarse, classes, 1)
        if not from_image:
            self.enlarge = Enlarge()

    def _widths(self) -> list[int]:
        modes = [(m, m.training) for m in self.encoder.modules()]
        self.encoder.eval()
        try:
            with torch.no_grad():
                maps = self._maps(torch.zeros(1, self.channels, 64, 64))
        finally:
            for module, training in modes:
                module.training = training
        return [m.shape[1] for m in maps[1:]]

    def _maps(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        return maps

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, K, H, W)
        check_image(x, "unet", self.channels, self.smallest)
        *fine, y = self._maps(x)
        for decode in self.decoders:
            y = decode(y, fine.pop())
        scores = cast(Tensor, self.head(y))
        return scores if self.from_image else self.enlarge(scores, x)

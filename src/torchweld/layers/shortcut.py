"""ResNet's two blocks: `relu(f(x) + shortcut(x))`, the shortcut the identity or a 1x1 convolution with batch norm.

Modules are named as in torchvision, so that weights can be exchanged; the bottleneck strides in its 3x3 convolution,
as there. Source: He et al. 2015, https://arxiv.org/abs/1512.03385, figures 2 and 5.

Shapes: B batch, C channels in, O channels out, H and W the image, h and w the image after the stride.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from torchweld.core import InputError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm; `width` channels out.

    `convolve_shortcut=None` puts the 1x1 convolution where the identity does not fit. Raises `InputError` for
    `convolve_shortcut=False` where it does not fit.

    >>> import torch
    >>> BasicBlock(8, 16, stride=2)(torch.randn(1, 8, 5, 7)).shape
    torch.Size([1, 16, 3, 4])
    """

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, width: int, stride: int = 1, convolve_shortcut: bool | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(channels, width, stride, convolve_shortcut)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, O, h, w)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 convolution to `width` channels, 3x3, 1x1 to `4 * width`, each with batch norm. Errors as `BasicBlock`.

    >>> import torch
    >>> Bottleneck(16, 8, stride=2)(torch.randn(1, 16, 5, 7)).shape
    torch.Size([1, 32, 3, 4])
    """

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, width: int, stride: int = 1, convolve_shortcut: bool | None = None) -> None:
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(channels, out, stride, convolve_shortcut)

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, O, h, w)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(channels: int, out: int, stride: int, convolve: bool | None) -> nn.Module | None:
    fits = channels == out and stride == 1
    if convolve is False and not fits:
        raise InputError(f"the identity does not fit from {channels} to {out} channels at stride {stride}; pass "
                         f"convolve_shortcut=True")  # fmt: skip
    if fits and not convolve:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

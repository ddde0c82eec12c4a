"""The native residual block: a spatial convolution, a pointwise one and the identity, summed.

    y = conv_kxk(x) + conv_1x1(x) + x

It is trained in this form, since three branches learn better than one, and is one convolution in disguise: see
`torchweld.deploy.stages`. With `norm=True` each branch, the identity too, ends in its own batch norm, as in RepVGG
(Ding et al. 2021, https://arxiv.org/abs/2101.03697, section 3.2).

Shapes: B batch, C channels in, O channels out, H and W the image, h and w the image after the stride.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from torchweld.core import InputError


class ResidualBlock(nn.Module):
    """`conv_kxk(x) + conv_1x1(x) + x`, without an activation after it.

    At stride 1 `padding="same"` keeps the image's size; at other strides the padding must be given and there is no
    identity. The 1x1 branch sees the centre of each window, so it is padded by what `padding` exceeds the kernel's
    half. `identity=None` adds the identity wherever it fits: stride 1, size kept, as many channels out as in.

    Raises `InputError` for an even kernel, groups that do not divide the channels, `"same"` at a stride, a padding
    less than half the kernel, and `identity=True` where it does not fit.

    >>> import torch
    >>> block = ResidualBlock(8, groups=4)
    >>> block(torch.randn(2, 8, 5, 7)).shape
    torch.Size([2, 8, 5, 7])
    >>> ResidualBlock(8, 16, stride=2, padding=1)(torch.randn(2, 8, 5, 7)).shape
    torch.Size([2, 16, 3, 4])
    """

    def __init__(
        self,
        channels: int,
        channels_out: int | None = None,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int | Literal["same"] = "same",
        groups: int = 1,
        identity: bool | None = None,
        norm: bool = False,
    ) -> None:
        super().__init__()
        out = channels if channels_out is None else channels_out
        half = _check(channels, out, kernel, stride, padding, groups)
        pad = half if padding == "same" else padding
        obstacle = _obstacle(channels, out, stride, pad - half)
        if identity and obstacle:
            raise InputError(f"the identity branch does not fit: {obstacle}; pass identity=False")
        self.spatial = _branch(nn.Conv2d(channels, out, kernel, stride, pad, groups=groups, bias=not norm), norm)
        self.point = _branch(nn.Conv2d(channels, out, 1, stride, pad - half, groups=groups, bias=not norm), norm)
        self.identity: nn.Module | None = None
        if not obstacle and identity is not False:
            self.identity = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(
        self,
        x: Tensor,  # (B, C, H, W)
    ) -> Tensor:  # (B, O, h, w)
        y = self.spatial(x) + self.point(x)
        return y if self.identity is None else y + self.identity(x)


def _branch(conv: nn.Conv2d, norm: bool) -> nn.Module:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels)) if norm else conv


def _check(channels: int, out: int, kernel: int, stride: int, padding: int | str, groups: int) -> int:
    """Half the kernel, if all conditions hold."""
    sizes = {"channels": channels, "channels_out": out, "kernel": kernel, "stride": stride, "groups": groups}
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name}={size} is not positive")
    half = kernel // 2
    if kernel % 2 == 0:
        raise InputError(f"kernel={kernel} is even and has no centre; use {kernel - 1} or {kernel + 1}")
    if channels % groups or out % groups:
        raise InputError(f"groups={groups} must divide the channels, {channels} in and {out} out")
    if padding == "same":
        if stride != 1:
            raise InputError(f"padding='same' has no meaning at stride={stride}; pass padding={half}")
    elif isinstance(padding, str):
        raise InputError(f"padding={padding!r} is neither 'same' nor a number")
    elif padding < half:
        raise InputError(f"padding={padding} is less than half of kernel={kernel}, so the 1x1 branch would have to be "
                         f"cropped; pass at least padding={half}")  # fmt: skip
    return half


def _obstacle(channels: int, out: int, stride: int, excess: int) -> str | None:
    if stride != 1:
        return f"the stride is {stride}"
    if excess:
        return "the padding changes the image's size"
    if channels != out:
        return f"{channels} channels come in and {out} go out"
    return None

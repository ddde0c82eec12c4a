"""The window of a convolution: what each output position reads, with the padding resolved to (near, far) numbers.

Letters: O, I channels out and in; g groups; k kernel; d dilation; p padding; `at` the first tap of a smaller kernel.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from torchweld.maps import Geometry, PaddingMode

CONVOLUTIONS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS: dict[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def window_of(conv: Convolution) -> Geometry:
    """The geometry of a convolution module, a string for padding resolved.

    >>> str(window_of(nn.Conv2d(3, 8, (3, 5), padding="same")))
    '3x5 3->8, zeros padding 1x2'
    """
    if isinstance(conv.padding, str):
        spans = [d * (k - 1) * (conv.padding == "same") for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
        padding = tuple((s // 2, s - s // 2) for s in spans)
    else:
        padding = tuple((p, p) for p in conv.padding)
    mode: PaddingMode = conv.padding_mode
    return Geometry(
        conv.in_channels,
        conv.out_channels,
        conv.groups,
        tuple(conv.kernel_size),
        tuple(conv.stride),
        padding,
        tuple(conv.dilation),
        mode,
    )


def unpadded(g: Geometry) -> Geometry:
    """The same window on an input that is padded already."""
    return replace(g, padding=((0, 0),) * g.rank, padding_mode="zeros")


def centre(g: Geometry) -> tuple[int, ...]:
    """The tap in the middle; of two, the nearer."""
    return tuple((k - 1) // 2 for k in g.kernel)


def remaining_padding(g: Geometry, kernel: tuple[int, ...], at: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The padding that makes a smaller kernel of the same dilation read what its taps at `at` read; below 0: a crop."""
    return tuple(
        (near - d * a, far - d * (k - a - small))
        for (near, far), d, a, k, small in zip(g.padding, g.dilation, at, g.kernel, kernel, strict=True)
    )


def keeps_position(g: Geometry) -> bool:
    """Whether output and input have the same channels and positions, so that the identity can stand beside it."""
    at, ones = centre(g), (1,) * g.rank
    aligned = all(p == (0, 0) for p in remaining_padding(g, ones, at))
    return aligned and g.in_channels == g.out_channels and all(s == 1 for s in g.stride)


def one_input(g: Geometry) -> bool:
    """Each output channel reads one input channel: a 1x1 convolution is then only a factor, which a norm undoes."""
    return g.in_channels == g.groups

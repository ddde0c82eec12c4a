"""Brightness, contrast and saturation, drawn a sample and applied as one affine map of its colours.

Shapes: B batch, C channels, H and W the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.data.draws import Integers, Purpose, uniform

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def coloured(
    images: Tensor,  # (B, C, H, W), pixels of 0..255
    brightness: float,
    contrast: float,
    saturation: float,
    rows: Integers,
    seed: int,
    epoch: int,
) -> Tensor:  # (B, C, H, W) float32
    """Saturation moves pixels from their own grey, contrast from the image's mean grey, brightness scales; then 0..255.

    With one channel there is no saturation to change; a fourth channel is left alone.

    >>> import numpy as np
    >>> image = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    >>> grey = coloured(image, 0.0, 1.0, 1.0, np.array([5]), seed=0, epoch=0)
    >>> torch.allclose(grey, image.float())  # what is all one grey has no contrast and no saturation
    True
    """
    u = torch.from_numpy(uniform(seed, epoch, Purpose.COLOUR, rows, 3))
    bright, sharp, vivid = (
        1 + (2 * u[:, i] - 1).view(-1, 1, 1, 1) * amount for i, amount in enumerate((brightness, contrast, saturation))
    )
    x = images.float()
    alpha = None
    if x.shape[1] == 4:
        x, alpha = x[:, :3], x[:, 3:]
    grey = x if x.shape[1] == 1 else (x * torch.tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    if x.shape[1] == 1:
        x = x * (bright * sharp) + bright * (1 - sharp) * mean
    else:
        x = x * (bright * sharp * vivid) + grey * (bright * sharp * (1 - vivid)) + bright * (1 - sharp) * mean
    x = x.clamp_(0, 255)
    return x if alpha is None else torch.cat([x, alpha], 1)

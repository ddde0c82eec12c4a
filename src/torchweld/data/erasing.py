"""Rectangles: one to erase (Zhong et al., "Random erasing data augmentation", 2020), one to paste for cutmix.

Shapes: B batch, C channels, H and W the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchweld.data.draws import Floats, Integers, Purpose, uniform

_AREA, _ASPECT = (0.02, 0.33), (0.3, 1 / 0.3)


def erased(
    images: Tensor,  # (B, C, H, W)
    probability: float,
    rows: Integers,
    seed: int,
    epoch: int,
) -> Tensor:  # (B, C, H, W), the same dtype
    """A rectangle of some images filled with the image's own mean colour; masks keep what is behind it."""
    u = uniform(seed, epoch, Purpose.ERASE, rows, 5)
    chosen = u[:, 0] < probability
    if not chosen.any():
        return images
    area = _AREA[0] + u[chosen, 1] * (_AREA[1] - _AREA[0])
    low, high = (math.log(bound) for bound in _ASPECT)
    aspect = torch.exp(torch.from_numpy(low + u[chosen, 2] * (high - low))).numpy()
    inside = rectangles(area, aspect, u[chosen, 3:], images.shape[2], images.shape[3])
    which = torch.from_numpy(chosen)
    some = images[which]
    mean = some.float().mean((2, 3), keepdim=True).to(images.dtype)
    out = images.clone()
    out[which] = torch.where(inside[:, None], mean, some)
    return out


def rectangles(
    area: Floats,  # (B,) share of the image
    aspect: Floats,  # (B,) height over width, relative to the image's
    at: Floats,  # (B, 2) in 0..1, where between the edges
    height: int,
    width: int,
) -> Tensor:  # (B, H, W) bool
    """True inside a rectangle of whole pixels that lies in the image.

    >>> import numpy as np
    >>> rectangles(np.array([0.25]), np.array([1.0]), np.array([[0.0, 0.99]]), 4, 4).int()
    tensor([[[0, 0, 1, 1],
             [0, 0, 1, 1],
             [0, 0, 0, 0],
             [0, 0, 0, 0]]], dtype=torch.int32)
    """
    share, ratio, place = (torch.as_tensor(value) for value in (area, aspect, at))
    tall = (height * (share * ratio).sqrt()).round().clamp(1, height)
    wide = (width * (share / ratio).sqrt()).round().clamp(1, width)
    top = (place[:, 0] * (height - tall + 1)).floor()
    left = (place[:, 1] * (width - wide + 1)).floor()
    y, x = torch.arange(height), torch.arange(width)
    rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
    columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
    return rows[:, :, None] & columns[:, None, :]

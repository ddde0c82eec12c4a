"""Augmentation as a pure function of (seed, epoch, sample): the same whatever the batches, workers or restarts.

Shapes: B batch, C channels, H and W the image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def shifts(samples: int, pixels: int, seed: int, epoch: int) -> Tensor:  # (samples, 2)
    """How far each sample of the set moves down and right in this epoch, each way at most `pixels`.

    >>> shifts(3, 1, seed=0, epoch=0).shape
    torch.Size([3, 2])
    """
    key = np.array([seed, epoch], np.uint64)
    # The counter starts far from where the order of samples reads the same stream.
    random = np.random.Generator(np.random.Philox(key=key, counter=1 << 64))
    return torch.from_numpy(random.integers(-pixels, pixels, (samples, 2), endpoint=True))


def shifted(
    images: Tensor,  # (B, C, H, W)
    moves: Tensor,  # (B, 2)
) -> Tensor:  # (B, C, H, W)
    """Each image moved down and right by whole pixels; its border is repeated into what falls free.

    >>> shifted(torch.arange(4.0).view(1, 1, 2, 2), torch.tensor([[1, 0]]))
    tensor([[[[0., 1.],
              [0., 1.]]]])
    """
    reach = int(moves.abs().max())
    if reach == 0:
        return images
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    height, width = images.shape[2:]
    rows = reach + torch.arange(height) - moves[:, :1]  # (B, H)
    columns = reach + torch.arange(width) - moves[:, 1:]  # (B, W)
    batch = torch.arange(len(images))[:, None, None, None]
    channel = torch.arange(images.shape[1])[None, :, None, None]
    return padded[batch, channel, rows[:, None, :, None], columns[:, None, None, :]]

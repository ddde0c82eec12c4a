"""Mixup (Zhang et al., 2018) and cutmix (Yun et al., 2019): each sample with its partner of the epoch.

Shapes: B batch, C channels, H and W the image, K classes, T targets.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchweld.data.draws import Integers, Purpose, beta, permutation, uniform
from torchweld.data.erasing import rectangles


def partners(rows: Integers, samples: int, seed: int, epoch: int) -> Integers:  # (B,)
    """The row that each row is mixed with: a permutation of its own, so that every sample is a partner once.

    >>> sorted(partners(np.arange(4), 4, seed=0, epoch=0).tolist())
    [0, 1, 2, 3]
    """
    return permutation(samples, seed, epoch, Purpose.PARTNER)[rows]


def mixed(
    images: tuple[Tensor, Tensor],  # each (B, C, H, W) or (B, F), of the samples and of their partners
    targets: tuple[Tensor, Tensor],  # each (B, K) shares or (B, T) values; (B, H, W) classes with cutmix alone
    mixup: float,
    cutmix: float,
    rows: Integers,
    seed: int,
    epoch: int,
) -> tuple[Tensor, Tensor]:
    """Samples and targets blended; alphas of 0 turn one of the two off."""
    (first, second), (own, other) = images, targets
    u = uniform(seed, epoch, Purpose.MIX, rows, 3)
    pasted = np.full(len(rows), cutmix > 0) if not (mixup and cutmix) else u[:, 0] < 0.5
    kept = np.where(
        pasted,
        beta(seed, epoch, Purpose.BLEND, rows, cutmix) if cutmix else 1,
        beta(seed, epoch, Purpose.BLEND, rows, mixup) if mixup else 1,
    ).astype(np.float32)
    share = torch.from_numpy(kept)
    weight = share.view(-1, *[1] * (first.ndim - 1))
    if cutmix:
        height, width = first.shape[2:]
        inside = rectangles(1 - kept, np.ones_like(kept), u[:, 1:], height, width)
        inside &= (torch.from_numpy(pasted) & (share < 1)).view(-1, 1, 1)
        if own.ndim == 3:
            own = torch.where(inside, other, own)
        # The rectangle is of whole pixels: the share that counts is the share that it covers.
        share = torch.where(torch.from_numpy(pasted), 1 - inside.float().mean((1, 2)), share)
        weight = torch.where(torch.from_numpy(pasted).view(-1, 1, 1, 1), (~inside)[:, None].float(), weight)
    blended = torch.lerp(second.float(), first.float(), weight)
    if own.ndim == 3:
        return blended, own
    return blended, own * share[:, None] + other * (1 - share)[:, None]

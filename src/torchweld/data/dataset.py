"""What a data set of images and labels is, once loaded.

Shapes: N images, C channels, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Images to learn from, and images held out; `classes` names the labels."""

    train_images: Tensor  # (N, C, H, W)
    train_labels: Tensor  # (N,)
    test_images: Tensor  # (M, C, H, W)
    test_labels: Tensor  # (M,)
    classes: tuple[str, ...]

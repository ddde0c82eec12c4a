"""What standardises inputs and targets, measured on the training part alone, and the way back.

Shapes: B batch, C channels, H and W the image, F columns, T targets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation a channel (of pixels in 0..1) or a column; the same for targets of a regression.

    `classes` is how many there are, 0 for a regression. A deviation of 0 (a channel or column that never changes)
    divides by 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    classes: int = 0

    def normalised(
        self,
        inputs: Tensor,  # (B, C, H, W), pixels of 0..255 in any dtype, or (B, F)
    ) -> Tensor:  # the same, float32
        """`(x / 255 - mean) / std` for images, `(x - mean) / std` for tables.

        >>> Scale((0.5,), (0.25,)).normalised(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8))
        tensor([[[[2.]]]])
        """
        image = inputs.ndim == 4
        std = [value or 1.0 for value in self.std]
        factors = [1 / (255 * value) if image else 1 / value for value in std]
        offsets = [-mean / value for mean, value in zip(self.mean, std, strict=True)]
        # A fresh float32 of the batch's size: uint8 takes a quarter of it until here.
        scaled = inputs.to(torch.float32, copy=True)
        if len(factors) == 1:
            return scaled.mul_(factors[0]).add_(offsets[0])
        shape = (-1, 1, 1) if image else (-1,)
        return scaled.mul_(torch.tensor(factors).view(shape)).add_(torch.tensor(offsets).view(shape))

    def standardised(
        self,
        targets: Tensor,  # (B, T)
    ) -> Tensor:  # (B, T)
        """A regression's targets as the network learns them."""
        mean, std = self._targets(targets)
        return (targets - mean) / std

    def restored(
        self,
        predictions: Tensor,  # (B, T)
    ) -> Tensor:  # (B, T)
        """A network's outputs in the units of the targets.

        >>> scale = Scale((0.0,), (1.0,), target_mean=(100.0,), target_std=(5.0,))
        >>> scale.restored(scale.standardised(torch.tensor([[110.0]])))
        tensor([[110.]])
        """
        mean, std = self._targets(predictions)
        return predictions * std + mean

    def to_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)

    def _targets(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.target_mean or (0.0,), dtype=like.dtype, device=like.device)
        std = torch.tensor([value or 1.0 for value in self.target_std or (1.0,)], dtype=like.dtype, device=like.device)
        return mean, std

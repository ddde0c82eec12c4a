"""Augmentation as a value: what may happen to an image, drawn for each sample from (seed, epoch, row).

Shapes: B batch, C channels, H and W the image, K classes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from torchweld.core import InputError
from torchweld.data.colour import coloured
from torchweld.data.draws import Integers
from torchweld.data.erasing import erased
from torchweld.data.geometry import BORDERS, moved
from torchweld.data.moves import Moves


@dataclass(frozen=True)
class Augmentation:
    """What is done at random to each sample, anew in every epoch; all off by default.

    Geometry, for images and masks alike (masks take the nearest pixel, so no class is invented):
    `flip` left to right and `flip_vertical` for half of the samples; `turn` by 0, 90, 180 or 270 degrees (square images
    only); `shift_pixels` moves by whole pixels, at most so many each way; `crop` cuts a window that has a share of the
    image's area drawn from this range and blows it up to the whole (above 1 it shrinks the image); `rotate_degrees`
    and `shear_degrees` at most so far each way. `border` fills what falls free: "repeat" the edge, "reflect" the image.

    Pixels only: `erase` is the probability that a rectangle of 2 to 33% of the area is filled with the image's own mean
    colour; `brightness`, `contrast` and `saturation` scale by a factor within 1 - v to 1 + v.

    Samples: `mixup` and `cutmix` blend each sample with a partner by Beta(alpha, alpha), or paste a rectangle of the
    partner; with both, half of the samples each. Targets become shares of the classes.

    Raises `InputError` for a value out of its range.
    """

    flip: bool = False
    flip_vertical: bool = False
    turn: bool = False
    shift_pixels: int = 0
    crop: tuple[float, float] = (1.0, 1.0)
    rotate_degrees: float = 0.0
    shear_degrees: float = 0.0
    border: str = "repeat"
    erase: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("erase", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} must lie from 0 to 1")
        for name in ("mixup", "cutmix", "shift_pixels"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}={getattr(self, name)} must not be negative or infinite")
        if self.shift_pixels != int(self.shift_pixels):
            raise InputError(f"shift_pixels={self.shift_pixels} must be a whole number")
        if not 0 <= self.rotate_degrees <= 180:
            raise InputError(f"rotate_degrees={self.rotate_degrees} must lie from 0 to 180")
        if not 0 <= self.shear_degrees < 80:
            raise InputError(f"shear_degrees={self.shear_degrees} must lie from 0 to below 80")
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 4:
            raise InputError(f"crop={self.crop} must be two shares of the area, least first, above 0 and at most 4")
        object.__setattr__(self, "crop", (float(self.crop[0]), float(self.crop[1])))
        if self.border not in BORDERS:
            raise InputError(f"border={self.border!r}; choose from {', '.join(BORDERS)}")

    @property
    def moves(self) -> bool:
        """Whether any geometry is on."""
        exact = self.flip or self.flip_vertical or self.turn or self.shift_pixels > 0
        return exact or self.resamples

    @property
    def resamples(self) -> bool:
        """Whether pixels fall between pixels, so that images are interpolated."""
        return self.crop != (1.0, 1.0) or self.rotate_degrees > 0 or self.shear_degrees > 0

    @property
    def mixes(self) -> bool:
        """Whether samples are blended with partners."""
        return self.mixup > 0 or self.cutmix > 0

    def apply(
        self,
        images: Tensor,  # (B, C, H, W), uint8 or float, pixels of 0..255
        targets: Tensor,  # (B,), or (B, H, W) masks, which move with their images
        rows: Integers,  # (B,) rows of the data set
        seed: int,
        epoch: int,
    ) -> tuple[Tensor, Tensor]:
        """Images and targets after geometry, erasing and colour; `Batches` adds mixup and cutmix.

        Images stay uint8 where only whole pixels move, else they become float32. Raises `InputError` for quarter turns
        of images that are not square.

        >>> import numpy as np, torch
        >>> image = torch.arange(6.0).view(1, 1, 2, 3)
        >>> Augmentation().apply(image, torch.tensor([4]), np.array([0]), seed=0, epoch=0)[0] is image
        True
        """
        if self.moves:
            drawn = Moves.drawn(self, rows, seed, epoch, (images.shape[2], images.shape[3]))
            masks = targets if targets.ndim == 3 else None
            images, masks = moved(images, masks, drawn, self.resamples, self.border)
            targets = targets if masks is None else masks
        if self.brightness or self.contrast or self.saturation:
            images = coloured(images, self.brightness, self.contrast, self.saturation, rows, seed, epoch)
        if self.erase:
            images = erased(images, self.erase, rows, seed, epoch)
        return images, targets

    def without_mixing(self) -> Augmentation:
        """The same without mixup and cutmix."""
        return replace(self, mixup=0.0, cutmix=0.0)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)

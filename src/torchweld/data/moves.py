"""How each sample of a batch is moved: the parameters, drawn by (seed, epoch, row).

An output pixel p looks at the source pixel `D(A (p - shift) + offset)`, all in pixels from the image's centre: A turns,
shears and zooms, D is one of the eight symmetries of the square.

Shapes: B batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torchweld.core import InputError
from torchweld.data.draws import Floats, Integers, Purpose, uniform

if TYPE_CHECKING:
    from torchweld.data.augmentation import Augmentation


@dataclass(frozen=True, eq=False)
class Moves:
    """One entry a sample. `matrix` and `offset` are x first, then y; `shift` is down, then right."""

    transpose: np.ndarray  # (B,) bool
    flip_rows: np.ndarray  # (B,) bool, of the source: upside down
    flip_columns: np.ndarray  # (B,) bool, of the source: left to right
    shift: Integers  # (B, 2)
    matrix: Floats  # (B, 2, 2)
    offset: Floats  # (B, 2)

    @classmethod
    def drawn(cls, what: Augmentation, rows: Integers, seed: int, epoch: int, size: tuple[int, int]) -> Moves:
        """The moves of these rows in this epoch, for images of `size` (height, width)."""

        def draw(purpose: Purpose, width: int) -> Floats:
            return uniform(seed, epoch, purpose, rows, width)

        batch, (height, width) = len(rows), size
        flip_columns = draw(Purpose.FLIP, 1)[:, 0] < 0.5 if what.flip else np.zeros(batch, bool)
        flip_rows = draw(Purpose.FLIP_VERTICAL, 1)[:, 0] < 0.5 if what.flip_vertical else np.zeros(batch, bool)
        transpose = np.zeros(batch, bool)
        if what.turn:
            if height != width:
                raise InputError(f"turn: images of {height}x{width} are not square; resize them, or leave turn out")
            quarters = (draw(Purpose.TURN, 1)[:, 0] * 4).astype(np.int64)
            transpose = quarters % 2 == 1
            flip_columns = flip_columns ^ ((quarters == 1) | (quarters == 2))
            flip_rows = flip_rows ^ (quarters >= 2)
        shift = np.zeros((batch, 2), np.int64)
        if what.shift_pixels:
            if what.shift_pixels >= min(size):
                raise InputError(f"shift_pixels={what.shift_pixels} moves images of {height}x{width} out of themselves")
            reach = int(what.shift_pixels)
            shift = (draw(Purpose.SHIFT, 2) * (2 * reach + 1)).astype(np.int64) - reach
        matrix = np.broadcast_to(np.eye(2, dtype=np.float32), (batch, 2, 2))
        offset = np.zeros((batch, 2), np.float32)
        if what.rotate_degrees:
            matrix = matrix @ _rotation(_within(draw(Purpose.ROTATE, 1)[:, 0], what.rotate_degrees))
        if what.shear_degrees:
            matrix = matrix @ _shear(_within(draw(Purpose.SHEAR, 1)[:, 0], what.shear_degrees))
        least, most = what.crop
        if (least, most) != (1.0, 1.0):
            u = draw(Purpose.CROP, 3)
            side = np.sqrt(least + u[:, 0] * (most - least))  # the window's, as a share of the image's
            matrix = matrix * side[:, None, None]
            offset = (u[:, 1:] - 0.5) * (1 - side)[:, None] * np.array([width, height], np.float32)
        return cls(transpose, flip_rows, flip_columns, shift, matrix, offset)


def _within(u: Floats, degrees: float) -> Floats:
    return (2 * u - 1) * np.float32(math.radians(degrees))


def _rotation(angle: Floats) -> Floats:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos, -sin, sin, cos], 1).reshape(-1, 2, 2)


def _shear(angle: Floats) -> Floats:
    one, zero = np.ones_like(angle), np.zeros_like(angle)
    return np.stack([one, np.tan(angle), zero, one], 1).reshape(-1, 2, 2)

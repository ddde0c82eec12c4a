"""What a data set is, once read: samples with targets, in the parts that training needs.

Shapes: N samples, C channels, H and W the image, F columns, T targets, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchweld.core import InputError
from torchweld.data.scale import Scale
from torchweld.data.selection import Selection

Array = np.ndarray[Any, Any] | Selection


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets row by row, and where each row came from.

    Images stay uint8 until they are in a batch: as float32 they take four times the memory. They may be a memory map
    that is larger than memory, or a `Selection` of its rows.
    """

    inputs: Array  # (N, C, H, W) uint8, or (N, F) float32
    targets: Array  # (N,) int64, (N, H, W) uint8 or (N, T) float32
    names: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.inputs) == len(self.targets) == len(self.names):
            counts = f"{len(self.inputs)} inputs, {len(self.targets)} targets, {len(self.names)} names"
            raise InputError(f"a data set of {counts}; give one of each a sample")

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, rows: np.ndarray[Any, Any]) -> Dataset:
        """The data set of these rows; those of a memory map stay where they are."""
        names = tuple(self.names[row] for row in rows)
        return Dataset(_rows(self.inputs, rows), _rows(self.targets, rows), names)


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in its parts. Classes and scale come from `train` alone.

    `held_out` is a share of the training data that no step learns from, to watch a run by; `test` is scored once at
    the end. `mask_values` maps the values found in masks to classes; it is None where there are no masks.
    """

    train: Dataset
    held_out: Dataset
    test: Dataset | None
    task: str  # classify, segment or regress
    classes: tuple[str, ...]
    scale: Scale
    mask_values: Mapping[int, int] | None = None
    source: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)  # of the training files as they are, height x width
    modes: Mapping[str, int] = field(default_factory=dict)  # of their pixels, Pillow's names
    columns: tuple[str, ...] = ()  # of a table, its inputs

    @property
    def mean(self) -> tuple[float, ...]:
        """By channel, of pixels in 0..1, or by column."""
        return self.scale.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.scale.std

    def to_dict(self) -> dict[str, Any]:
        """The facts, without the samples."""
        parts = {"train": self.train, "held_out": self.held_out, "test": self.test}
        return {
            "source": self.source,
            "task": self.task,
            "samples": {name: 0 if part is None else len(part) for name, part in parts.items()},
            "input_shape": list(self.train.inputs.shape[1:]),
            "classes": list(self.classes),
            "scale": self.scale.to_dict(),
            "mask_values": None if self.mask_values is None else {str(k): v for k, v in self.mask_values.items()},
        }


def _rows(array: Array, rows: np.ndarray[Any, Any]) -> Array:
    if isinstance(array, Selection):
        return Selection(array.base, array.rows[rows])
    return Selection(array, rows) if isinstance(array, np.memmap) else array[rows]

"""Mean and standard deviation of a data set, in bounded memory.

Shapes: N samples, C channels, F columns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchweld.data.scale import Scale
from torchweld.data.splits import Array, Dataset

_CHUNK_BYTES = 1 << 20  # counting turns each byte into an int64


def measured(train: Dataset, classes: int, sums: np.ndarray[Any, Any] | None = None) -> Scale:
    """The scale of these samples: of images by channel, in 0..1; of tables by column, and of their targets.

    Images are counted in integers, so that the order of samples cannot matter; where the `sums` (N, C, 2) of these
    samples are known already, no image is read.
    """
    if train.inputs.ndim == 4 and sums is not None:
        mean, std = _of_sums(np.asarray(sums).sum(0), len(train) * math.prod(train.inputs.shape[2:]))
    elif train.inputs.ndim == 4:
        mean, std = _of_pixels(train.inputs)
    else:
        mean, std = _of_columns(train.inputs)
    if train.targets.dtype.kind == "f":
        return Scale(mean, std, *_of_columns(train.targets), classes=0)
    return Scale(mean, std, classes=classes)


def sums_of(
    image: np.ndarray[Any, Any],  # (C, H, W) uint8
) -> np.ndarray[Any, Any]:  # (C, 2) int64
    """Of each channel the sum of its pixels and the sum of their squares.

    >>> sums_of(np.array([[[2, 3]], [[255, 255]]], np.uint8)).tolist()
    [[5, 13], [510, 130050]]
    """
    plain = (channel.sum(dtype=np.int64) for channel in image)
    squares = (np.square(channel, dtype=np.uint16).sum(dtype=np.int64) for channel in image)
    return np.array(list(zip(plain, squares, strict=True)))


def _of_sums(sums: np.ndarray[Any, Any], count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = sums[:, 0] / count / 255
    square = sums[:, 1] / count / 255**2
    return _floats(mean), _floats(np.sqrt(np.maximum(square - mean**2, 0)))


def _of_pixels(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    channels = images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    step = max(1, _CHUNK_BYTES // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    square = counts @ values**2 / total
    return _floats(mean), _floats(np.sqrt(np.maximum(square - mean**2, 0)))


def _of_columns(table: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    values = np.asarray(table, np.float64)
    return _floats(values.mean(0)), _floats(values.std(0))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

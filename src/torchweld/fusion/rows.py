"""What recipes of biases and per-channel weights do with rows: functions of tensors, named in provenance."""

from __future__ import annotations

from torch import Tensor


def strided(values: Tensor, rows: range) -> Tensor:
    """Every so-manieth row of a range."""
    return values[rows.start : rows.stop : rows.step]


def gathered(values: Tensor, order: tuple[int, ...]) -> Tensor:
    """Rows in an order, perhaps some twice."""
    return values[list(order)]


def spread_out(values: Tensor, before: int, after: int) -> Tensor:
    """Each value `after` times in a row, the whole `before` times."""
    return values.flatten().repeat_interleave(after).repeat(before)


def placed(values: Tensor, row: int, channels: int) -> Tensor:
    """Values from `row` on among zeros."""
    wide = values.new_zeros(channels)
    wide[row : row + len(values)] = values
    return wide


def negative(values: Tensor) -> Tensor:
    """The values with their signs turned."""
    return -values

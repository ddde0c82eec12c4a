"""Mutations of permutations: `(rows (K, n), setting) -> rows (K, n)`; each one rearranges places, K rows at once."""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.setting import Setting


def _different(rows: Tensor, setting: Setting, count: int) -> Tensor:
    """`count` different places in each row, in random order (K, count)."""
    n = rows.shape[1]
    if n < count:
        raise InputError(f"this mutation needs permutations of at least {count} places, not {n}")
    place = setting.randint(n, len(rows), count)
    for column in range(1, count):
        # a draw from the n - column places that are left, pushed past the taken ones in ascending order
        place[:, column] = setting.randint(n - column, len(rows))
        for taken in place[:, :column].sort(1).values.unbind(1):
            place[:, column] += place[:, column] >= taken
    return place


def swap_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """Two places change their values.

    >>> s = Setting(torch.Generator().manual_seed(0), torch.zeros(2), torch.ones(2))
    >>> swap_mutation(torch.tensor([[0, 1]]), s)
    tensor([[1, 0]])
    """
    place = _different(rows, setting, 2)
    return rows.scatter(1, place, rows.gather(1, place.flip(1)))


def adjacent_swap_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """Two neighbouring places change their values (the row is no ring)."""
    left = setting.randint(rows.shape[1] - 1, len(rows), 1)
    place = torch.cat([left, left + 1], 1)
    return rows.scatter(1, place, rows.gather(1, place.flip(1)))


def three_swap_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """Three places pass their values round."""
    place = _different(rows, setting, 3)
    return rows.scatter(1, place, rows.gather(1, place.roll(1, 1)))


def inversion_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """The segment between two places runs backwards: a 2-opt move on a tour."""
    ends = _different(rows, setting, 2).sort(1).values
    low, high = ends[:, :1], ends[:, 1:]
    place = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
    return rows.gather(1, torch.where((place >= low) & (place <= high), low + high - place, place))


def shift_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """One value moves to another place; those between close up."""
    ends = _different(rows, setting, 2)
    source, target = ends[:, :1], ends[:, 1:]
    place = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
    forward = (place >= source) & (place < target)
    backward = (place <= source) & (place > target)
    origin = place + forward.long() - backward.long()
    return rows.gather(1, torch.where(place == target, source, origin))

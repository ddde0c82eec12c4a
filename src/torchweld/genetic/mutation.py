"""Mutations of float and bit rows: `(rows (K, L), setting, **parameters) -> rows (K, L)`, on K individuals at once.

The float ones are GAOT's (after Michalewicz 1992). A non-uniform step shrinks as the run goes on:
`distance to the chosen bound * (U(0,1) (1 - progress))^b`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.setting import Setting


def uniform_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """One column of each row to U(low, high)."""
    column = setting.randint(rows.shape[1], rows.shape[0], 1)
    low, high = setting.low[column], setting.high[column]
    return rows.scatter(1, column, torch.lerp(low, high, setting.rand(rows.shape[0], 1)))


def boundary_mutation(rows: Tensor, setting: Setting) -> Tensor:
    """One column of each row to its lower or its upper bound.

    >>> s = Setting(torch.Generator().manual_seed(0), torch.zeros(1), torch.ones(1))
    >>> set(boundary_mutation(torch.full((9, 1), 0.5), s).flatten().tolist()) == {0.0, 1.0}
    True
    """
    return rows.scatter(1, *setting.column_and_bound(rows.shape[0]))


def nonuniform_mutation(rows: Tensor, setting: Setting, *, b: float = 3.0) -> Tensor:
    """One column of each row takes a non-uniform step towards either bound."""
    column, bound = setting.column_and_bound(rows.shape[0])
    return rows.scatter(1, column, _step(rows.gather(1, column), bound, setting.rand(rows.shape[0], 1), setting, b))


def multi_nonuniform_mutation(rows: Tensor, setting: Setting, *, b: float = 3.0) -> Tensor:
    """Every column takes a non-uniform step, each towards a bound of its own choice."""
    drawn = setting.rand(*rows.shape).mul_(2).sub_(1)  # the sign is the direction, the size is U(0, 1)
    bound = torch.where(drawn < 0, setting.low, setting.high)
    return _step(rows, bound, drawn.abs_(), setting, b)


def flip_mutation(rows: Tensor, setting: Setting, *, rate: float = 0.05) -> Tensor:
    """Each bit flips with chance `rate` (GAOT's binaryMutation). Raises `InputError` unless 0 <= rate <= 1."""
    if not 0 <= rate <= 1:
        raise InputError(f"the rate of flips must be between 0 and 1, not {rate}")
    return rows ^ (setting.rand(*rows.shape) < rate).to(rows.dtype)


def _step(values: Tensor, bound: Tensor, drawn: Tensor, setting: Setting, b: float) -> Tensor:
    """A step that is a share of the way to `bound`: never past it, whatever the rounding (lerp is exact at 0 and 1)."""
    if b <= 0:
        raise InputError(f"the shape b of a non-uniform mutation must be positive, not {b}")
    share = drawn.mul_(max(0.0, 1.0 - setting.progress)).pow_(b)
    return torch.lerp(values, bound, share)

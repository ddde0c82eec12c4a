"""Crossovers of float and bit rows: `(first (K, L), second (K, L), setting, **parameters) -> two children (K, L)`.

All of them are GAOT's (Houck, Joines & Kay 1995), on K pairs at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.setting import Setting


def arithmetic_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """`a first + (1-a) second` and `(1-a) first + a second`, one a of U(0, 1) for each pair (Michalewicz 1992).

    >>> s = Setting(torch.Generator().manual_seed(0), torch.zeros(2), torch.ones(2))
    >>> a, b = arithmetic_crossover(torch.zeros(1, 2), torch.ones(1, 2), s)
    >>> (a + b).tolist()
    [[1.0, 1.0]]
    """
    a = setting.rand(first.shape[0], 1)
    return torch.lerp(second, first, a), torch.lerp(first, second, a)


def heuristic_crossover(first: Tensor, second: Tensor, setting: Setting, *, tries: int = 3) -> tuple[Tensor, Tensor]:
    """`best + u (best - worst)`, u of U(0, 1), redrawn while out of bounds, after `tries` a copy of the worse parent.

    The other child is the better parent; each child stands where the parent stood that it is, or replaces.
    Raises `InputError` where `setting.first_better` is missing: this crossover reads fitness.
    """
    if setting.first_better is None:
        raise InputError("heuristic_crossover needs setting.first_better, (K,) bool")
    if tries < 1:
        raise InputError(f"heuristic_crossover needs at least one try, not {tries}")
    first_better = setting.first_better[:, None]
    best, worse = torch.where(first_better, first, second), torch.where(first_better, second, first)
    step = best - worse
    drawn = setting.rand(tries, best.shape[0], 1)  # all of them, so that what is drawn does not depend on the rows
    child, outside = _beyond(best, step, drawn[0], setting)
    for again in range(1, tries):
        if not bool(outside.any()):
            break
        other, still_outside = _beyond(best, step, drawn[again], setting)
        child = torch.where(outside, other, child)
        outside = outside & still_outside
    child = torch.where(outside, worse, child)
    return torch.where(first_better, best, child), torch.where(first_better, child, best)


def _beyond(best: Tensor, step: Tensor, drawn: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """`best + drawn step`, and which rows of it leave the bounds (K, 1)."""
    child = torch.addcmul(best, drawn, step)
    return child, ((child < setting.low) | (child > setting.high)).any(1, keepdim=True)


heuristic_crossover.reads_fitness = True  # type: ignore[attr-defined]


def simple_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Swap the tails behind a cut, uniform among the L-1 places between two columns; rows of one column are copied.

    >>> s = Setting(torch.Generator().manual_seed(0), torch.zeros(2), torch.ones(2))
    >>> simple_crossover(torch.tensor([[1, 2]]), torch.tensor([[3, 4]]), s)
    (tensor([[1, 4]]), tensor([[3, 2]]))
    """
    length = first.shape[1]
    cut = setting.randint(max(length - 1, 1), first.shape[0], 1) + 1
    head = torch.arange(length, device=first.device) < cut
    return torch.where(head, first, second), torch.where(head, second, first)

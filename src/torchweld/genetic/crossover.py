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
    a = setting.rand(len(first), 1)
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
    child = torch.addcmul(best, setting.rand(tries, len(best), 1), best - worse)  # (tries, K, L)
    inside = ((child >= setting.low) & (child <= setting.high)).all(2)
    earliest = inside.byte().argmax(0)
    child = child[earliest, torch.arange(len(best), device=best.device)]
    child = torch.where(inside.any(0)[:, None], child, worse)
    return torch.where(first_better, best, child), torch.where(first_better, child, best)


heuristic_crossover.reads_fitness = True  # type: ignore[attr-defined]


def simple_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Swap the tails behind a cut, uniform among the L-1 places between two columns; rows of one column are copied.

    >>> s = Setting(torch.Generator().manual_seed(0), torch.zeros(2), torch.ones(2))
    >>> simple_crossover(torch.tensor([[1, 2]]), torch.tensor([[3, 4]]), s)
    (tensor([[1, 4]]), tensor([[3, 2]]))
    """
    length = first.shape[1]
    cut = setting.randint(max(length - 1, 1), len(first), 1) + 1
    head = torch.arange(length, device=first.device) < cut
    return torch.where(head, first, second), torch.where(head, second, first)

"""Crossovers of permutations: `(first (K, n), second (K, n), setting) -> two children (K, n)`, each a permutation.

K pairs at once. Most keep some places of one parent and fill the rest in the order of the other: `_filled`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.genetic.setting import Setting


def _filled(keeper: Tensor, kept: Tensor, filler: Tensor) -> Tensor:
    """`keeper` at the places `kept` (K, n) bool; the other places take the missing values in `filler`'s order."""
    used = torch.zeros_like(kept).scatter_(1, keeper, kept)
    missing_first = filler.gather(1, used.gather(1, filler).byte().argsort(dim=1, stable=True))
    gap = (~kept).cumsum(1).sub_(1).clamp_(min=0)
    return torch.where(kept, keeper, missing_first.gather(1, gap))


def _segment(first: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Two different cuts of 0..n for each pair, (K, 1) each, the lower one first."""
    n = first.shape[1]
    a = setting.randint(n + 1, len(first), 1)
    b = (a + 1 + setting.randint(n, len(first), 1)) % (n + 1)
    return torch.minimum(a, b), torch.maximum(a, b)


def _places(first: Tensor) -> Tensor:
    return torch.arange(first.shape[1], device=first.device)


def _inside(first: Tensor, setting: Setting) -> Tensor:
    low, high = _segment(first, setting)
    place = _places(first)
    return (place >= low) & (place < high)


def single_point_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Everything before a cut from one parent, the rest in the other's order."""
    kept = _places(first) < setting.randint(first.shape[1] - 1, len(first), 1) + 1
    return _filled(first, kept, second), _filled(second, kept, first)


def linear_order_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """A segment stays in place, the rest is filled from left to right in the other's order (Falkenauer 1991)."""
    kept = _inside(first, setting)
    return _filled(first, kept, second), _filled(second, kept, first)


def order_based_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """A segment stays in place, the rest is filled from behind it and round the end, in the order in which the
    other parent runs from there (Davis 1985)."""
    low, high = _segment(first, setting)
    n = first.shape[1]
    # turned so that the segment ends the row, "behind it and round the end" is left to right
    turn = (_places(first) + high) % n
    kept = _places(first) >= n - (high - low)
    back = (_places(first) - high) % n
    one, two = first.gather(1, turn), second.gather(1, turn)
    return _filled(one, kept, two).gather(1, back), _filled(two, kept, one).gather(1, back)


def uniform_order_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Each place is kept with chance one half, the rest filled in the other's order (Davis 1991)."""
    kept = setting.randint(2, *first.shape).bool()
    return _filled(first, kept, second), _filled(second, kept, first)


def partially_mapped_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """A segment of one parent; outside it the other's values, those already used replaced through the segment's
    mapping, again and again until they are new (Goldberg & Lingle 1985)."""
    kept = _inside(first, setting)
    return _mapped(first, kept, second), _mapped(second, kept, first)


def _mapped(keeper: Tensor, kept: Tensor, other: Tensor) -> Tensor:
    place_of = torch.empty_like(keeper).scatter_(1, keeper, _places(keeper).expand_as(keeper))
    used = torch.zeros_like(kept).scatter_(1, keeper, kept)
    successor = other.gather(1, place_of)  # value -> what the other parent has at its place in the keeper
    child = torch.where(kept, keeper, other)
    while True:
        clash = ~kept & used.gather(1, child)
        if not bool(clash.any()):
            return child
        child = torch.where(clash, successor.gather(1, child), child)


def cyclic_crossover(first: Tensor, second: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """The cycle of places through a random one stays, all others are swapped (Oliver, Smith & Holland 1987)."""
    n = first.shape[1]
    place_in_first = torch.empty_like(first).scatter_(1, first, _places(first).expand_as(first))
    follow = place_in_first.gather(1, second)  # place -> the place where the first parent has the second's value
    label = _places(first).expand_as(first).clone()
    # the least place of each cycle, by pointer doubling: after r rounds it has seen 2^r places ahead
    for _ in range(max(1, (n - 1).bit_length())):
        label = torch.minimum(label, label.gather(1, follow))
        follow = follow.gather(1, follow)
    kept = label == label.gather(1, setting.randint(n, len(first), 1))
    return torch.where(kept, first, second), torch.where(kept, second, first)

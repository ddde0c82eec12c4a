"""What one gene may hold: a real number, a whole number, or one of a few named values."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchweld.core import InputError


@dataclass(frozen=True)
class Real:
    """A real number in [low, high]; with `log`, operators move on its logarithm (low must be positive)."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        if self.log and self.low <= 0:
            raise InputError(f"a log-scaled gene needs a positive lower bound, not {self.low}")


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high], both ends included; with `log`, operators move on its logarithm."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high)
        if self.low != int(self.low) or self.high != int(self.high):
            raise InputError(f"an integer gene needs whole bounds, not ({self.low}, {self.high})")
        if self.log and self.low < 1:
            raise InputError(f"a log-scaled integer gene needs a lower bound of at least 1, not {self.low}")


@dataclass(frozen=True)
class Category:
    """One of `values`, without order: crossing takes it from either parent, mutation draws it anew."""

    values: tuple[Hashable, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise InputError(f"a category needs at least two different values, not {self.values!r}")


Gene = Real | Integer | Category
Bounds = Iterable[Any] | Mapping[str, Any] | Tensor | int


def _check_bounds(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"bounds must be finite, not ({low}, {high})")
    if not low < high:
        raise InputError(f"a lower bound must be below its upper bound, not ({low}, {high})")


def genes_of(bounds: Bounds) -> tuple[tuple[Gene, ...], tuple[str, ...] | None]:
    """The genes that `bounds` describes, and their names where it is a mapping.

    Each entry is a gene or a `(low, high)` pair; a tensor (n, 2) is n pairs. Raises `InputError` naming the entry.

    >>> genes_of([(0, 1), Integer(1, 8)])
    ((Real(low=0.0, high=1.0, log=False), Integer(low=1, high=8, log=False)), None)
    """
    if isinstance(bounds, int):
        raise InputError("a single integer gives the length of a permutation: use encoding='permutation'")
    names = tuple(bounds) if isinstance(bounds, Mapping) else None
    entries = bounds.values() if isinstance(bounds, Mapping) else bounds
    if isinstance(entries, Tensor):
        entries = entries.tolist()
    genes = tuple(_gene(place if names is None else names[place], entry) for place, entry in enumerate(entries))
    if not genes:
        raise InputError("bounds are empty: give one (low, high) pair for each variable")
    return genes, names


def _gene(place: int | str, entry: Any) -> Gene:
    if isinstance(entry, Real | Integer | Category):
        return entry
    try:
        low, high = (float(v) for v in entry)
    except (TypeError, ValueError) as error:
        raise InputError(f"bounds of variable {place!r}: expected (low, high) or a gene, not {entry!r}") from error
    try:
        return Real(low, high)
    except InputError as error:
        raise InputError(f"bounds of variable {place!r}: {error}") from error

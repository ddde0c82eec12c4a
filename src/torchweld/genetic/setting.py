"""What an operator is told besides the rows it works on, and how often it is applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError


@dataclass(frozen=True)
class Setting:
    """The generator to draw from, the bounds of the rows' columns, and how far the run is."""

    generator: torch.Generator
    low: Tensor  # (L,)
    high: Tensor  # (L,)
    progress: float = 0.0  # generation / generations planned, 0 to 1
    first_better: Tensor | None = None  # (K,) bool, crossovers that read fitness: is the first parent the better one
    favour_middle: bool = False  # GAOT's index picks: round(u (high - 1)) gives either end half the chance

    def rand(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) of the rows' dtype (float64 for bits and permutations)."""
        dtype = self.low.dtype if self.low.is_floating_point() else torch.float64
        return torch.rand(shape, generator=self.generator, device=self.low.device, dtype=dtype)

    def randint(self, high: int, *shape: int) -> Tensor:
        """Uniform whole numbers in [0, high)."""
        if self.favour_middle:
            return self.rand(*shape).mul_(high - 1).round_().long()
        return torch.randint(high, shape, generator=self.generator, device=self.low.device)

    def column_and_bound(self, count: int) -> tuple[Tensor, Tensor]:
        """A uniform column for each of `count` rows, and that column's lower or upper bound, both (count, 1)."""
        columns = self.low.shape[0]
        if self.favour_middle:
            end = self.randint(columns, count, 1) + columns * self.randint(2, count, 1)
        else:
            end = self.randint(2 * columns, count, 1)
        return end % columns, torch.cat([self.low, self.high]).take(end)


@dataclass(frozen=True)
class Operator:
    """A crossover `(first, second, setting, **parameters) -> (rows, rows)` or mutation `(rows, setting, ...) -> rows`.

    Either `times`, how many pairs or individuals a generation, or `chance`, the share of individuals that take part.
    It runs in torch's inference mode.
    """

    function: Callable[..., Any]
    times: int | None = None
    chance: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reads_fitness: bool = False

    def __post_init__(self) -> None:
        if (self.times is None) == (self.chance is None):
            raise InputError(f"{self.name}: give either times or chance")
        if self.times is not None and self.times < 0:
            raise InputError(f"{self.name}: times must not be negative, not {self.times}")
        if self.chance is not None and not 0 <= self.chance <= 1:
            raise InputError(f"{self.name}: chance must be between 0 and 1, not {self.chance}")

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__name__", self.function))


def apply(
    function: Callable[..., Any], *, times: int | None = None, chance: float | None = None, **parameters: Any
) -> Operator:
    """An operator with its parameters, as a row of GAOT's `xOverOps` or `mutOps`.

    >>> from torchweld.genetic import heuristic_crossover
    >>> apply(heuristic_crossover, times=2, tries=3).parameters
    {'tries': 3}
    """
    reads_fitness = bool(getattr(function, "reads_fitness", False))
    return Operator(function, times, chance, parameters, reads_fitness)

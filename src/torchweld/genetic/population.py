"""Individuals side by side, and which of them is better: higher fitness, but any feasible one before any other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Population:
    """N individuals. `violation` is 0 where every constraint holds; None means that there are no constraints.

    `polished` marks individuals that a local search has been through; None where there is none.
    """

    rows: Tensor  # (N, L) as operators see them
    fitness: Tensor  # (N,) maximised; -inf for a penalised individual
    violation: Tensor | None = None  # (N,) at least 0
    polished: Tensor | None = None  # (N,) bool

    def __len__(self) -> int:
        return self.fitness.shape[0]  # len(tensor) takes ten times as long

    def __getitem__(self, places: Tensor) -> Population:
        """The individuals at `places` (K,), copied."""
        return self.copied(places)

    def copied(self, places: Tensor, out: Tensor | None = None) -> Population:
        """The individuals at `places` (K,), copied; rows into `out` (K, L) where it is given."""
        # index_select: several times as fast as indexing
        violation, polished = self.violation, self.polished
        return Population(
            torch.index_select(self.rows, 0, places, out=out),
            self.fitness.index_select(0, places),
            None if violation is None else violation.index_select(0, places),
            None if polished is None else polished.index_select(0, places),
        )

    def only(self, place: int) -> Population:
        """One individual, as a view."""
        one = slice(place, place + 1)
        violation, polished = self.violation, self.polished
        return Population(
            self.rows[one],
            self.fitness[one],
            None if violation is None else violation[one],
            None if polished is None else polished[one],
        )

    def put(self, places: Tensor, others: Population, *, rows: bool = True) -> Population:
        """This population with `others` (K) at `places` (K,), written in place where there are tensors to write to.

        `rows=False` leaves the rows as they are: the same individuals, evaluated.
        """
        if rows:
            self.rows[places] = others.rows
        self.fitness[places] = others.fitness
        violation, polished = self.violation, self.polished
        if violation is None and others.violation is not None:
            violation = torch.zeros_like(self.fitness)
        if violation is not None:
            violation[places] = 0.0 if others.violation is None else others.violation
        if polished is not None:
            polished[places] = False if others.polished is None else others.polished
        return self if violation is self.violation else replace(self, violation=violation)

    def take_values(self, places: Tensor, sources: Tensor) -> None:
        """Fitness and all else but the rows at `places` (K,) become those at `sources` (K,), in place."""
        for values in (self.fitness, self.violation, self.polished):
            if values is not None:
                values[places] = values[sources]

    def ordinary(self) -> Population:
        """This population without tensors that inference mode has made, which nothing outside it may write to."""
        fields = {name: getattr(self, name) for name in ("rows", "fitness", "violation", "polished")}
        return Population(**{n: t.clone() if t is not None and t.is_inference() else t for n, t in fields.items()})


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation may return in place of bare fitness.

    `solutions` replace the individuals (repair); `violation` is 0 where every constraint holds, else how far off.
    """

    fitness: Any  # (N,), a number when evaluated one by one
    solutions: Any = None  # (N, n), or (n,) one by one
    violation: Any = None  # (N,), a number one by one


def best_first(population: Population, count: int) -> Tensor:
    """Indices of the `count` best, the best first (count,).

    Feasible individuals come first, by fitness; the others after them, by how little they violate (Deb 2000).

    >>> best_first(Population(torch.zeros(3, 1), torch.tensor([1., 9., 2.]), torch.tensor([0., 0.5, 0.])), 3)
    tensor([2, 0, 1])
    """
    if population.violation is None:
        return population.fitness.topk(count).indices
    order = population.fitness.argsort(descending=True, stable=True)
    return order[population.violation[order].argsort(stable=True)[:count]]


def worst(population: Population) -> Tensor:
    """Index of the worst individual, a scalar tensor."""
    if population.violation is None:
        return population.fitness.argmin()
    return best_first(population, len(population))[-1]


def better(population: Population, first: Tensor, second: Tensor) -> Tensor:
    """Whether the individuals at `first` (K,) are at least as good as those at `second` (K,), bool (K,)."""
    higher = population.fitness[first] >= population.fitness[second]
    if population.violation is None:
        return higher
    a, b = population.violation[first], population.violation[second]
    return torch.where(a == b, higher, a < b)

"""Memetic mode: the best individuals not yet polished go through a local search that the caller hands in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.evaluation import Evaluation
from torchweld.genetic.population import Population, best_first


@dataclass(frozen=True)
class Polished:
    """What a local search returns for K solutions: where it ended, the fitness there, and what it spent.

    `calls` is the number of value-and-gradient calls, all solutions together; each counts as one evaluation, and
    the count with a gradient as n + 1 evaluations is reported beside it.
    """

    solutions: Tensor  # (K, n)
    fitness: Tensor  # (K,)
    calls: int


@dataclass(frozen=True)
class Polish:
    """`function` takes solutions (K, n) and returns `Polished`; the `best` of the unpolished every `every` generations.

    The start population is polished too. A solution that ends outside the bounds is moved to the nearest bound and
    evaluated again, as every one is where there are constraints; one that got worse is thrown away.
    """

    function: Callable[[Tensor], Polished]
    best: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        if self.best < 1 or self.every < 1:
            raise InputError(f"a polish takes at least one individual, every generation or rarer: {self}")


def polish_best(population: Population, polish: Polish, evaluation: Evaluation) -> tuple[Population, int]:
    """Polish the best individuals not yet polished, in place; the population and the value-and-gradient calls spent."""
    encoding = evaluation.encoding
    polished = population.polished
    if polished is None:
        polished = torch.zeros(len(population), dtype=torch.bool, device=population.rows.device)
        population = replace(population, polished=polished)
    candidates = _best_different(population, (~polished).nonzero().squeeze(1), polish.best)
    if not len(candidates):
        return population, 0
    old = population[candidates]
    copies = (population.rows[:, None] == old.rows).all(2).any(1)
    solutions = encoding.decode(old.rows)
    found = _checked(polish.function(solutions), solutions)
    rows = encoding.encode(found.solutions)
    inside = torch.minimum(torch.maximum(rows, encoding.low), encoding.high)
    new = Population(inside, found.fitness)
    unsure = (inside != rows).any(1)
    if old.violation is not None:
        unsure.fill_(True)  # the polish knows nothing of constraints
    if bool(unsure.any()):
        places = unsure.nonzero().squeeze(1)
        new = new.put(places, evaluation(inside[places]))
    better = new.fitness > old.fitness  # False for NaN too
    if old.violation is not None and new.violation is not None:
        better = torch.where(new.violation == old.violation, better, new.violation < old.violation)
    population.put(candidates[better], new[better.nonzero().squeeze(1)])
    polished |= copies
    return population, found.calls


def _best_different(population: Population, places: Tensor, count: int) -> Tensor:
    """The best `count` of the individuals at `places`, no two of them alike."""
    chosen: list[int] = []
    for place in places[best_first(population[places], len(places))].tolist():
        if not any(torch.equal(population.rows[place], population.rows[other]) for other in chosen):
            chosen.append(place)
        if len(chosen) == count:
            break
    return torch.tensor(chosen, dtype=torch.long, device=places.device)


def _checked(polished: Polished, solutions: Tensor) -> Polished:
    """The polished solutions on the device and in the dtype of `solutions`; raises `InputError` on other shapes."""
    if not isinstance(polished, Polished):
        raise InputError(f"a polish must return Polished(solutions, fitness, calls), not {type(polished).__name__}")
    moved = torch.as_tensor(polished.solutions).detach().to(solutions)
    fitness = torch.as_tensor(polished.fitness).detach().to(moved)
    if moved.shape != solutions.shape or fitness.shape != (len(solutions),):
        raise InputError(
            f"a polish of {tuple(solutions.shape)} returned solutions {tuple(moved.shape)}, "
            f"fitness {tuple(fitness.shape)}"
        )
    return Polished(moved, fitness, polished.calls)

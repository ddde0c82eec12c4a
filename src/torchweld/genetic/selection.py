"""Who enters the next generation: functions `(population, size, generator, **parameters) -> indices (size,)`.

A function whose `in_random_order` is True draws each index on its own; the indices of any other are shuffled after it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.population import Population, best_first


def norm_geometric(population: Population, size: int, generator: torch.Generator, *, q: float = 0.08) -> Tensor:
    """Normalised geometric ranking (Joines & Houck 1994): P(rank r) = q' (1-q)^(r-1), q' = q / (1 - (1-q)^N).

    Ranks are drawn by inverting the distribution; only as much of the population is sorted as the worst rank drawn.
    Raises `InputError` unless 0 < q < 1.
    """
    if not 0 < q < 1:
        raise InputError(f"q, the chance of the best individual, must be between 0 and 1, not {q}")
    n = len(population)
    drawn = torch.rand(size, generator=generator, device=population.fitness.device, dtype=torch.float64)
    kept = math.log1p(-q)
    rank = drawn.mul_(math.expm1(n * kept)).log1p_().div_(kept).long().clamp_(max=n - 1)
    return best_first(population, int(rank.max()) + 1)[rank]


def roulette(population: Population, size: int, generator: torch.Generator) -> Tensor:
    """P(i) = fitness_i / sum of fitness. Infeasible and penalised individuals get no share.

    Raises `InputError` where a fitness is negative, or none is positive: shares are then not defined.
    """
    share = population.fitness.double()
    share = torch.where(share == -math.inf, 0.0, share)
    if bool((share < 0).any()):
        raise InputError("roulette selection needs positive fitness: shift it, or use norm_geometric")
    if population.violation is not None:
        share = torch.where(population.violation > 0, 0.0, share)
    wheel = share.cumsum(0)
    if not 0 < float(wheel[-1]) < math.inf:
        raise InputError("roulette selection needs a positive, finite sum of fitness: use norm_geometric")
    drawn = torch.rand(size, generator=generator, device=share.device, dtype=torch.float64) * wheel[-1]
    return torch.searchsorted(wheel, drawn, right=True).clamp_(max=len(share) - 1)


def tournament(population: Population, size: int, generator: torch.Generator, *, k: int = 2) -> Tensor:
    """The best of k individuals drawn with replacement. Raises `InputError` unless k is at least 1."""
    if k < 1:
        raise InputError(f"a tournament needs at least one individual, not {k}")
    n = len(population)
    drawn = torch.randint(n, (size, k), generator=generator, device=population.fitness.device)
    if population.violation is None:
        winner = population.fitness[drawn].argmax(1, keepdim=True)
    else:
        order = best_first(population, n)
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(n, device=order.device))
        winner = rank[drawn].argmin(1, keepdim=True)
    return drawn.gather(1, winner).squeeze(1)


for _function in (norm_geometric, roulette, tournament):
    _function.in_random_order = True  # type: ignore[attr-defined]

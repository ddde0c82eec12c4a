"""The objectives of `genetic_functions.py`, to be minimised: batched (N, n) -> (N,), with gradients where they exist.

Corana: Corana et al. 1987 (float64, pockets of zero gradient); the box of +-10,000 is theirs. The shifted form moves
the minimum off the centre of the box, where a search that favours the centre has no advantage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    value: Callable[[Tensor], Tensor]
    optimum: float

    @property
    def bounds(self) -> list[tuple[float, float]]:
        return list(zip(self.low, self.high, strict=True))


def corana(x: Tensor) -> Tensor:
    weight = torch.tensor([1.0, 1000.0, 10.0, 100.0], dtype=x.dtype).repeat(3)[: x.shape[1]]
    centre = 0.2 * torch.floor((x / 0.2).abs() + 0.49999) * torch.sign(x)
    pocket = 0.15 * (centre - 0.05 * torch.sign(centre)).square() * weight
    return torch.where((x - centre).abs() < 0.05, pocket, weight * x.square()).sum(1)


def shifted_corana(x: Tensor) -> Tensor:
    return corana(x - torch.linspace(-3333.3, 4444.4, x.shape[1], dtype=x.dtype))


def rastrigin(x: Tensor) -> Tensor:
    return (x.square() - 10 * torch.cos(2 * math.pi * x) + 10).sum(1)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(1)


def griewank(x: Tensor) -> Tensor:
    root = torch.arange(1, x.shape[1] + 1, dtype=x.dtype).sqrt()
    return x.square().sum(1) / 4000 - torch.cos(x / root).prod(1) + 1


def michalewicz(x: Tensor) -> Tensor:
    a, b = x.unbind(1)
    return -(21.5 + a * torch.sin(4 * math.pi * a) + b * torch.sin(20 * math.pi * b))


def waves(x: Tensor) -> Tensor:
    v = x[:, 0]
    return -(v + 10 * torch.sin(5 * v) + 7 * torch.cos(4 * v))


def _cube(name: str, value: Callable[[Tensor], Tensor], n: int, half: float) -> Problem:
    return Problem(f"{name} {n}-D", (-half,) * n, (half,) * n, value, 0.0)


# the optima of the last two: Newton's method in float64 from the published points, which `check_optima` repeats
PROBLEMS = (
    *(_cube("Corana", corana, n, 10_000.0) for n in (2, 4, 10)),
    *(_cube("shifted Corana", shifted_corana, n, 10_000.0) for n in (2, 4, 10)),
    _cube("Rastrigin", rastrigin, 10, 5.12),
    _cube("Rosenbrock", rosenbrock, 10, 5.0),
    _cube("Griewank", griewank, 10, 600.0),
    Problem("Michalewicz 2-D", (-3.0, 4.1), (12.1, 5.8), michalewicz, -38.85029447944741),
    Problem("waves 1-D", (0.0,), (9.0,), waves, -24.855362868957833),
)

"""Objectives to minimise: the notes' bowls, and standard test problems with their standard starts.

Source: Moré, Garbow & Hillstrom 1981, "Testing unconstrained optimization software" (numbers in brackets are theirs).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchweld.core import InputError


@dataclass(frozen=True)
class Problem:
    """An objective of a vector (n,), where to start, its least value, and what it is known for."""

    name: str
    f: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    least: float
    about: str

    @property
    def x0(self) -> Tensor:
        """The standard start as a float64 vector."""
        return torch.tensor(self.start, dtype=torch.float64)


def _squares(*residuals: Tensor) -> Tensor:
    return sum((r**2 for r in residuals[1:]), start=residuals[0] ** 2)


def _rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def _freudenstein_roth(x: Tensor) -> Tensor:
    a, b = x.unbind()
    return _squares(-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b)


def _powell_badly_scaled(x: Tensor) -> Tensor:
    a, b = x.unbind()
    return _squares(1e4 * a * b - 1, torch.exp(-a) + torch.exp(-b) - 1.0001)


def _brown_badly_scaled(x: Tensor) -> Tensor:
    a, b = x.unbind()
    return _squares(a - 1e6, b - 2e-6, a * b - 2)


def _beale(x: Tensor) -> Tensor:
    a, b = x.unbind()
    return _squares(*(y - a * (1 - b**i) for i, y in ((1, 1.5), (2, 2.25), (3, 2.625))))


def _helical_valley(x: Tensor) -> Tensor:
    a, b, c = x.unbind()
    # the published arctan(b / a) with half a turn added for a < 0, in one smooth piece around the start
    theta = torch.atan2(b, a) / (2 * math.pi)
    theta = torch.where((a < 0) & (b < 0), theta + 1, theta)
    return _squares(10 * (c - 10 * theta), 10 * (torch.sqrt(a * a + b * b) - 1), c)


_BARD = (0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39)


def _bard(x: Tensor) -> Tensor:
    u = torch.arange(1, 16, dtype=x.dtype)
    v = 16 - u
    y = torch.tensor(_BARD, dtype=x.dtype)
    return ((y - (x[0] + u / (v * x[1] + torch.minimum(u, v) * x[2]))) ** 2).sum()


_GAUSSIAN = (0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989)


def _gaussian(x: Tensor) -> Tensor:
    y = torch.tensor(_GAUSSIAN + _GAUSSIAN[-2::-1], dtype=x.dtype)
    t = (8 - torch.arange(1, 16, dtype=x.dtype)) / 2
    return ((x[0] * torch.exp(-x[1] * (t - x[2]) ** 2 / 2) - y) ** 2).sum()


def _powell_singular(x: Tensor) -> Tensor:
    a, b, c, d = x.unbind()
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def _wood(x: Tensor) -> Tensor:
    a, b, c, d = x.unbind()
    return (
        100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2 + 0.1 * (b - d) ** 2
    )  # fmt: skip


def _biggs(x: Tensor) -> Tensor:
    t = torch.arange(1, 14, dtype=x.dtype) / 10
    y = torch.exp(-t) - 5 * torch.exp(-10 * t) + 3 * torch.exp(-4 * t)
    return ((x[2] * torch.exp(-t * x[0]) - x[3] * torch.exp(-t * x[1]) + x[5] * torch.exp(-t * x[4]) - y) ** 2).sum()


def _toy(x: Tensor) -> Tensor:
    return 0.1 * x[0] ** 2 + 2 * x[1] ** 2


def _himmelblau(x: Tensor) -> Tensor:
    a, b = x.unbind()
    return _squares(a**2 + b - 11, a + b**2 - 7)


def _saddle(x: Tensor) -> Tensor:
    return 0.25 * x[0] ** 4 - 0.5 * x[0] ** 2 + 0.5 * x[1] ** 2


PROBLEMS: dict[str, Problem] = {
    p.name: p
    for p in (
        Problem("rosenbrock", _rosenbrock, (-1.2, 1.0), 0.0, "a curved valley (1)"),
        Problem("rosenbrock5", _rosenbrock, (1.3, 0.7, 0.8, 1.9, 1.2), 0.0, "the valley in five dimensions"),
        Problem("freudenstein-roth", _freudenstein_roth, (0.5, -2.0), 0.0, "a local minimum of 48.9843 on the way (2)"),
        Problem("powell-badly-scaled", _powell_badly_scaled, (0.0, 1.0), 0.0, "curvatures 1e8 apart (3)"),
        Problem("brown-badly-scaled", _brown_badly_scaled, (1.0, 1.0), 0.0, "a minimum at (1e6, 2e-6) (4)"),
        Problem("beale", _beale, (1.0, 1.0), 0.0, "a flat valley (5)"),
        Problem("helical-valley", _helical_valley, (-1.0, 0.0, 0.0), 0.0, "a valley that winds (7)"),
        Problem("bard", _bard, (1.0, 1.0, 1.0), 8.21487730657e-3, "a fit of 15 points (8)"),
        Problem("gaussian", _gaussian, (0.4, 1.0, 0.0), 1.12793276961e-8, "a fit of a bell (9)"),
        Problem(
            "powell-singular", _powell_singular, (3.0, -1.0, 0.0, 1.0), 0.0, "a singular Hessian at the minimum (13)"
        ),
        Problem("wood", _wood, (-3.0, -1.0, -3.0, -1.0), 0.0, "a plateau before the valley (14)"),
        Problem("biggs-exp6", _biggs, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), 0.0, "sums of exponentials (18)"),
        Problem("toy", _toy, (-5.0, -2.0), 0.0, "the notes' bowl 0.1 x^2 + 2 y^2"),
        Problem("himmelblau", _himmelblau, (0.0, 0.0), 0.0, "four equal minima"),
        Problem("saddle", _saddle, (0.0, 1.0), -0.25, "starts where the gradient leads to a saddle point"),
    )
}


def problem(name: str) -> Problem:
    """The problem of that name; raises `InputError` with the names there are.

    >>> problem("rosenbrock").x0
    tensor([-1.2000,  1.0000], dtype=torch.float64)
    """
    if name not in PROBLEMS:
        raise InputError(f"no problem {name!r}; there are {', '.join(PROBLEMS)}")
    return PROBLEMS[name]

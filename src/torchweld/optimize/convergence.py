"""How fast methods converge: the measured shrinkage of the error an iteration, against the condition number.

On a quadratic with curvatures between m and M, kappa = M / m, theory gives a factor an iteration of
(kappa - 1) / (kappa + 1) for gradient descent with its best fixed step 2 / (M + m), and for exact line search at worst;
(sqrt kappa - 1) / (sqrt kappa + 1) for momentum with its best constants (Polyak 1964).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.optimize.minimizing import Result, minimize


@dataclass(frozen=True)
class Rate:
    """One method at one condition number: error factors an iteration, measured and by theory, iterations for 1e-6."""

    method: str
    condition: float
    measured: float
    theory: float
    iterations: int

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON."""
        return asdict(self)


def _plain(k: float) -> float:
    return (k - 1) / (k + 1)


def _root(k: float) -> float:
    return (math.sqrt(k) - 1) / (math.sqrt(k) + 1)


def bowl(condition: float, n: int = 10, seed: int = 0) -> Tensor:
    """A symmetric matrix (n, n) with eigenvalues from 1 to `condition`, even on a log scale, along random axes."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))[0]
    return axes @ torch.diag(torch.logspace(0, math.log10(condition), n, dtype=torch.float64)) @ axes.mT


def convergence(
    conditions: Sequence[float], methods: Sequence[str] = ("gd", "gd-exact", "momentum", "cg", "newton"), *, n: int = 10
) -> tuple[Rate, ...]:
    """Measure each method on a quadratic of `n` variables at each condition number, from its worst start.

    The worst start is equally far, in gradient, along the flattest and the steepest axis. `measured` is the mean
    factor by which the distance to the minimum shrinks, over the iterations until it is 1e-6 of the first.
    Raises `InputError` for methods without a known rate here.

    >>> rate = convergence([10.0], ["gd"])[0]
    >>> abs(rate.measured - 9 / 11) < 0.01
    True
    """
    rates = []
    for condition in conditions:
        matrix = bowl(condition, n)
        values, axes = torch.linalg.eigh(matrix)
        start = axes @ (1 / values)
        options: dict[str, tuple[dict[str, Any], float]] = {
            "gd": ({"learning_rate": 2 / (1 + condition)}, _plain(condition)),
            "gd-exact": ({}, _plain(condition)),
            "momentum": ({"learning_rate": (2 / (math.sqrt(condition) + 1)) ** 2, "momentum": _root(condition) ** 2},
                         _root(condition)),
            "cg": ({"line_search": "exact"}, 0.0),
            "newton": ({}, 0.0),
        }  # fmt: skip
        for method in methods:
            if method not in options:
                raise InputError(f"no rate is known for {method!r}; choose {', '.join(options)}")
            chosen, theory = options[method]
            result = minimize(
                lambda x, matrix=matrix: 0.5 * x @ matrix @ x,
                start,
                method,
                gradient_tolerance=1e-13,
                max_iterations=20000,
                **chosen,
            )
            measured, iterations = shrinkage(result)
            rates.append(Rate(method, condition, measured, theory, iterations))
    return tuple(rates)


def shrinkage(result: Result, minimum: Tensor | None = None, until: float = 1e-6) -> tuple[float, int]:
    """The mean factor an iteration by which the distance to `minimum` (zero if not given) fell, and the iterations.

    Counted up to the first iterate whose distance is `until` of the first's.
    """
    away = result.trajectory.points - (0 if minimum is None else minimum)
    distance = torch.linalg.vector_norm(away, dim=1)
    reached = (distance <= until * distance[0]).nonzero()
    last = int(reached[0]) if len(reached) else len(distance) - 1
    if last == 0:
        return 1.0, 0
    ratio = max(distance[last].item() / distance[0].item(), 1e-300)
    return ratio ** (1 / last) if ratio > 1e-16 else 0.0, last

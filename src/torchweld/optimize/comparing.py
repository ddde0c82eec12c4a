"""Several methods on one objective, by names: what `torchweld minimize` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.autodiff.expression import parse
from torchweld.core import InputError
from torchweld.optimize import plot
from torchweld.optimize.critical import Critical, classify
from torchweld.optimize.minimizing import METHODS, Result, minimize
from torchweld.optimize.problems import PROBLEMS, problem

_LEARNS = ("gd", "momentum", "nesterov", "adagrad", "adagrad-mean", "rmsprop", "adam")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results by method in the order asked, what kind of point each found, and the objective they share."""

    objective: str
    variables: tuple[str, ...]
    f: Callable[[Tensor], Tensor]
    least: float
    results: tuple[Result, ...]
    kinds: tuple[Critical, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """A table's rows: method, kind of point, value, point (its first four numbers), counts."""
        out = []
        for r, k in zip(self.results, self.kinds, strict=True):
            at = ", ".join(f"{v:.4f}" for v in r.x[:4].tolist()) + (", ..." if r.x.numel() > 4 else "")
            out.append((r.method, k.kind, f"{r.value:.4g}", f"({at})", *(str(n) for n in vars(r.counts).values())))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, ready for JSON."""
        runs = [r.to_dict() | {"kind": k.kind} for r, k in zip(self.results, self.kinds, strict=True)]
        return {"objective": self.objective, "variables": list(self.variables), "results": runs}


def compare(
    objective: str,
    start: Mapping[str, float],
    methods: Sequence[str],
    *,
    learning_rate: float | None = None,
    max_iterations: int = 1000,
    gradient_tolerance: float = 1e-5,
    derivatives: str = "func",
) -> Comparison:
    """Minimise a named problem or the text of an expression by each method from one start.

    `start` gives every variable of an expression; of a named problem, any that should not be at its standard start.
    `learning_rate` goes to the methods that take one. Raises `InputError` for names that are not known.
    """
    f, variables, x0, least = _read(objective, start)
    unknown = [m for m in methods if m not in METHODS]
    if unknown or not methods:
        raise InputError(f"no method {', '.join(unknown)!r}; there are {', '.join(METHODS)}")
    stopping: dict[str, Any] = {"max_iterations": max_iterations, "gradient_tolerance": gradient_tolerance}
    rate: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    results = tuple(
        minimize(f, x0, method, derivatives=derivatives, **stopping, **(rate if method in _LEARNS else {}))
        for method in methods
    )
    kinds = tuple(classify(f, r.x, gradient_tolerance=max(gradient_tolerance, 1e-5)) for r in results)
    return Comparison(objective, variables, f, least, results, kinds)


_Objective = tuple[Callable[[Tensor], Tensor], tuple[str, ...], Tensor, float]


def _read(objective: str, start: Mapping[str, float]) -> _Objective:
    if objective in PROBLEMS:
        chosen = problem(objective)
        variables = tuple(f"x{i + 1}" for i in range(len(chosen.start)))
        values = dict(zip(variables, chosen.start, strict=True))
        extra = set(start) - set(variables)
        if extra:
            raise InputError(f"{objective} has no variable {', '.join(sorted(extra))}; it has {', '.join(variables)}")
        x0 = torch.tensor([start.get(n, values[n]) for n in variables], dtype=torch.float64)
        return chosen.f, variables, x0, chosen.least
    if objective.isidentifier():
        raise InputError(f"no problem {objective!r}; there are {', '.join(PROBLEMS)}; or write an expression")
    expression = parse(objective)
    if not expression.variables or set(start) != set(expression.variables):
        raise InputError(
            f"give a start for each of {', '.join(expression.variables) or 'its variables'}, as NAME=NUMBER"
        )
    x0 = torch.tensor([start[n] for n in expression.variables], dtype=torch.float64)
    return expression.of_vector, expression.variables, x0, 0.0


def draw(comparison: Comparison, target: str | os.PathLike[str]) -> None:
    """The picture that fits: steps on a curve for one variable, contours for two, value against evaluations beyond."""
    count = len(comparison.variables)
    if count == 1:
        f = comparison.f
        plot.steps_on_a_curve(lambda x: f(x[None]), comparison.results, target, title=comparison.objective)
    elif count == 2:
        plot.contours(comparison.f, comparison.results, target, title=comparison.objective)
    else:
        plot.value_against_evaluations(comparison.results, target, least=comparison.least, title=comparison.objective)

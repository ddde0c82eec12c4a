"""What a run returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchweld.genetic.population import Population


@dataclass(frozen=True)
class Best:
    """The best individual: its solution (n,), as the evaluation saw it, and its value."""

    solution: Tensor
    values: Any  # the same with names, whole numbers and categories as given in the bounds
    fitness: float
    violation: float = 0.0


@dataclass(frozen=True)
class Result:
    """`history`, one row when the best improved and the last: generation, solution, fitness (GAOT's bPop).

    `trace`, one row a generation: generation, best, mean, std (over N-1), evaluations so far (GAOT's traceInfo).
    """

    best: Best
    population: Population  # the end population, as rows of the encoding
    solutions: Tensor  # (N, n) the end population's solutions
    history: Tensor  # (H, 1 + n + 1) float64
    trace: Tensor  # (G, 5) float64
    evaluations: int  # every evaluation, a value-and-gradient call of the polish being one
    gradient_calls: int  # how many of them gave a gradient too
    evaluations_with_gradients: int  # the same, a gradient call counted as n + 1
    generations: int
    seconds: float
    stopped: str  # the limit that ended the run

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "best": {"solution": self.best.solution.tolist(), "fitness": self.best.fitness}
            | ({"violation": self.best.violation} if self.best.violation else {}),
            "population": {"solutions": self.solutions.tolist(), "fitness": self.population.fitness.tolist()},
            "history": self.history.tolist(),
            "trace": self.trace.tolist(),
            "evaluations": self.evaluations,
            "gradient_calls": self.gradient_calls,
            "evaluations_with_gradients": self.evaluations_with_gradients,
            "generations": self.generations,
            "seconds": self.seconds,
            "stopped": self.stopped,
        }

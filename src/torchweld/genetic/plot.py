"""Pictures of a run: best, mean and spread against evaluations, and where the population stands in two variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError, written_whole
from torchweld.genetic.result import Result

Target = str | os.PathLike[str]


def progress(result: Result, target: Target) -> None:
    """Best, mean and one standard deviation round it, generation by generation, against evaluations; PNG or SVG.

    The axis shows what the generations after the start spread over, so that a hopeless start does not flatten it.
    """
    _, best, mean, std, evaluations = result.trace.unbind(1)
    figure, axes = _figure()
    std = std.nan_to_num(0.0)
    axes.fill_between(evaluations, mean - std, mean + std, alpha=0.2, color="tab:blue", label="mean ± std")
    axes.plot(evaluations, mean, color="tab:blue", label="mean")
    axes.plot(evaluations, best, color="tab:red", label="best")
    if len(best) > 10:
        low, high = float(torch.quantile((mean - std)[1:], 0.02)), float(best[-1])
        margin = 0.05 * (high - low)
        if margin > 0:
            axes.set_ylim(low - margin, high + margin)
    axes.set(
        xlabel="evaluations", ylabel="fitness", title=f"best {result.best.fitness:.6g}, stopped by {result.stopped}"
    )
    axes.legend(loc="lower right")
    _save(figure, target)


def population(
    solutions: Tensor | Sequence[Tensor],  # (N, n), or one tensor a moment
    bounds: Sequence[tuple[float, float]],
    target: Target,
    *,
    evaluate: Callable[[Tensor], Tensor] | None = None,
    variables: tuple[int, int] = (0, 1),
    labels: Sequence[str] = (),
) -> None:
    """Individuals in two of their variables, over the objective's contours where there are just two; PNG or SVG.

    `solutions` may be a sequence of populations, each drawn in its own colour under its label. Raises `InputError`
    where `variables` are not two different columns of the solutions.
    """
    moments = [solutions] if isinstance(solutions, Tensor) else list(solutions)
    n = moments[0].shape[1]
    first, second = variables
    if first == second or not (0 <= first < n and 0 <= second < n):
        raise InputError(f"variables {variables} are not two different columns of solutions with {n}")
    figure, axes = _figure()
    (left, right), (bottom, top) = bounds[first], bounds[second]
    if evaluate is not None and n == 2:
        x, y = (torch.linspace(low, high, 301, dtype=torch.float64) for low, high in bounds)
        grid = torch.cartesian_prod(x, y)
        axes.contourf(x, y, evaluate(grid).view(301, 301).T, levels=24, cmap="Greys", alpha=0.6)
    for place, moment in enumerate(moments):
        label = labels[place] if place < len(labels) else None
        axes.scatter(
            moment[:, first], moment[:, second], s=14, color=f"C{place}", label=label, zorder=3 + place, clip_on=False
        )
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=f"variable {first}", ylabel=f"variable {second}")
    if labels:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(labels), frameon=False)  # covers no point
    _save(figure, target)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # slow to import, and only pictures need it

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, target: Target) -> None:
    suffix = Path(target).suffix.lower().lstrip(".")
    if suffix not in ("png", "svg"):
        raise InputError(f"{os.fspath(target)}: a picture is written as .png or .svg")
    with written_whole(target) as path:
        figure.savefig(path, dpi=110, format=suffix)

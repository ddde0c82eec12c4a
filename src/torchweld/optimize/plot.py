"""Pictures of minimisation: paths over contours, steps on a curve, value against evaluations, rates, error surfaces."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError, written_whole
from torchweld.optimize.convergence import Rate
from torchweld.optimize.minimizing import Result
from torchweld.optimize.surface import Surface

Target = str | os.PathLike[str]
_FORMATS = (".png", ".svg", ".pdf")
_MARKERS = "osD^vPX*"


def contours(
    f: Callable[[Tensor], Tensor],
    results: Sequence[Result],
    target: Target,
    *,
    box: Sequence[tuple[float, float]] | None = None,
    grid: int = 160,
    title: str = "",
) -> None:
    """Trajectories of an objective of two variables over its contours, levels spaced as the values are; to PNG or SVG.

    `box` is `(low, high)` for each variable, around the trajectories if not given.
    """
    if not results or results[0].x.numel() != 2:
        raise InputError(
            "contours are drawn for objectives of two variables; give value_against_evaluations the others"
        )
    (x_low, x_high), (y_low, y_high) = box or _around(results)
    xs, ys = (torch.linspace(a, b, grid, dtype=torch.float64) for a, b in ((x_low, x_high), (y_low, y_high)))
    points = torch.cartesian_prod(xs, ys)
    heights = torch.func.vmap(f)(points).reshape(grid, grid).mT
    figure, axes = _figure()
    finite = heights[heights.isfinite()]
    low, high = finite.min(), finite.max()
    levels = (low + (high - low).clamp_min(1e-12) * torch.linspace(0, 1, 22, dtype=torch.float64) ** 4).tolist()
    colours = {"cmap": "Blues", "alpha": 0.55, "norm": "asinh"}  # valleys are told apart as well as walls
    axes.contourf(xs, ys, heights, levels, **colours)
    axes.contour(xs, ys, heights, levels, colors="#44556688", linewidths=0.5)
    for i, result in enumerate(results):
        path = result.trajectory.points
        label = f"{result.method}: {result.counts.iterations} iterations"
        axes.plot(
            *path.mT,
            "-",
            marker=_MARKERS[i % 8],
            markersize=3.5 if len(path) < 60 else 1.5,
            linewidth=1.2,
            color=f"C{(i + 1) % 10}",
            label=label,
        )
    axes.plot(*results[0].trajectory.points[0], "k*", markersize=11, label="start", zorder=1)
    axes.set(xlabel="x1", ylabel="x2", title=title, xlim=(x_low, x_high), ylim=(y_low, y_high))
    axes.legend(loc="best", fontsize=8)
    _save(figure, target)


def _around(results: Sequence[Result]) -> list[tuple[float, float]]:
    """A box around the paths; one that diverged must not hide the others, so it counts with its ends alone."""
    ends = [torch.stack([r.trajectory.points[0], r.x]) for r in results]
    reach = 20 * (torch.cat(ends).amax(0) - torch.cat(ends).amin(0)).max()
    shown = []
    for r, own in zip(results, ends, strict=True):
        path = r.trajectory.points[r.trajectory.points.isfinite().all(1)]
        shown.append(path if (path.amax(0) - path.amin(0)).max() <= reach else own)
    points = torch.cat(shown)
    low, high = points.amin(0), points.amax(0)
    margin = 0.15 * (high - low).clamp_min(0.2 * float((high - low).max()) + 1e-6)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def steps_on_a_curve(
    f: Callable[[Tensor], Tensor], results: Sequence[Result], target: Target, *, title: str = ""
) -> None:
    """Iterates of an objective of one number (a tensor without axes) on its curve."""
    points = torch.cat([r.trajectory.points for r in results])
    if points.shape[1] != 1:
        raise InputError("steps on a curve are drawn for objectives of one variable")
    low, high = points.min().item(), points.max().item()
    margin = 0.15 * max(high - low, 1e-6)
    xs = torch.linspace(low - margin, high + margin, 400, dtype=torch.float64)
    figure, axes = _figure()
    axes.plot(xs, torch.func.vmap(f)(xs), color="#334155")
    for i, r in enumerate(results):
        label = f"{r.method}: {r.counts.iterations} iterations"
        axes.plot(
            r.trajectory.points[:, 0],
            r.trajectory.values,
            marker=_MARKERS[i % 8],
            linewidth=1,
            markersize=4,
            label=label,
        )
    axes.set(xlabel="x", ylabel="f(x)", title=title)
    axes.legend(fontsize=8)
    _save(figure, target)


def value_against_evaluations(
    results: Sequence[Result], target: Target, *, least: float = 0.0, title: str = ""
) -> None:
    """How far the value still lies above `least`, against the evaluations spent, on a log scale."""
    figure, axes = _figure()
    for i, r in enumerate(results):
        above = (r.trajectory.values - least).clamp_min(1e-17)
        axes.plot(r.trajectory.evaluations, above, marker=_MARKERS[i % 8], markersize=3, linewidth=1.2, label=r.method)
    axes.set(xlabel="evaluations of f", ylabel="f - least" if least else "f", yscale="log", title=title)
    if max(r.counts.values for r in results) > 20 * min(r.counts.values for r in results):
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, target)


def rates(measured: Sequence[Rate], target: Target) -> None:
    """Iterations to shrink the distance to 1e-6, measured (marks) and by theory (lines), against condition number."""
    figure, axes = _figure()
    for i, method in enumerate(dict.fromkeys(r.method for r in measured)):
        mine = [r for r in measured if r.method == method]
        conditions = [r.condition for r in mine]
        axes.plot(conditions, [r.iterations for r in mine], _MARKERS[i % 8], color=f"C{i}", label=method)
        theory = [(r.condition, -13.8155 / torch.tensor(r.theory).log().item()) for r in mine if 0 < r.theory < 1]
        axes.plot(*zip(*theory, strict=True), "-", color=f"C{i}", linewidth=1) if theory else None
    axes.set(xscale="log", yscale="log", xlabel="condition number", ylabel="iterations to 1e-6 of the first distance",
             title="marks: measured; lines: theory")  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    _save(figure, target)


def surface(measured: Surface, target: Target, *, title: str = "") -> None:
    """An error surface as contours and in relief, side by side."""
    figure = _blank(11, 4.6)
    flat, relief = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")
    u, v = torch.meshgrid(measured.offsets, measured.offsets, indexing="ij")
    filled = flat.contourf(u, v, measured.losses, 24, cmap="viridis")
    flat.plot(0, 0, "r*", markersize=11)
    flat.set(xlabel="along the first direction", ylabel="along the second", title=title)
    figure.colorbar(filled, ax=flat, label="loss")
    relief.plot_surface(u.numpy(), v.numpy(), measured.losses.numpy(), cmap="viridis", linewidth=0)
    relief.set(xlabel="first", ylabel="second", zlabel="loss")
    relief.locator_params(nbins=5)
    relief.set_box_aspect(None, zoom=0.8)
    _save(figure, target)


def curves(
    series: dict[str, tuple[Sequence[float], Sequence[float]]],
    target: Target,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    xscale: str = "linear",
    yscale: str = "linear",
) -> None:
    """Named curves of (x, y) on one pair of axes."""
    figure, axes = _figure()
    for i, (name, (x, y)) in enumerate(series.items()):
        axes.plot(x, y, marker=_MARKERS[i % 8], markersize=4, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale=xscale, yscale=yscale)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, target)


def _blank(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # slow to import, and only pictures need it

    return Figure(figsize=(width, height), layout="constrained")


def _figure() -> tuple[Any, Any]:
    figure = _blank(7.2, 5.2)
    return figure, figure.add_subplot()


def _save(figure: Any, target: Target) -> None:
    if Path(target).suffix.lower() not in _FORMATS:
        raise InputError(f"{os.fspath(target)}: a picture's name must end in {', '.join(_FORMATS)}")
    with written_whole(target) as path:
        figure.savefig(path, dpi=130)

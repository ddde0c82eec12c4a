"""The comparison as one picture: cost and steps above, sight of order and place and reach below."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torchweld.core import InputError, written_whole
from torchweld.diagnosis.sequence.compare import SequenceComparison
from torchweld.diagnosis.sequence.positions import UNSEEN

_COLOURS = {"cnn": "#0f766e", "gru": "#b45309", "transformer": "#4338ca", "transformer, bare": "#a5b4fc"}
_MARKERS = {"cnn": "s", "gru": "o", "transformer": "^"}
_NAMES = {"cnn": "CNN", "gru": "RNN (GRU)", "transformer": "Transformer"}
_FORMATS = (".png", ".svg", ".pdf")
_FLOOR = 1e-16


def draw_comparison(made: SequenceComparison, target: str | os.PathLike[str]) -> None:
    """Write the picture as PNG, SVG or PDF. Raises `InputError` for another suffix."""
    from matplotlib.figure import Figure

    if Path(target).suffix.lower() not in _FORMATS:
        raise InputError(f"{target}: a picture is written as {', '.join(_FORMATS)}")
    figure = Figure(figsize=(15.5, 7.6), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    for i, (what, title, unit) in enumerate(
        (
            ("FLOPs", "cost of one layer, counted", "FLOPs"),
            ("seconds", "the same, measured on one thread", "seconds of processor time"),
            ("serial steps", "steps that wait for each other", "operations, longest chain"),
            ("path", "way from the first input to the last output", "operations, shortest chain"),
        )
    ):
        _growth(figure.add_subplot(grid[0, i]), made, what, title, unit)
    _answers(figure.add_subplot(grid[1, :2]), made)
    _reach(figure.add_subplot(grid[1, 2]), made)
    _distance(figure.add_subplot(grid[1, 3]), made)
    with written_whole(target) as path:
        figure.savefig(path, dpi=110)


def _growth(axes: Any, made: SequenceComparison, what: str, title: str, unit: str) -> None:
    for g in made.growths:
        if g.what == what:
            label = f"{_NAMES[g.core]}  $n^{{{abs(g.exponent):.2f}}}$"
            axes.plot(g.lengths, g.values, f"{_MARKERS[g.core]}-", color=_COLOURS[g.core], ms=4, lw=1.4, label=label)
    axes.set(yscale="log", xlabel="positions n", ylabel=unit)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda n, _: f"{n:.0f}")
    _finish(axes, title)


def _answers(axes: Any, made: SequenceComparison) -> None:
    groups = (
        ("order", "shuffled"),
        ("relative", "one mark moved\n(relative position)"),
        ("absolute_middle", "both moved, inside\n(absolute position)"),
        ("absolute_border", "both moved, to the border\n(absolute position)"),
    )
    width = 0.2
    for j, r in enumerate(made.responses):
        values = [max(getattr(r, key), _FLOOR) for key, _ in groups]
        places = [i + (j - 1.5) * width for i in range(len(groups))]
        name = _NAMES.get(r.variant, "Transformer without positions")
        axes.bar(places, values, width * 0.92, color=_COLOURS[r.variant], label=name)
        for x, value in zip(places, values, strict=True):
            seen = value >= UNSEEN
            text = (f"{value:.2g}" if value >= 0.01 else f"{value:.0e}") if seen else "unseen"
            axes.text(x, value * 1.6, text, ha="center", va="bottom", fontsize=7, color="#334155")
    axes.axhspan(_FLOOR, UNSEEN, color="#e2e8f0", zorder=0)
    axes.text(-0.73, UNSEEN / 3, "rounding", ha="left", va="top", fontsize=7.5, color="#64748b")
    axes.set(yscale="log", ylim=(_FLOOR, 3e3), xlim=(-0.75, 3.5), ylabel="relative change of the output")
    axes.set_xticks(range(len(groups)), [label for _, label in groups])
    _finish(axes, "what two encoder layers see of order and place", columns=4)


def _reach(axes: Any, made: SequenceComparison) -> None:
    for r in made.reaches:
        seen = [(d, g) for d, g in zip(r.depths, r.by_depth, strict=True) if g > 0]
        axes.plot(*zip(*seen, strict=True), f"{_MARKERS[r.core]}-", color=_COLOURS[r.core], ms=4, label=_NAMES[r.core])
        blind = [d for d, g in zip(r.depths, r.by_depth, strict=True) if g == 0]
        if blind:
            low = min(g for other in made.reaches for g in other.by_depth if g > 0) / 10
            axes.plot(
                blind, [low] * len(blind), "x", color=_COLOURS[r.core], ms=6, label=f"{_NAMES[r.core]}: exactly 0"
            )
    length = made.reaches[0].length
    axes.set(yscale="log", xlabel="layers", ylabel="gradient norm")
    _finish(axes, f"last output to first input of {length}, by depth")


def _distance(axes: Any, made: SequenceComparison) -> None:
    for r in made.reaches:
        seen = [(d, g) for d, g in zip(r.distances, r.by_distance, strict=True) if g > 0]
        name = _NAMES[r.core] + ("" if len(seen) == len(r.distances) else f": exactly 0 beyond {seen[-1][0]}")
        axes.plot(*zip(*seen, strict=True), f"{_MARKERS[r.core]}-", color=_COLOURS[r.core], ms=4, label=name)
    axes.set(yscale="log", xlabel="distance from the last output", ylabel="gradient norm")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda n, _: f"{n:.0f}")
    _finish(axes, "the same for 2 layers, by distance")


def _finish(axes: Any, title: str, columns: int = 1) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(True, which="major", color="#e2e8f0", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, ncols=columns)

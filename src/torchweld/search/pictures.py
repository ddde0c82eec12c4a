"""Pictures of a search: what each trial came to as the epochs were spent, and which settings decided it."""

from __future__ import annotations

import os
from typing import cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torchweld.core import InputError, written_whole
from torchweld.search.result import Found

_LOOKS = {
    "complete": ("o", "#1f77b4", "complete"),
    "pruned": ("x", "#888888", "pruned"),
    "failed": ("v", "#d62728", "failed"),
}


def draw_history(found: Found, target: str | os.PathLike[str]) -> None:
    """The held-out score of each trial over the epochs spent by its end, and the best completed so far."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = cast(Axes, figure.add_subplot())
    ends, total = {}, 0
    for trial in found.trials:
        total += trial.epochs
        ends[trial.number] = total
    scored = [trial.score for trial in found.trials if trial.score is not None]
    floor = min(scored, default=0.0)
    for state, (marker, colour, label) in _LOOKS.items():
        shown = [trial for trial in found.trials if trial.state == state]
        if shown:
            heights = [floor if trial.score is None or state == "failed" else trial.score for trial in shown]
            axis.plot([ends[t.number] for t in shown], heights, marker, color=colour, label=f"{label} ({len(shown)})")
    done = [trial for trial in found.trials if trial.state == "complete" and trial.score is not None]
    best = [max(cast(float, t.score) for t in done[: i + 1]) for i in range(len(done))]
    axis.step([*(ends[t.number] for t in done), total], [*best, best[-1]], where="post", color="#1f77b4", linewidth=1)
    axis.set_xlabel("epochs spent, of all trials")
    axis.set_ylabel("held-out score, best epoch")
    axis.set_title(
        f"{found.sampler}: {len(found.trials)} trials, {found.epochs} epochs, best {found.best.score:.4f}", fontsize=10
    )
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=9)
    with written_whole(target) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_importance(found: Found, target: str | os.PathLike[str]) -> None:
    """Bars: the share of each setting in the rank of a trial. Raises `InputError` where there were too few trials."""
    if not found.importance:
        raise InputError("importance needs four finished trials at least")
    figure = Figure(figsize=(8, 1.2 + 0.35 * len(found.importance)), layout="constrained")
    axis = cast(Axes, figure.add_subplot())
    names = list(found.importance)[::-1]
    bars = axis.barh(names, [found.importance[name] for name in names], color="#1f77b4")
    axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
    axis.set_xlim(0, 1.12 * max(found.importance.values()))
    axis.set_xlabel("share in the rank of a trial (functional ANOVA)")
    axis.grid(axis="x", alpha=0.3)
    with written_whole(target) as temporary:
        figure.savefig(temporary, dpi=110)

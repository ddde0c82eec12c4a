"""Schedules drawn: the rate against time, on a linear and on a logarithmic scale."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from torchweld.core import written_whole
from torchweld.training.schedules import Schedule


def plot(
    schedules: Mapping[str, Schedule],
    length: float,
    target: str | os.PathLike[str],
    unit: str = "epochs",
) -> None:
    """Writes a picture of the schedules by name, from time 0 to `length`; its format by the target's suffix.

    >>> import tempfile, pathlib
    >>> from torchweld.training import Cosine
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "rates.svg"
    >>> plot({"cosine": Cosine(0.1, 1e-4, 40)}, 40, file)
    >>> file.stat().st_size > 1000
    True
    """
    times = np.linspace(0, length, 1001)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        for name, schedule in schedules.items():
            axes.plot(times, [schedule(t) for t in times], label=name, linewidth=1.6)
        axes.set(xlabel=unit, ylabel="learning rate", yscale=scale)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    with written_whole(target) as temporary:
        figure.savefig(temporary, dpi=130)

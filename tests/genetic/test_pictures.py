"""Pictures are written whole and show what they should; the bar shows the best of each generation."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import Options, ProgressBar, Terminate, ga, plot

BOX = [(-3.0, 12.1), (4.1, 5.8)]


def total(x: Tensor) -> Tensor:
    return x.sum(1)


def test_pictures_hold_their_labels_and_points(tmp_path: Path) -> None:
    found = ga(BOX, total, options=Options(population=10), terminate=Terminate(generations=12))
    plot.progress(found, tmp_path / "progress.svg")
    plot.population(found.solutions, BOX, tmp_path / "population.png", evaluate=total)
    plot.population([found.solutions] * 2, BOX, tmp_path / "population.svg", labels=["start", "end"])
    drawn = (tmp_path / "progress.svg").read_text()
    for word in ("mean ± std", "mean", "evaluations", f"best {found.best.fitness:.6g}, stopped by generations"):
        assert f"<!-- {word}" in drawn
    assert (tmp_path / "population.png").read_bytes().startswith(b"\x89PNG")
    assert "<!-- start" in (tmp_path / "population.svg").read_text()
    with pytest.raises(InputError, match="png"):
        plot.progress(found, tmp_path / "progress.bmp")
    with pytest.raises(InputError, match="two different columns"):
        plot.population(found.solutions, BOX, tmp_path / "x.png", variables=(0, 2))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_gets_a_line_every_tenth_and_a_terminal_a_bar(terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with ProgressBar(20, console) as bar:
        found = ga(BOX, total, options=Options(population=10), terminate=Terminate(generations=20), callbacks=[bar])
    told = text.getvalue()
    assert f"best {found.best.fitness:.6g}" in told
    if not terminal:
        assert told.count("\n") == 11

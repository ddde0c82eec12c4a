"""docs/training.md says what is so: its examples run, and the first run ends as shown."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from torchweld.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_examples_run() -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    made = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert made.attempted > 10
    assert made.failed == 0


def test_the_first_run_ends_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = ("--set", "threads=1", "--set", "channels_last=true")  # what is timed elsewhere
    assert main(["train", "digits", "--set", "epochs=3", *fixed, "--out", "runs/digits"]) == 0
    page = PAGE.read_text(encoding="utf-8")
    shown = capsys.readouterr().out.splitlines()
    names = [line for line in shown if line.startswith(("  runs/", "written", "to look", "to weld"))]
    assert len(names) == 8
    assert [line for line in names if line not in page] == []
    accuracy = re.search(r"held out +\d\.\d+ +(\d+\.\d+)%", "\n".join(shown))
    assert accuracy is not None
    assert float(accuracy[1]) > 93

"""docs/data.md says what is so: its examples run, and the verb's output is the verb's."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from torchweld.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_examples_run() -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    made = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert made.attempted > 5
    assert made.failed == 0


def test_the_digits_look_as_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", "digits", "--grid", str(tmp_path / "digits.png")]) == 0
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    page = PAGE.read_text(encoding="utf-8")
    assert [line for line in shown if line and not line.startswith("written") and line not in page] == []

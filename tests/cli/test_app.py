"""The command as a whole: help, statuses, one line an error."""

from __future__ import annotations

import pytest

from torchweld.cli import main
from torchweld.cli.app import VERBS


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    assert all(verb in shown.out for verb in VERBS)
    assert shown.err == ""


@pytest.mark.parametrize("words", [["no-such-verb"], ["--no-such-option"]])
def test_a_wrong_command_line_is_one_line_and_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("torchweld: ")
    assert shown.err.count("\n") == 1
    assert words[0] in shown.err

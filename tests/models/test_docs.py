"""docs/layers.md and docs/models.md: every piece of code runs and prints what is written under it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from torchweld.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("layers", "models")}
CODE = [m.groups() for p in PAGES.values() for m in re.finditer(r"```python\n(.*?)```\n```text\n(.*?)```", p, re.S)]
COMMANDS = [
    m.groups() for p in PAGES.values() for m in re.finditer(r"```console\n\$ torchweld (.*?)\n(.*?)```", p, re.S)
]


def numbers_apart(text: str) -> tuple[list[str], list[float]]:
    """The words with numbers taken out, and the numbers: rounding may differ from machine to machine."""
    number = r"(?<![\w.])\d+\.\d+(?:e[-+]\d+)?"
    return re.sub(number, "#", text).split(), [float(n) for n in re.findall(number, text)]


@pytest.mark.parametrize(("code", "output"), CODE)
def test_code_prints_what_the_page_says(code: str, output: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    words, numbers = numbers_apart(said.getvalue())
    assert words == numbers_apart(output)[0]
    assert numbers == pytest.approx(numbers_apart(output)[1], rel=0.1, abs=0.01)


@pytest.mark.parametrize(("words", "output"), COMMANDS)
def test_commands_print_what_the_page_says(words: str, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(words)) == 0
    assert capsys.readouterr().out.split() == output.split()


def test_the_pages_have_code() -> None:
    assert (len(CODE), len(COMMANDS)) == (6, 2)

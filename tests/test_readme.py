"""README's first screen is true: its code prints what stands below it, but for the digits of rounding errors."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def without_rounding(text: str) -> str:
    return re.sub(r"\d\.\de-\d\d", "~", text).strip()


def test_the_first_screen_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(blocks("python")[0], "README.md", "exec"), {"__name__": "readme"})
    assert without_rounding(out.getvalue()) == without_rounding(blocks("text")[0])
    assert (tmp_path / "net.pt2").stat().st_size > 0


def test_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert pictures
    for picture in pictures:
        assert 0 < (README.parent / picture).stat().st_size < 300_000

"""docs/sequence.md: its code prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "sequence.md").read_text()
CODE = [m.groups() for m in re.finditer(r"```python\n(.*?)```\n```text\n(.*?)```", PAGE, re.S)]


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # torch.export's, about torch's own nn.GRU
@pytest.mark.parametrize(("code", "output"), CODE)
def test_code_prints_what_the_page_says(code: str, output: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    assert said.getvalue().strip() == output.strip()


def test_the_page_has_code() -> None:
    assert len(CODE) == 3

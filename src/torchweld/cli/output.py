"""What a verb prints: results to stdout, as text or as one JSON object; everything else to stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def console(quiet: bool = False) -> Console:
    """A rich console on stdout, at least 100 columns wide: figures may wrap, never be cut. `quiet` swallows all."""
    made = Console(highlight=False, quiet=quiet)
    return Console(highlight=False, quiet=quiet, width=max(100, made.width) if made.is_terminal else 120)


def print_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON does not have (infinity, NaN) become null.

    >>> print_json({"error": float("nan"), "convs": 3})
    {
      "error": null,
      "convs": 3
    }
    """
    print(json.dumps(plain(result), indent=2, allow_nan=False))


def table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """A rich table: the first column to the left, the others to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(head):
        made.add_column(name, justify="right" if i else "left", header_style="dim", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def plain(value: Any) -> Any:
    """The same with only what JSON has: infinity and NaN become null, keys strings.

    >>> plain({1: (float("inf"), 2.0)})
    {'1': [None, 2.0]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

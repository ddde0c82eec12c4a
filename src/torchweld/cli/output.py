"""What a verb prints: results to stdout, as text or as one JSON object; everything else to stderr."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.table import Table


def console() -> Console:
    """A rich console on stdout, 120 columns wide where it is no terminal."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=120)


def print_json(result: dict[str, Any]) -> None:
    """One JSON object on stdout; numbers that JSON does not have (infinity, NaN) become null.

    >>> print_json({"error": float("nan"), "convs": 3})
    {
      "error": null,
      "convs": 3
    }
    """
    print(json.dumps(_plain(result), indent=2, allow_nan=False))


def table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """A rich table: the first column to the left, the others to the right."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(head):
        made.add_column(name, justify="right" if i else "left", header_style="dim", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

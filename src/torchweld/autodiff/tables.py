"""A trace as text: the three tables of the textbooks, in columns that line up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchweld.autodiff.tracing import Trace


def tables(trace: Trace, digits: int = 6) -> str:
    """The forward primal, forward tangent and reverse adjoint traces of `trace`, numbers with `digits` decimals."""

    def number(value: Any) -> str:
        return shown(value, digits)

    steps = trace.steps
    primal = [(s.name, s.operation, number(s.primal)) for s in steps]
    tangent = [
        (f"d{s.name}", *(cell for key in trace.directions
                         for cell in (number(s.tangents[key]), number(s.tangent_differences[key]))))
        for s in steps
    ]  # fmt: skip
    heads = tuple(head for key in trace.directions for head in (f"along {key}", "differences"))
    reverse = [(f"adj {p.target}", f"from {p.source}", number(p.part), number(p.total)) for p in trace.pulls]
    adjoint = [(f"adj {s.name}", number(s.adjoint), number(s.adjoint_difference)) for s in steps]
    return "\n\n".join(
        (
            _table("Forward primal trace", ("value", "operation", "at the point"), primal),
            _table("Forward tangent trace", ("tangent", *heads), tangent),
            _table("Reverse adjoint trace", ("adjoint", "receives", "part", "sum so far"), reverse),
            _table("Adjoints", ("adjoint", "reverse mode", "differences"), adjoint),
        )
    )


def shown(value: Any, digits: int = 6) -> str:
    """A number with `digits` decimals, in powers of ten where it is too large or small; an array by shape and norm."""
    if value is None:
        return "-"
    if isinstance(value, list):
        flat, shape = _flatten(value), _shape(value)
        if len(flat) <= 4:
            return "[" + ", ".join(shown(v, digits) for v in flat) + "]"
        return f"({'x'.join(map(str, shape))}) norm {shown(math.sqrt(sum(v * v for v in flat)), digits)}"
    if value != 0 and not 10**-digits <= abs(value) < 1e7:
        return f"{value:.{digits}e}"
    return f"{value:.{digits}f}"


def _flatten(value: Any) -> list[float]:
    return [x for v in value for x in _flatten(v)] if isinstance(value, list) else [value]


def _shape(value: Any) -> list[int]:
    return [len(value), *(_shape(value[0]) if value else [])] if isinstance(value, list) else []


def _table(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    left = (
        [not any(c.isdigit() for c in rows[0][i]) or i < 1 for i in range(len(heads))] if rows else [True] * len(heads)
    )

    def line(row: tuple[str, ...]) -> str:
        cells = (c.ljust(w) if l else c.rjust(w) for c, w, l in zip(row, widths, left, strict=True))
        return "  ".join(cells).rstrip()

    return "\n".join([title, line(heads), "  ".join("-" * w for w in widths), *(line(r) for r in rows)])

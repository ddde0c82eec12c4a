"""`torchweld trace`: the forward and reverse evaluation traces of an expression."""

from __future__ import annotations

import typer

from torchweld import autodiff
from torchweld.cli.output import print_json


def trace(
    expression: str = typer.Argument(..., help="Numbers, names, + - * / **, and functions such as log, sin, exp."),
    point: list[str] = typer.Argument(..., help="A value for each variable: x1=2 x2=5."),
    svg: str = typer.Option("", "--svg", help="Also draw the graph to this SVG file."),
    digits: int = typer.Option(6, "--digits", min=1, max=15, help="Decimals shown."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Differentiate an expression in the open: every step of forward and reverse mode, beside finite differences.

    Example: torchweld trace "log(x1) + x1*x2 - sin(x2)" x1=2 x2=5

    \b
        Adjoints
        adjoint  reverse mode  differences
        -------  ------------  -----------
        adj x1       5.500000     5.500000
        adj x2       1.716338     1.716338
    """
    made = autodiff.trace(expression, autodiff.assignments(point))
    if svg:
        autodiff.draw(made, svg)
    if as_json:
        print_json(made.to_dict())
        return
    print(autodiff.tables(made, digits))
    if svg:
        print(f"\ngraph: {svg}")

"""`torchweld minimize`: a test problem or an expression, by one method or several side by side."""

from __future__ import annotations

import typer

from torchweld.autodiff import assignments
from torchweld.cli.output import console, print_json, table
from torchweld.optimize.comparing import compare, draw


def minimize(
    objective: str = typer.Argument(..., help="A problem such as rosenbrock, or an expression of x1, x2, ..."),
    start: list[str] = typer.Argument(None, help="Where to start: x1=-1.2 x2=1 (problems have a standard start)."),
    method: str = typer.Option("newton,cg,lbfgs,gd-backtracking", "--method", help="Methods, separated by commas."),
    learning_rate: float = typer.Option(None, "--learning-rate", help="For gd, momentum, adagrad, rmsprop, adam."),
    max_iterations: int = typer.Option(1000, "--max-iterations", min=1, help="Iterations allowed to each method."),
    tolerance: float = typer.Option(1e-5, "--tolerance", min=0, help="Stop when no entry of the gradient is larger."),
    derivatives: str = typer.Option("func", "--derivatives", help="func (torch.func) or autodiff (torchweld's own)."),
    plot: str = typer.Option("", "--plot", help="Also draw the paths to this PNG, SVG or PDF file."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Minimise by several classical methods and compare what they found and what it cost.

    Example: torchweld minimize rosenbrock --method newton,cg,gd --learning-rate 0.001 --plot out.png

    \b
        method         found      value                at  iterations     f  grad  Hess
        newton       minimum  3.744e-21  (1.0000, 1.0000)          21    29    22    22
        cg           minimum  1.884e-14  (1.0000, 1.0000)          36    78    78     0
        gd      not critical     0.4535  (0.3273, 0.1040)        1000  1001  1001     0
        gd stopped short: 1000 iterations were made
    """
    names = [name.strip() for name in method.split(",") if name.strip()]
    made = compare(
        objective,
        assignments(start or []),
        names,
        learning_rate=learning_rate,
        max_iterations=max_iterations,
        gradient_tolerance=tolerance,
        derivatives=derivatives,
    )
    if plot:
        draw(made, plot)
    if as_json:
        print_json(made.to_dict())
        return
    head = ("method", "found", "value", "at", "iterations", "f", "grad", "Hess")
    out = console()
    out.print(table(made.objective, head, made.rows()))
    for r in made.results:
        if not r.converged:
            out.print(f"{r.method} stopped short: {r.reason}")
    if plot:
        out.print(f"picture: {plot}", soft_wrap=True)

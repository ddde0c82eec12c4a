"""The pictures of docs/optimize.md, each from runs made here.

python benchmarks/optimize_pictures.py      # writes benchmarks/results/optimize_*.png and optimize_rates.json
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import nn

from torchweld.core import written_whole
from torchweld.optimize import convergence, error_surface, gradients_by_depth, minimize, plot, polynomial, problem

RESULTS = Path(__file__).parent / "results"


def rosenbrock() -> None:
    p = problem("rosenbrock")
    runs = [minimize(p.f, p.x0, m, max_iterations=300) for m in ("newton", "lbfgs", "cg", "gd-backtracking")]
    plot.contours(p.f, runs, RESULTS / "optimize_rosenbrock.png", title="rosenbrock")
    plot.value_against_evaluations(runs, RESULTS / "optimize_evaluations.png", title="rosenbrock")


def toy() -> None:
    p = problem("toy")
    rates = {"gd": 0.4, "momentum": 0.4, "adagrad": 0.4, "rmsprop": 0.4, "adam": 0.4}
    runs = [
        minimize(p.f, p.x0, m, learning_rate=r, max_iterations=20, gradient_tolerance=0,
                 **({"momentum": 0.5} if m == "momentum" else {}))
        for m, r in rates.items()
    ]  # fmt: skip
    plot.contours(p.f, runs, RESULTS / "optimize_toy.png", title="0.1 x1^2 + 2 x2^2, twenty steps")


def one_variable() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return x * torch.cos(0.5 * x)

    runs = [
        minimize(f, 10.0, "gd", learning_rate=0.2, max_iterations=10),
        minimize(f, 10.0, "gd", learning_rate=polynomial(2.0), max_iterations=10),
        minimize(f, -1.0, "newton"),
    ]
    plot.steps_on_a_curve(f, runs, RESULTS / "optimize_one_variable.png", title="x cos(x / 2)")


def rates() -> None:
    measured = convergence([2.0, 5.0, 10.0, 30.0, 100.0, 300.0])
    plot.rates(measured, RESULTS / "optimize_rates.png")
    with written_whole(RESULTS / "optimize_rates.json") as path:
        path.write_text(json.dumps([r.to_dict() for r in measured], indent=1) + "\n")


def vanishing() -> None:
    depths = (1, 2, 4, 8, 16, 32)
    kinds = {
        "sigmoid": (torch.sigmoid, {}),
        "tanh": (torch.tanh, {}),
        "relu, gain sqrt 2": (torch.relu, {"gain": 2**0.5}),
        "sigmoid with residuals": (torch.sigmoid, {"residual": True}),
    }
    series = {}
    for name, (activation, options) in kinds.items():
        norms = gradients_by_depth(activation, depths, **options)
        series[name] = (list(norms), list(norms.values()))
    plot.curves(
        series, RESULTS / "optimize_vanishing.png", xlabel="depth", ylabel="norm of d(output) / d(input)", yscale="log",
        title="Gradients through random dense layers of width 64",
    )  # fmt: skip


def surface() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.randn(64, 2)
    y = x[:, :1] * x[:, 1:]
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(400):
        optimiser.zero_grad()
        F.mse_loss(net(x), y).backward()
        optimiser.step()
    made = error_surface(
        lambda p: F.mse_loss(torch.func.functional_call(net, p, (x,)), y), dict(net.named_parameters()), points=41
    )
    plot.surface(made, RESULTS / "optimize_surface.png", title="around a trained network")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for draw in (rosenbrock, toy, one_variable, rates, vanishing, surface):
        draw()

"""Evaluations to the minimum on the standard problems, beside scipy's for the same method.

    python benchmarks/optimize_problems.py      # writes benchmarks/results/optimize_problems.json and .md

Every run stops when no entry of the gradient is larger than 1e-5; scipy's L-BFGS-B is told to ignore how little the
value falls (ftol=0), or it would stop short of that. An evaluation is a value, with its gradient where the method
wants one. A CG or quasi-Newton path is chaotic: after some dozens of steps the last digit of a product decides how
long it is. So beside the standard start stand the medians over 15 starts moved by about 1e-9 of their size. Newton is
compared with scipy's Newton-CG, its line-search Newton; trust-exact stands beside it.
"""

from __future__ import annotations

import json
import os
import statistics
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy
import torch
from scipy.optimize import minimize as scipy_minimize

from torchweld.core import written_whole
from torchweld.optimize import PROBLEMS, Problem, minimize

RESULTS = Path(__file__).parent / "results"
PAIRS = {"cg": "CG", "lbfgs": "L-BFGS-B", "newton": "Newton-CG"}
SHOWN = [name for name in PROBLEMS if name not in ("toy", "himmelblau", "saddle")]
MOVED = 15


def by_scipy(problem: Problem, method: str, x0: torch.Tensor) -> dict[str, object]:
    value = lambda x: problem.f(torch.from_numpy(x)).item()  # noqa: E731
    gradient = lambda x: torch.func.grad(problem.f)(torch.from_numpy(x)).numpy().copy()  # noqa: E731
    hessian = lambda x: torch.func.hessian(problem.f)(torch.from_numpy(x)).numpy().copy()  # noqa: E731
    options = {"maxiter": 4000} | ({"ftol": 0.0} if method == "L-BFGS-B" else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = scipy_minimize(
            value,
            x0.numpy().copy(),
            jac=gradient,
            hess=hessian if method in ("Newton-CG", "trust-exact") else None,
            method=method,
            options=options,
        )
    at = float(np.abs(gradient(found.x)).max())
    return {"evaluations": int(found.nfev), "value": float(found.fun), "converged": at <= 1.0001e-5}


def by_us(problem: Problem, method: str, x0: torch.Tensor) -> dict[str, object]:
    found = minimize(problem.f, x0, method, max_iterations=4000)
    return {
        "evaluations": found.counts.values,
        "value": found.value,
        "converged": found.converged,
        "iterations": found.counts.iterations,
        "hessians": found.counts.hessians,
    }


def starts(problem: Problem) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0 = problem.x0
    size = x0.abs().max().clamp_min(1)
    return [x0 + 1e-9 * size * torch.randn(len(x0), dtype=torch.float64, generator=generator) for _ in range(MOVED)]


def median(runs: list[dict[str, object]]) -> float | None:
    """The median of evaluations over the runs that arrived; None if fewer than half did."""
    arrived = [int(str(r["evaluations"])) for r in runs if r["converged"]]
    return statistics.median(arrived) if 2 * len(arrived) >= len(runs) else None


def row(problem: Problem, method: str) -> dict[str, object]:
    theirs = PAIRS[method]
    moved = starts(problem)
    out = {
        "problem": problem.name,
        "method": method,
        "peer": theirs,
        "ours": by_us(problem, method, problem.x0),
        "scipy": by_scipy(problem, theirs, problem.x0),
        "ours_median": median([by_us(problem, method, x) for x in moved]),
        "scipy_median": median([by_scipy(problem, theirs, x) for x in moved]),
    }
    if method == "newton":
        out["trust-exact"] = by_scipy(problem, "trust-exact", problem.x0)
    return out


def verdict(r: dict) -> str:
    """Whether we arrived within 1.1 times scipy's evaluations, at the standard start or in the median."""
    if not r["ours"]["converged"]:
        return "did not converge"
    if not r["scipy"]["converged"]:
        return "yes: scipy stopped short"
    if r["ours"]["evaluations"] <= 1.1 * r["scipy"]["evaluations"]:
        return "yes"
    if r["ours_median"] is not None and (r["scipy_median"] is None or r["ours_median"] <= 1.1 * r["scipy_median"]):
        return "no; yes in the median"
    return "no"


def main() -> None:
    torch.set_num_threads(1)
    rows = [row(PROBLEMS[name], method) for method in PAIRS for name in SHOWN]
    for r in rows:
        r["within_1.1"] = verdict(r)
    stamp = {"torch": torch.__version__, "scipy": scipy.__version__, "gradient_tolerance": 1e-5}
    with written_whole(RESULTS / "optimize_problems.json") as path:
        path.write_text(json.dumps({**stamp, "rows": rows}, indent=1) + "\n")
    lines = [
        f"Evaluations until no entry of the gradient exceeds 1e-5 (torch {stamp['torch']}, scipy {stamp['scipy']}).",
        "`!` marks a run that ended with a larger gradient. Median: of 15 starts moved by 1e-9.",
        "",
        "| method | problem | ours | scipy | ours, median | scipy, median | our value | scipy's value | <= 1.1x |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --- |",
    ]
    for r in rows:
        ours, theirs = r["ours"], r["scipy"]
        mark = lambda x: f"{x['evaluations']}{'' if x['converged'] else ' !'}"  # noqa: E731
        beside = f" (trust-exact {mark(r['trust-exact'])})" if "trust-exact" in r else ""
        lines.append(
            f"| {r['method']} / {r['peer']} | {r['problem']} | {mark(ours)} | {mark(theirs)}{beside} | "
            f"{r['ours_median']} | {r['scipy_median']} | {ours['value']:.2e} "
            f"| {theirs['value']:.2e} | {r['within_1.1']} |"
        )
    with written_whole(RESULTS / "optimize_problems.md") as path:
        path.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

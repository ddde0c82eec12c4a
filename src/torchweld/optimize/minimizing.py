"""`minimize`: one signature and one result for every method, one start or many at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.optimize.curvature import conjugate_gradient, lbfgs, newton
from torchweld.optimize.descent import RULES, follow_rule, follow_rule_in_batches, steepest
from torchweld.optimize.evaluation import Accept, Ask, Method, Objective, Seen

METHODS: dict[str, tuple[Callable[..., Method], str]] = {
    "gd": (partial(follow_rule, rule="gd"), "gradient descent; learning_rate a number or a schedule"),
    "gd-backtracking": (steepest, "gradient descent with backtracking"),
    "gd-wolfe": (partial(steepest, line_search="wolfe"), "gradient descent under the strong Wolfe conditions"),
    "gd-exact": (partial(steepest, line_search="exact"), "steepest descent: the minimum of each line"),
    "preconditioned": (partial(steepest, preconditioned=True), "gradient over the Hessian's diagonal, backtracking"),
    "newton": (newton, "Newton, damped, repelled by saddle points"),
    "cg": (conjugate_gradient, "nonlinear conjugate gradients, Polak-Ribiere+"),
    "cg-fr": (partial(conjugate_gradient, beta="fletcher-reeves"), "conjugate gradients, Fletcher-Reeves"),
    "cg-pr": (partial(conjugate_gradient, beta="polak-ribiere"), "conjugate gradients, Polak-Ribiere+"),
    "cg-hs": (partial(conjugate_gradient, beta="hestenes-stiefel"), "conjugate gradients, Hestenes-Stiefel+"),
    "cg-dy": (partial(conjugate_gradient, beta="dai-yuan"), "conjugate gradients, Dai-Yuan"),
    "lbfgs": (lbfgs, "limited-memory BFGS"),
    "momentum": (partial(follow_rule, rule="momentum"), "gradient descent with momentum"),
    "nesterov": (partial(follow_rule, rule="nesterov"), "momentum that looks ahead"),
    "adagrad": (partial(follow_rule, rule="adagrad"), "Adagrad: over the root of the sum of squares"),
    "adagrad-mean": (partial(follow_rule, rule="adagrad", mean=True), "the notes' Adagrad: over the root mean square"),
    "rmsprop": (partial(follow_rule, rule="rmsprop"), "RMSProp: over the root of a leaky mean of squares"),
    "adam": (partial(follow_rule, rule="adam"), "Adam: momentum and RMSProp, unbiased"),
}
"""Every method by name, with what it is."""


@dataclass(frozen=True)
class Counts:
    """What the run cost: iterates accepted after the start; evaluations of value, gradient, Hessian or product."""

    iterations: int
    values: int
    gradients: int
    hessians: int


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The iterates: points (k, n), values (k,), gradients' largest entries (k,), values evaluated up to each (k,)."""

    points: Tensor
    values: Tensor
    gradient_norms: Tensor
    evaluations: Tensor


@dataclass(frozen=True, eq=False)
class Result:
    """The best point *seen* (n,), trials included; `gradient_norm` is the largest absolute entry of the gradient there.

    `converged` says whether a tolerance was met; `reason` says in words why the run stopped.
    """

    method: str
    x: Tensor
    value: float
    gradient_norm: float
    converged: bool
    reason: str
    counts: Counts
    trajectory: Trajectory

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON; the trajectory by its length and end."""
        return {
            "method": self.method, "x": self.x.tolist(), "value": self.value, "gradient_norm": self.gradient_norm,
            "converged": self.converged, "reason": self.reason, "counts": vars(self.counts),
            "trajectory": {"points": self.trajectory.points.tolist(), "values": self.trajectory.values.tolist(),
                           "evaluations": self.trajectory.evaluations.tolist()},
        }  # fmt: skip


@dataclass(frozen=True)
class Stopping:
    """When to stop. A tolerance of 0 is off; `value_tolerance` is on the fall of f over max(|f|, |f before|, 1)."""

    gradient_tolerance: float
    value_tolerance: float
    max_iterations: int
    max_evaluations: int | None


def minimize(
    f: Callable[..., Tensor],
    x0: Any,
    method: str = "lbfgs",
    *,
    gradient_tolerance: float = 1e-5,
    value_tolerance: float = 0.0,
    max_iterations: int = 1000,
    max_evaluations: int | None = None,
    derivatives: str = "func",
    data: tuple[Tensor, ...] = (),
    batch_size: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Any:
    """Minimise `f` from `x0`; a `Result`, or a tuple of them where `x0` is a matrix of starts (B, n), run at once.

    `f` maps a vector (n,) to one number; a number as `x0` makes it a function of one number. With `data`, tensors with
    examples along their first axis, `f(x, *data)` is the loss of a batch, and first-order methods step on batches
    of `batch_size`: an iteration is then an epoch. `options` go to the method: learning_rate, line_search, ...
    Derivatives come from torch.func, or with `derivatives="autodiff"` from `torchweld.autodiff`.
    Raises `InputError` for unknown methods or options and for objectives that do not give one number.

    >>> result = minimize(lambda x: ((x - 3) ** 2).sum(), [0.0, 10.0], method="newton")
    >>> result.x, result.counts.iterations
    (tensor([3., 3.], dtype=torch.float64), 1)
    """
    start = x0.detach() if isinstance(x0, Tensor) else torch.tensor(x0, dtype=torch.float64)
    if not start.is_floating_point() or start.dim() > 2 or not start.numel():
        raise InputError(f"x0 must be a number, a vector (n,) or a matrix of starts (B, n), not {tuple(start.shape)}")
    one_number = start.dim() == 0
    objective = Objective((lambda x, *d: f(x[0], *d)) if one_number else f, data, derivatives)
    stopping = Stopping(gradient_tolerance, value_tolerance, max_iterations, max_evaluations)
    starts = start if start.dim() == 2 else start.reshape(1, -1)
    runs = [_Run(_method(method, x, data, batch_size, seed, options), method) for x in starts.unbind()]
    with torch.no_grad():
        _drive(runs, objective, stopping)
        results = tuple(run.result(objective) for run in runs)
    return results if start.dim() == 2 else results[0]


def _method(name: str, x: Tensor, data: tuple, batch_size: int | None, seed: int, options: dict[str, Any]) -> Method:
    if name not in METHODS:
        raise InputError(f"method {name!r}; choose {', '.join(METHODS)}")
    make = METHODS[name][0]
    if batch_size is not None:
        if not data or not isinstance(make, partial) or make.keywords.get("rule") not in RULES:
            raise InputError("batch_size needs data=(...) and a first-order method such as gd, momentum or adam")
        make = partial(follow_rule_in_batches, rows=len(data[0]), batch_size=batch_size, seed=seed, **make.keywords)
    try:
        return make(x, **options)
    except TypeError as error:
        raise InputError(f"method {name}: {str(error).split('() ')[-1]}") from None


@dataclass(eq=False)
class _Run:
    """One start under way: its generator, what it asked last, and the record so far."""

    generator: Method
    method: str
    ask: Ask | None = None
    best: Seen | None = None
    points: list[Seen] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys("fghv", 0))
    reason: str = ""
    converged: bool = False

    def advance(self, answer: Seen | None, stopping: Stopping) -> None:
        """Hand over an answer and run on to the next question, or to the end."""
        if answer is not None and self.ask is not None:
            for letter in self.ask.what:
                self.counted[letter] += 1
            if self.ask.rows is None and "f" in self.ask.what:
                self._note(answer, self.ask.what)
        try:
            wanted = self.generator.send(answer)
            while isinstance(wanted, Accept):
                self.points.append(wanted.seen)
                self.evaluations.append(self.counted["f"])
                if self._stop(wanted.seen, stopping):
                    return
                wanted = next(self.generator)
            self.ask = wanted
            if stopping.max_evaluations is not None and self.counted["f"] >= stopping.max_evaluations:
                self._end(f"{stopping.max_evaluations} evaluations were made", False)
        except StopIteration as stop:
            self._end(stop.value or "the method ended", False)

    def _note(self, seen: Seen, what: str) -> None:
        if math.isfinite(seen.value) and (self.best is None or seen.value < self.best.value):
            self.best = seen

    def _stop(self, seen: Seen, stopping: Stopping) -> bool:
        size = seen.gradient.abs().max().item()
        if not (math.isfinite(seen.value) and math.isfinite(size)):
            self._end("diverged: value or gradient is no longer finite", False)
        elif size <= stopping.gradient_tolerance:
            self._end(f"every entry of the gradient is within {stopping.gradient_tolerance:g}", True)
        elif len(self.points) > stopping.max_iterations:
            self._end(f"{stopping.max_iterations} iterations were made", False)
        elif stopping.value_tolerance and len(self.points) > 1:
            before = self.points[-2].value
            if before - seen.value <= stopping.value_tolerance * max(abs(before), abs(seen.value), 1):
                self._end(f"the value fell by less than {stopping.value_tolerance:g} of itself", True)
        return bool(self.reason)

    def _end(self, reason: str, converged: bool) -> None:
        self.reason, self.converged, self.ask = reason, converged, None
        self.generator.close()

    def result(self, objective: Objective) -> Result:
        best = self.best or self.points[0]
        if not best.gradient.numel():
            known = next((s for s in self.points if s.x is best.x), None)
            if known is None:
                known = objective.answer([Ask(best.x, "g")])[0]
                self.counted["g"] += 1
            best = Seen(best.x, best.value, known.gradient)
        trajectory = Trajectory(
            torch.stack([s.x for s in self.points]),
            torch.tensor([s.value for s in self.points], dtype=torch.float64),
            torch.tensor([s.gradient.abs().max().item() for s in self.points], dtype=torch.float64),
            torch.tensor(self.evaluations),
        )
        c = self.counted
        counts = Counts(len(self.points) - 1, c["f"], c["g"], c["h"] + c["v"])
        gradient_norm = best.gradient.abs().max().item()
        return Result(self.method, best.x, best.value, gradient_norm, self.converged, self.reason, counts, trajectory)


def _drive(runs: list[_Run], objective: Objective, stopping: Stopping) -> None:
    for run in runs:
        run.advance(None, stopping)
    while waiting := [run for run in runs if run.ask is not None]:
        answers = objective.answer([run.ask for run in waiting if run.ask is not None])
        for run, answer in zip(waiting, answers, strict=True):
            run.advance(answer, stopping)

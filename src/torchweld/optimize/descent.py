"""First-order methods: gradient descent and the rules that reshape its step. One rule, one row.

A rule is a pure function: gradient and its memory in, displacement and new memory out. `g` gradient, `r` learning
rate, `t` step number from 1. The constants are the notes' (Dive into Deep Learning): 1e-6 under the root.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.optimize.evaluation import Accept, Ask, Method, Seen
from torchweld.optimize.linesearch import backtracking, exact, wolfe

Rate = float | Callable[[int], float]
Rule = Callable[..., tuple[Tensor, tuple]]
EPSILON = 1e-6


def rate_at(rate: Rate, t: int) -> float:
    """The learning rate of step `t` (from 1): a number stays, a schedule is asked."""
    return rate(t) if callable(rate) else rate


def exponential(rate: float, decay: float) -> Callable[[int], float]:
    """`rate * exp(-decay * (t - 1))`."""
    return lambda t: rate * math.exp(-decay * (t - 1))


def polynomial(rate: float, beta: float = 0.1, alpha: float = 0.5) -> Callable[[int], float]:
    """`rate * (beta * (t - 1) + 1) ** -alpha`: slow enough to arrive, fast enough to quiet the noise at alpha = 0.5."""
    return lambda t: rate * (beta * (t - 1) + 1) ** -alpha


def piecewise(rate: float, drops: dict[int, float]) -> Callable[[int], float]:
    """`rate` times the factor of every step in `drops` that has been passed."""
    return lambda t: rate * math.prod(factor for step, factor in drops.items() if t > step)


def _plain(g: Tensor, memory: tuple, r: float, t: int) -> tuple[Tensor, tuple]:
    return -r * g, ()  # x -= r g


def _momentum(g: Tensor, memory: tuple, r: float, t: int, momentum: float = 0.9) -> tuple[Tensor, tuple]:
    v = momentum * memory[0] + r * g if memory else r * g  # v = m v + r g
    return -v, (v,)


def _nesterov(g: Tensor, memory: tuple, r: float, t: int, momentum: float = 0.9) -> tuple[Tensor, tuple]:
    v = momentum * memory[0] + r * g if memory else r * g  # the step after next, seen from the next
    return -(momentum * v + r * g), (v,)


def _adagrad(g: Tensor, memory: tuple, r: float, t: int, mean: bool = False) -> tuple[Tensor, tuple]:
    s = memory[0] + g * g if memory else g * g  # s = sum of g^2; `mean` divides it by t
    return -r * g / torch.sqrt((s / t if mean else s) + EPSILON), (s,)


def _rmsprop(g: Tensor, memory: tuple, r: float, t: int, gamma: float = 0.9) -> tuple[Tensor, tuple]:
    s = (gamma * memory[0] if memory else 0) + (1 - gamma) * g * g  # s = gamma s + (1 - gamma) g^2
    return -r * g / torch.sqrt(s + EPSILON), (s,)


def _adam(g: Tensor, memory: tuple, r: float, t: int, beta1: float = 0.9, beta2: float = 0.999) -> tuple[Tensor, tuple]:
    m, s = memory or (torch.zeros_like(g), torch.zeros_like(g))
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g * g  # first and second moments, then unbiased
    return -r * (m / (1 - beta1**t)) / (torch.sqrt(s / (1 - beta2**t)) + EPSILON), (m, s)


RULES: dict[str, Rule] = {
    "gd": _plain,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
}


def follow_rule(x0: Tensor, rule: str, learning_rate: Rate = 0.01, **constants: Any) -> Method:
    """Steps by a rule on the whole objective; the learning rate is a number or a schedule of the step."""
    x, memory, t = x0, (), 0
    while True:
        seen = yield Ask(x)
        yield Accept(seen)
        t += 1
        displacement, memory = RULES[rule](seen.gradient, memory, rate_at(learning_rate, t), t, **constants)
        x = x + displacement


def follow_rule_in_batches(
    x0: Tensor, rule: str, rows: int, batch_size: int, seed: int = 0, learning_rate: Rate = 0.01, **constants: Any
) -> Method:
    """Steps by a rule on mini-batches of `rows` examples, each epoch in a new order; an iterate is an epoch's end."""
    x, memory, t, epoch = x0, (), 0, 0
    yield Accept((yield Ask(x)))
    while True:
        for batch in batches(rows, batch_size, seed, epoch):
            seen = yield Ask(x, "g", rows=batch)
            t += 1
            displacement, memory = RULES[rule](seen.gradient, memory, rate_at(learning_rate, t), t, **constants)
            x = x + displacement
        epoch += 1
        yield Accept((yield Ask(x)))


def batches(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The row numbers of each mini-batch of an epoch: a pure function of seed and epoch, the last batch may be short.

    >>> [len(b) for b in batches(10, 4, seed=0, epoch=0)]
    [4, 4, 2]
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows)
    return iter(torch.from_numpy(order).split(batch_size))


def steepest(x0: Tensor, line_search: str = "backtracking", step: float = 1.0, preconditioned: bool = False) -> Method:
    """Gradient descent with a line search; `preconditioned` divides by the absolute diagonal of the Hessian."""
    seen = yield Ask(x0, "fgh" if preconditioned else "fg")
    while True:
        yield Accept(seen)
        p = -seen.gradient
        if preconditioned:
            diagonal = torch.diagonal(seen.hessian).abs()
            p = p / diagonal.clamp_min(1e-8 * diagonal.max().clamp_min(1e-300).item())
        found = yield from along(line_search, seen, p, step)
        if found is None:
            return "the line search found no lower point"
        length, seen = found
        # begin next time where this search ended, twice as far: a good scale is kept, a poor one is left
        step = 1.0 if preconditioned else 2 * length
        missing = ("" if seen.gradient.numel() else "g") + ("h" if preconditioned else "")
        seen = yield from completed(seen, missing)


def along(line_search: str, seen: Seen, p: Tensor, step: float) -> Any:
    """Delegate to a line search by name; raises `InputError` for an unknown one."""
    if line_search == "backtracking":
        return (yield from backtracking(seen, p, step))
    if line_search == "wolfe":
        return (yield from wolfe(seen, p, step))
    if line_search == "exact":
        return (yield from exact(seen, p))
    raise InputError(f"line search {line_search!r}; choose backtracking, wolfe or exact")


def completed(seen: Seen, missing: str) -> Any:
    """The same point with the derivatives named in `missing` asked for."""
    if not missing:
        return seen
    more = yield Ask(seen.x, missing)
    gradient = more.gradient if "g" in missing else seen.gradient
    return Seen(seen.x, seen.value, gradient, more.hessian)

"""Methods that know or learn the curvature: Newton, nonlinear conjugate gradients, L-BFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.optimize.descent import along, completed
from torchweld.optimize.evaluation import Accept, Ask, Method, Seen
from torchweld.optimize.linesearch import backtracking, wolfe, zoom


def newton(x0: Tensor, floor: float = 1e-15) -> Method:
    """Newton's method with absolute curvatures, damped by backtracking.

    The step is `-V |L|^-1 V' g` with `H = V L V'`: a direction of negative curvature is followed downhill instead of
    up to the saddle (Dauphin et al. 2014). At a point where the gradient vanishes but a curvature is negative, it
    leaves along that curvature. Curvatures below `floor` times the largest are raised to it.
    """
    seen = yield Ask(x0, "fgh")
    while True:
        scale, values, vectors = _eigen(0.5 * (seen.hessian + seen.hessian.mT))
        size, g = values.abs(), scale * seen.gradient
        saddle = g.abs().max().item() <= 1e-12 * size.max().item() and values[0].item() < -1e-8 * size.max().item()
        if not saddle:
            yield Accept(seen)
        if saddle:
            away = scale * vectors[:, 0]
            found = yield from _leave(seen, away)
        else:
            p = -scale * (vectors @ ((vectors.mT @ g) / size.clamp_min(floor * size.max().clamp_min(1e-300).item())))
            found = yield from backtracking(seen, p)
        if found is None:
            return "the line search found no lower point"
        seen = yield from completed(found[1], "gh")


def _eigen(hessian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A scale of the variables, and eigenvalues and vectors of the Hessian in it.

    Where the smallest curvature drowns in the rounding of the largest, the Hessian is first scaled to a unit diagonal:
    the signs of its curvatures stay, and the small ones keep their digits.
    """
    scale = torch.ones(len(hessian), dtype=hessian.dtype)
    values, vectors = torch.linalg.eigh(hessian)
    if values.abs().min() < 1e-8 * values.abs().max():
        diagonal = hessian.diagonal().abs()
        scale = torch.rsqrt(torch.where(diagonal > 0, diagonal, 1.0))
        values, vectors = torch.linalg.eigh(scale[:, None] * hessian * scale)
    return scale, values, vectors


def _leave(seen: Seen, away: Tensor) -> Generator[Any, Any, tuple[float, Seen] | None]:
    """A lower point along a direction of negative curvature, whose slope is zero."""
    step = max(1.0, seen.x.abs().max().item())
    for _ in range(40):
        trial = yield Ask(seen.x + step * away, "f")
        if trial.value < seen.value:
            return step, trial
        step *= 0.5
    return None


# g gradient after the step, h before, y = g - h, p the direction before
BETAS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "fletcher-reeves": lambda g, h, y, p: g.dot(g) / h.dot(h),
    "polak-ribiere": lambda g, h, y, p: (g.dot(y) / h.dot(h)).clamp_min(0),  # the "+" variant
    "hestenes-stiefel": lambda g, h, y, p: (g.dot(y) / p.dot(y)).clamp_min(0),
    "dai-yuan": lambda g, h, y, p: g.dot(g) / p.dot(y),
}


def conjugate_gradient(x0: Tensor, beta: str = "polak-ribiere", line_search: str = "wolfe") -> Method:
    """Nonlinear conjugate gradients; starts over along the gradient where the direction no longer descends."""
    if beta not in BETAS:
        raise InputError(f"beta {beta!r}; choose {', '.join(BETAS)}")
    seen = yield Ask(x0)
    p = -seen.gradient
    before = seen.value + seen.gradient.norm().item() / 2
    while True:
        yield Accept(seen)
        slope = seen.gradient.dot(p).item()
        step = min(1.0, 1.01 * 2 * (seen.value - before) / slope) if slope else 1.0
        step = step if step > 0 else 1.0
        if line_search == "wolfe":
            found = yield from wolfe(seen, p, step, c2=0.4)
            descends = partial(_descends, BETAS[beta], seen.gradient, p)
            if found is None or not descends(found[1]):
                found = (yield from zoom(seen, p, step, descends, c2=0.4)) or found
        else:
            found = yield from along(line_search, seen, p, step)
        if found is None:
            if torch.equal(p, -seen.gradient):
                return "the line search found no lower point"
            p, before = -seen.gradient, seen.value + seen.gradient.norm().item() / 2
            continue
        before, old = seen.value, seen
        seen = yield from completed(found[1], "" if found[1].gradient.numel() else "g")
        b = BETAS[beta](seen.gradient, old.gradient, seen.gradient - old.gradient, p)
        p = -seen.gradient + b * p
        if seen.gradient.dot(p).item() >= 0:
            p = -seen.gradient


def _descends(beta: Callable[..., Tensor], before: Tensor, p: Tensor, trial: Seen) -> bool:
    """Whether the direction that would follow from `trial` descends enough, or `trial` is the end.

    The strong Wolfe conditions alone do not promise it for Polak-Ribiere+ (Gilbert & Nocedal 1992).
    """
    g = trial.gradient
    p_next = -g + beta(g, before, g - before, p) * p
    return g.dot(p_next).item() <= -0.01 * g.dot(g).item() or g.abs().max().item() <= 1e-5


def lbfgs(x0: Tensor, memory: int = 10, line_search: str = "wolfe") -> Method:
    """Limited-memory BFGS (Nocedal 1980): the inverse Hessian from the last `memory` steps, in two loops."""
    seen = yield Ask(x0)
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    while True:
        yield Accept(seen)
        p = -_two_loops(seen.gradient, pairs)
        step = 1.0 if pairs else 1 / max(seen.gradient.norm().item(), 1e-300)
        if line_search == "wolfe":
            found = yield from wolfe(seen, p, step, c1=1e-3, c2=0.9, xtol=0.1)
        else:
            found = yield from along(line_search, seen, p, step)
        if found is None:
            if not pairs:
                return "the line search found no lower point"
            pairs.clear()
            continue
        old, seen = seen, (yield from completed(found[1], "" if found[1].gradient.numel() else "g"))
        s, y = seen.x - old.x, seen.gradient - old.gradient
        if s.dot(y).item() > 2.2e-16 * y.dot(y).item():
            pairs.append((s, y))


def _two_loops(g: Tensor, pairs: deque[tuple[Tensor, Tensor]]) -> Tensor:
    q, weights = g, []
    for s, y in reversed(pairs):
        a = s.dot(q) / s.dot(y)
        weights.append(a)
        q = q - a * y
    if pairs:
        s, y = pairs[-1]
        q = q * (s.dot(y) / y.dot(y))
    for (s, y), a in zip(pairs, reversed(weights), strict=True):
        q = q + (a - y.dot(q) / s.dot(y)) * s
    return q

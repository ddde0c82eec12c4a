"""How far to go along a direction: backtracking, the strong Wolfe conditions, or the exact minimum of the line.

Each search is a generator to be delegated to (`yield from`); it returns the point it settled on, or None for failure.
phi(a) = f(x + a p).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from torchweld.optimize.evaluation import Ask, Seen

Search = Generator[Any, Any, tuple[float, Seen] | None]


def backtracking(
    at: Seen, p: Tensor, step: float = 1.0, shrink: float = 0.5, c1: float = 1e-4, what: str = "f"
) -> Search:
    """Shorten the step until f falls by `c1` of what the slope promises (Armijo 1966)."""
    slope = torch.dot(at.gradient, p).item()
    for _ in range(60):
        trial = yield Ask(at.x + step * p, what)
        if trial.value <= at.value + c1 * step * slope:
            return step, trial
        step *= shrink
    return None


def exact(at: Seen, p: Tensor, tolerance: float = 1e-12, most: int = 20) -> Search:
    """Newton's method on the line; on a quadratic its first step is the minimum. Needs positive curvature along `p`."""
    start_slope = slope = torch.dot(at.gradient, p).item()
    step, here = 0.0, at
    for _ in range(most):
        curved = yield Ask(here.x, "v", along=p)
        curvature = torch.dot(curved.product, p).item()
        if not curvature > 0:
            return (yield from backtracking(at, p, what="fg"))
        step -= slope / curvature
        here = yield Ask(at.x + step * p, "fg")
        slope = torch.dot(here.gradient, p).item()
        if abs(slope) <= tolerance * abs(start_slope) or not math.isfinite(slope):
            break
        if abs(slope) <= 1e-8 * abs(start_slope):
            break
    return (step, here) if here.value <= at.value else (yield from backtracking(at, p, what="fg"))


def wolfe(at: Seen, p: Tensor, step: float = 1.0, c1: float = 1e-4, c2: float = 0.9, xtol: float = 1e-14) -> Search:
    """A point that falls enough and is flat enough: the strong Wolfe conditions, by Moré & Thuente 1994."""
    phi0, slope0 = at.value, torch.dot(at.gradient, p).item()
    if slope0 >= 0:
        return None
    low = high = (0.0, phi0, slope0)  # (step, phi, slope) of the best point and of the other end
    bracketed, first_stage = False, True
    width = width_before = math.inf
    smallest, largest = 0.0, step + 4 * step
    test = c1 * slope0
    for _ in range(100):
        trial = yield Ask(at.x + step * p, "fg")
        phi, slope = trial.value, torch.dot(trial.gradient, p).item()
        if not math.isfinite(phi):  # outside the domain: come closer
            step = low[0] + 0.1 * (step - low[0])
            largest = min(largest, step)
            continue
        enough = phi0 + step * test
        if phi <= enough and abs(slope) <= c2 * -slope0:
            return step, trial
        if bracketed and (step <= smallest or step >= largest or largest - smallest <= xtol * largest):
            return (step, trial) if phi < phi0 else None
        first_stage = first_stage and not (phi <= enough and slope >= 0)
        # while f has not fallen enough, work on psi(a) = phi(a) - phi(0) - c1 a phi'(0)
        tilt = test if first_stage and phi <= low[1] and phi > enough else 0.0
        low_t, high_t, now = ((a, v - a * tilt, s - tilt) for a, v, s in (low, high, (step, phi, slope)))
        low_t, high_t, chosen, bracketed = _step(low_t, high_t, now, bracketed, smallest, largest)
        low, high = ((a, v + a * tilt, s + tilt) for a, v, s in (low_t, high_t))
        if bracketed:
            if abs(high[0] - low[0]) >= 0.66 * width_before:
                chosen = low[0] + 0.5 * (high[0] - low[0])
            width_before, width = width, abs(high[0] - low[0])
            smallest, largest = min(low[0], high[0]), max(low[0], high[0])
        else:
            smallest, largest = chosen + 1.1 * (chosen - low[0]), chosen + 4 * (chosen - low[0])
        step = min(max(chosen, 1e-100), 1e100)
    return None


def zoom(at: Seen, p: Tensor, step: float, accept: Callable[[Seen], bool], c1: float = 1e-4, c2: float = 0.4) -> Search:
    """A strong Wolfe point that `accept` agrees to (Nocedal & Wright 2006, algorithms 3.5 and 3.6)."""
    phi0, slope0 = at.value, torch.dot(at.gradient, p).item()
    before, bracket = (0.0, phi0, slope0), None
    for i in range(10):
        trial = yield Ask(at.x + step * p, "fg")
        now = (step, trial.value, torch.dot(trial.gradient, p).item())
        if now[1] > phi0 + c1 * step * slope0 or (i > 0 and now[1] >= before[1]):
            bracket = before, now
            break
        if abs(now[2]) <= -c2 * slope0 and accept(trial):
            return step, trial
        if now[2] >= 0:
            bracket = now, before
            break
        before, step = now, 2 * step
    if bracket is None:
        return None
    low, high = bracket
    third = (0.0, phi0)
    for i in range(11):
        width = high[0] - low[0]
        left, right = min(low[0], high[0]), max(low[0], high[0])
        # `width` is negative where the interval runs backwards: then a little beyond its ends is allowed, as in scipy
        step = _through_three(low, high[:2], third) if i else math.nan
        if not left + 0.2 * width <= step <= right - 0.2 * width:
            bend = (high[1] - low[1] - low[2] * width) / width**2
            step = low[0] - low[2] / (2 * bend) if bend else math.nan
            if not left + 0.1 * width <= step <= right - 0.1 * width:
                step = low[0] + 0.5 * width
        trial = yield Ask(at.x + step * p, "fg")
        now = (step, trial.value, torch.dot(trial.gradient, p).item())
        if now[1] > phi0 + c1 * step * slope0 or now[1] >= low[1]:
            third, high = high[:2], now
            continue
        if abs(now[2]) <= -c2 * slope0 and accept(trial):
            return step, trial
        if now[2] * width >= 0:
            third, high = high[:2], low
        else:
            third = low[:2]
        low = now
    return None


def _through_three(p: _Point, q: tuple[float, float], r: tuple[float, float]) -> float:
    """The minimum of the cubic through three points with the slope at the first; NaN where there is none."""
    (a, fa, slope), (b, fb), (c, fc) = p, q, r
    db, dc = b - a, c - a
    bottom = (db * dc) ** 2 * (db - dc)
    if not bottom:
        return math.nan
    rest_b, rest_c = fb - fa - slope * db, fc - fa - slope * dc
    cubic = (dc**2 * rest_b - db**2 * rest_c) / bottom
    square = (-(dc**3) * rest_b + db**3 * rest_c) / bottom
    inside = square * square - 3 * cubic * slope
    return a + (-square + math.sqrt(inside)) / (3 * cubic) if inside >= 0 and cubic else math.nan


_Point = tuple[float, float, float]


def _step(low: _Point, high: _Point, now: _Point, bracketed: bool, smallest: float, largest: float) -> tuple:
    """The next trial step and interval, from cubic and quadratic interpolation (the four cases of Moré & Thuente)."""
    (al, fl, dl), ah, (a, f, d) = low, high[0], now
    opposite = d * math.copysign(1, dl) < 0
    if f > fl:  # higher: the minimum is bracketed
        cubic, quadratic = _cubic(low, now), al + dl / ((fl - f) / (a - al) + dl) / 2 * (a - al)
        chosen = cubic if abs(cubic - al) < abs(quadratic - al) else cubic + (quadratic - cubic) / 2
        bracketed = True
    elif opposite:  # lower, and the slope changed sign
        cubic, secant = _cubic(now, low), a + d / (d - dl) * (al - a)
        chosen = cubic if abs(cubic - a) > abs(secant - a) else secant
        bracketed = True
    elif abs(d) < abs(dl):  # lower, and the slope falls off: extrapolate with care
        cubic, secant = _cubic_ahead(low, now, smallest, largest), a + d / (d - dl) * (al - a)
        if bracketed:
            chosen = cubic if abs(cubic - a) < abs(secant - a) else secant
            limit = a + 0.66 * (ah - a)
            chosen = min(limit, chosen) if a > al else max(limit, chosen)
        else:
            chosen = cubic if abs(cubic - a) > abs(secant - a) else secant
            chosen = min(max(chosen, smallest), largest)
    elif bracketed:
        chosen = _cubic(now, high)
    else:
        chosen = largest if a > al else smallest
    if f > fl:
        high = now
    else:
        if opposite:
            high = low
        low = now
    return low, high, chosen, bracketed


def _cubic(p: _Point, q: _Point) -> float:
    """The minimum of the cubic through two points with their slopes."""
    (a, fa, da), (b, fb, db) = p, q
    theta = 3 * (fa - fb) / (b - a) + da + db
    scale = max(abs(theta), abs(da), abs(db))
    gamma = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - da / scale * (db / scale)))
    gamma = -gamma if b < a else gamma
    bottom = gamma - da + gamma + db
    return a + (gamma - da + theta) / bottom * (b - a) if bottom else (a + b) / 2


def _cubic_ahead(low: _Point, now: _Point, smallest: float, largest: float) -> float:
    """The cubic's minimum beyond `now`, or the end of the interval where it has none there."""
    (al, fl, dl), (a, f, d) = low, now
    theta = 3 * (fl - f) / (a - al) + dl + d
    scale = max(abs(theta), abs(dl), abs(d))
    gamma = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - dl / scale * (d / scale)))
    gamma = -gamma if a > al else gamma
    bottom = gamma + (dl - d) + gamma
    r = (gamma - d + theta) / bottom if bottom else 0.0
    return a + r * (al - a) if r < 0 and gamma != 0 else (largest if a > al else smallest)

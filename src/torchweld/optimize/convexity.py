"""Is a function convex, is a set? Three honest answers: certified, disproved with a witness, no counterexample found.

A function is convex if and only if its epigraph is a convex set; a convex function's level sets are convex, but
convex level sets do not make a convex function (`epigraph`, `level_set`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.autodiff.expression import Expression, parse
from torchweld.core import InputError
from torchweld.optimize.curvature_rules import composition, quadratic_form

CERTIFIED, DISPROVED, NOT_DISPROVED = "certified", "disproved", "no counterexample"


@dataclass(frozen=True)
class Witness:
    """Two points and the one between them, `a + t (b - a)`, that breaks convexity.

    For a function `gap` is how far its value there lies above the chord; for a set the point there lies outside.
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    t: float
    between: tuple[float, ...]
    gap: float


@dataclass(frozen=True)
class Convexity:
    """The answer: `verdict` is certified, disproved or "no counterexample"; `reason` says by what, in words."""

    verdict: str
    reason: str
    witness: Witness | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """`x' A x / 2 + b' x + c`, a form whose convexity has a proof; affine where A is zero."""

    A: Tensor
    b: Tensor
    c: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        return 0.5 * x @ self.A @ x + self.b @ x + self.c


def convexity(
    f: Callable[[Tensor], Tensor] | Expression | str,
    box: Sequence[tuple[float, float]],
    *,
    samples: int = 2000,
    seed: int = 0,
) -> Convexity:
    """Whether `f` of a vector (n,) is convex on the box of `(low, high)` pairs.

    Certified for `Quadratic`, and for expressions (given as text or parsed) that are quadratic or covered by the rules
    of composition. Otherwise points and segments are sampled: one violation, checked beyond rounding, disproves;
    none proves nothing, and the answer says so. Raises `InputError` for a box that does not fit.

    >>> convexity("exp(x1) + (x1 - x2)**2", [(-2, 2), (-2, 2)]).verdict
    'certified'
    >>> convexity("x1*x2", [(-1, 1), (-1, 1)]).verdict
    'disproved'
    >>> convexity(lambda x: (x**4).sum(), [(-1, 1)], samples=100).verdict
    'no counterexample'
    """
    low, high = _bounds(box)
    if isinstance(f, str):
        f = parse(f)
    hessian = f.A if isinstance(f, Quadratic) else None
    if isinstance(f, Expression):
        if len(f.variables) != len(low):
            raise InputError(f"{f.text!r} has {len(f.variables)} variables and the box {len(low)} sides")
        part = composition(f, dict(zip(f.variables, zip(low.tolist(), high.tolist(), strict=True), strict=True)))
        if part.convex:
            return Convexity(CERTIFIED, "affine" if part.concave else "convex by the rules of composition on this box")
        hessian = quadratic_form(f)
    if hessian is not None:
        values = torch.linalg.eigvalsh(0.5 * (hessian + hessian.mT))
        if values[0].item() >= -1e-14 * max(values.abs().max().item(), 1e-300) * len(values):
            return Convexity(CERTIFIED, f"quadratic with least curvature {max(values[0].item(), 0.0):g}")
    function = f.of_vector if isinstance(f, Expression) else f
    witness = _by_curvature(function, low, high, samples, seed) or _by_segments(function, low, high, samples, seed)
    if witness:
        return Convexity(DISPROVED, f"the value between two points lies {witness.gap:.3g} above their chord", witness)
    return Convexity(NOT_DISPROVED, f"no counterexample in {samples} samples on this box; this is no proof")


def _bounds(box: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    sides = torch.as_tensor(box, dtype=torch.float64)
    if sides.dim() != 2 or sides.shape[1] != 2 or not (sides[:, 0] < sides[:, 1]).all() or not sides.isfinite().all():
        raise InputError(
            f"the box must be (low, high) pairs of numbers with low < high, one a variable, not {list(box)}"
        )
    return sides[:, 0], sides[:, 1]


def _drawn(low: Tensor, high: Tensor, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(count, len(low), dtype=torch.float64, generator=generator)


def _by_curvature(f: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, samples: int, seed: int) -> Witness | None:
    """Look where the Hessian has a negative curvature, and step along it both ways."""
    points = _drawn(low, high, min(samples, 500), seed)
    hessians = torch.func.vmap(torch.func.hessian(f))(points).reshape(len(points), len(low), len(low))
    usable = hessians.flatten(1).isfinite().all(1)
    if not usable.any():
        return None
    values, vectors = torch.linalg.eigh(hessians[usable])
    for i in values[:, 0].argsort()[:20].tolist():
        x, v = points[usable][i], vectors[i, :, 0]
        reach = (torch.minimum(x - low, high - x) / v.abs().clamp_min(1e-300)).min()
        for shrink in (1.0, 0.3, 0.1, 0.03, 0.01):
            step = reach * shrink * v
            if values[i, 0] < 0 and (witness := _violation(f, x - step, x + step, 0.5)):
                return witness
    return None


def _by_segments(f: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, samples: int, seed: int) -> Witness | None:
    a, b = _drawn(low, high, samples, seed + 1), _drawn(low, high, samples, seed + 2)
    t = _drawn(torch.zeros(1), torch.ones(1), samples, seed + 3)
    each = torch.func.vmap(f)
    excess = each(a + t * (b - a)) - ((1 - t[:, 0]) * each(a) + t[:, 0] * each(b))
    for i in excess.nan_to_num(-torch.inf).argsort(descending=True)[:20].tolist():
        if witness := _violation(f, a[i], b[i], t[i].item()):
            return witness
    return None


def _violation(f: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, t: float) -> Witness | None:
    """The witness, if f between `a` and `b` lies above the chord by more than rounding can explain."""
    between = a + t * (b - a)
    fa, fb, middle = f(a).item(), f(b).item(), f(between).item()
    gap = middle - ((1 - t) * fa + t * fb)
    if gap > 1e-10 * max(abs(fa), abs(fb), abs(middle), 1e-290):
        return Witness(tuple(a.tolist()), tuple(b.tolist()), t, tuple(between.tolist()), gap)
    return None


Member = Callable[[Tensor], Tensor]  # a point (n,) -> whether it belongs, a Boolean tensor without axes


def set_convexity(
    member: Member, box: Sequence[tuple[float, float]], *, samples: int = 4000, seed: int = 0
) -> Convexity:
    """Whether a set, given by its membership test, is convex within a box: a segment that leaves the set disproves it.

    Certified for `HalfSpaces` and `Ball`. Raises `InputError` where fewer than two sampled points belong to the set.

    >>> ring = lambda x: (x.norm() < 1) & (x.norm() > 0.5)
    >>> set_convexity(ring, [(-1, 1), (-1, 1)]).verdict
    'disproved'
    """
    low, high = _bounds(box)
    if isinstance(member, HalfSpaces | Ball):
        return Convexity(CERTIFIED, "half-spaces intersected" if isinstance(member, HalfSpaces) else "a ball")
    points = _drawn(low, high, samples, seed)
    inside = points[torch.func.vmap(member)(points)]
    if len(inside) < 2:
        raise InputError(f"{len(inside)} of {samples} points of the box belong to the set; give a box that fits it")
    generator = torch.Generator().manual_seed(seed + 1)
    first, second = (inside[torch.randint(len(inside), (samples,), generator=generator)] for _ in range(2))
    t = torch.rand(samples, 1, dtype=torch.float64, generator=generator)
    between = first + t * (second - first)
    left = ~torch.func.vmap(member)(between)
    if left.any():
        i = int(left.nonzero()[0])
        ends = tuple(first[i].tolist()), tuple(second[i].tolist())
        witness = Witness(ends[0], ends[1], t[i].item(), tuple(between[i].tolist()), float("nan"))
        return Convexity(DISPROVED, "a segment between two of its points leaves the set", witness)
    return Convexity(NOT_DISPROVED, f"no segment of {samples} left the set; this is no proof")


@dataclass(frozen=True, eq=False)
class HalfSpaces:
    """The points with `A x <= b`: convex, as every intersection of convex sets is."""

    A: Tensor
    b: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return (self.A @ x <= self.b).all()


@dataclass(frozen=True, eq=False)
class Ball:
    """The points within `radius` of `centre`: convex by the triangle inequality."""

    centre: Tensor
    radius: float

    def __call__(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x - self.centre) <= self.radius


def epigraph(f: Callable[[Tensor], Tensor]) -> Member:
    """The set of points (x, y) of n + 1 numbers on or above the graph of `f`, convex exactly when `f` is."""
    return lambda point: f(point[:-1]) <= point[-1]


def level_set(f: Callable[[Tensor], Tensor], level: float) -> Member:
    """The set of points where `f` is at most `level`."""
    return lambda x: f(x) <= level

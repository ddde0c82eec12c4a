"""Certificates of convexity: a quadratic by its eigenvalues, an expression by the rules of composition.

A part of an expression is known by its interval on the box and its curvature. Source: Grant, Boyd & Ye 2006,
"Disciplined convex programming"; the rule: h(g) is convex if h is convex and, where g is not affine, h rises on a
convex g or falls on a concave one.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from torchweld.autodiff.expression import CONSTANTS, FUNCTIONS, Expression

Interval = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """What is known of a part of an expression: where its values lie, and whether it is convex, concave, or both."""

    low: float
    high: float
    convex: bool
    concave: bool

    @property
    def constant(self) -> bool:
        return self.low == self.high


UNKNOWN = Part(-math.inf, math.inf, False, False)

# name -> (convex on, concave on, rises on, falls on), as intervals of the argument
_ALL, _UP, _DOWN, _NEVER = (-math.inf, math.inf), (0.0, math.inf), (-math.inf, 0.0), (math.inf, -math.inf)
_UNIT, _OPEN = (-1.0, 1.0), (1e-300, math.inf)
ATOMS: Mapping[str, tuple[Interval, Interval, Interval, Interval]] = {
    "exp": (_ALL, _NEVER, _ALL, _NEVER),
    "expm1": (_ALL, _NEVER, _ALL, _NEVER),
    "softplus": (_ALL, _NEVER, _ALL, _NEVER),
    "relu": (_ALL, _NEVER, _ALL, _DOWN),
    "abs": (_ALL, _NEVER, _UP, _DOWN),
    "square": (_ALL, _NEVER, _UP, _DOWN),
    "cosh": (_ALL, _NEVER, _UP, _DOWN),
    "sinh": (_UP, _DOWN, _ALL, _NEVER),
    "log": (_NEVER, _OPEN, _OPEN, _NEVER),
    "ln": (_NEVER, _OPEN, _OPEN, _NEVER),
    "log2": (_NEVER, _OPEN, _OPEN, _NEVER),
    "log10": (_NEVER, _OPEN, _OPEN, _NEVER),
    "log1p": (_NEVER, (-1 + 1e-15, math.inf), (-1 + 1e-15, math.inf), _NEVER),
    "sqrt": (_NEVER, _UP, _UP, _NEVER),
    "tanh": (_DOWN, _UP, _ALL, _NEVER),
    "sigmoid": (_DOWN, _UP, _ALL, _NEVER),
    "erf": (_DOWN, _UP, _ALL, _NEVER),
    "atan": (_DOWN, _UP, _ALL, _NEVER),
    "asin": ((0.0, 1.0), (-1.0, 0.0), _UNIT, _NEVER),
    "acos": ((-1.0, 0.0), (0.0, 1.0), _NEVER, _UNIT),
    "tan": ((0.0, 1.57), (-1.57, 0.0), (-1.57, 1.57), _NEVER),
}


def composition(expression: Expression, box: Mapping[str, Interval]) -> Part:
    """The curvature of the whole expression on the box, by the rules; a part no rule covers is unknown."""
    return _part(expression.tree, box)


def _part(node: ast.AST, box: Mapping[str, Interval]) -> Part:
    match node:
        case ast.Constant(value=int() | float() as value):
            return Part(float(value), float(value), True, True)
        case ast.Name(id=name):
            low, high = (CONSTANTS[name],) * 2 if name in CONSTANTS else box[name]
            return Part(low, high, True, True)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _part(operand, box)
        case ast.UnaryOp(operand=operand):
            return _scaled(-1.0, _part(operand, box))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _part(left, box), _part(right, box)
            if isinstance(op, ast.Pow):
                return _power(a, b.low) if b.constant else UNKNOWN
            if isinstance(op, ast.Mult) and ast.dump(left) == ast.dump(right):
                return _power(a, 2.0)
            return _combined(op, a, b)
        case ast.Call(func=ast.Name(id=("max" | "min") as name), args=[left, right]):
            a, b = _part(left, box), _part(right, box)
            pick = max if name == "max" else min
            convex, concave = name == "max" and a.convex and b.convex, name == "min" and a.concave and b.concave
            return Part(pick(a.low, b.low), pick(a.high, b.high), convex, concave)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _atom(name, _part(argument, box))
    return UNKNOWN


def _combined(op: ast.operator, a: Part, b: Part) -> Part:
    if isinstance(op, ast.Sub):
        b = _scaled(-1.0, b)
    if isinstance(op, ast.Add | ast.Sub):
        return Part(a.low + b.low, a.high + b.high, a.convex and b.convex, a.concave and b.concave)
    if isinstance(op, ast.Div):
        if b.low <= 0 <= b.high:
            return UNKNOWN
        b = _power(b, -1.0)
    if a.constant:
        return _scaled(a.low, b)
    if b.constant:
        return _scaled(b.low, a)
    ends = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return Part(min(ends), max(ends), False, False)


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def _scaled(factor: float, a: Part) -> Part:
    low, high = sorted((_times(factor, a.low), _times(factor, a.high)))
    convex, concave = (a.convex, a.concave) if factor >= 0 else (a.concave, a.convex)
    return Part(low, high, convex or factor == 0, concave or factor == 0)


def _within(a: Part, region: Interval) -> bool:
    return region[0] <= a.low and a.high <= region[1]


def _composed(a: Part, shape: tuple[bool, bool, bool, bool], values: Interval) -> Part:
    """h(a) with h convex, concave, rising, falling on a's interval, and h's values there."""
    convex, concave, rises, falls = shape
    affine = a.convex and a.concave
    return Part(
        *values,
        convex and (affine or (rises and a.convex) or (falls and a.concave)),
        concave and (affine or (rises and a.concave) or (falls and a.convex)),
    )


def _power(a: Part, p: float) -> Part:
    if p in (0.0, 1.0):
        return Part(1.0, 1.0, True, True) if p == 0 else a
    whole, even = p == int(p), p % 2 == 0
    if (a.low < 0 and not whole) or (p < 0 and a.low <= 0 <= a.high):
        return UNKNOWN
    ends = [_raised(a.low, p), _raised(a.high, p)]
    low = 0.0 if even and p > 0 and a.low <= 0 <= a.high else min(ends)
    positive, negative = a.low >= 0, a.high <= 0
    if positive:
        shape = (p >= 1 or p < 0, 0 < p < 1, p > 0, p < 0)
    elif even:
        shape = (True, False, negative and p < 0, negative and p > 0)
    else:
        shape = (False, negative, p > 0, p < 0)
    return _composed(a, shape, (low, max(ends)))


def _raised(x: float, p: float) -> float:
    try:
        return math.inf if x == 0 and p < 0 else float(x**p)
    except OverflowError:
        return math.inf


def _atom(name: str, a: Part) -> Part:
    if name in ("sin", "cos"):
        return _wave(a, 0.0 if name == "sin" else math.pi / 2)
    if name not in ATOMS:
        return UNKNOWN
    convex, concave, rises, falls = (_within(a, region) for region in ATOMS[name])
    return _composed(a, (convex, concave, rises, falls), _values(name, a))


def _values(name: str, a: Part) -> Interval:
    ends = FUNCTIONS[name](torch.tensor([a.low, a.high], dtype=torch.float64)).tolist()
    if any(math.isnan(e) for e in ends):
        return -math.inf, math.inf
    low, high = min(ends), max(ends)
    if name in ("abs", "square", "cosh") and a.low < 0 < a.high:
        low = 1.0 if name == "cosh" else 0.0
    return (low, high) if name != "tan" or _within(a, (-1.57, 1.57)) else (-math.inf, math.inf)


def _wave(a: Part, shift: float) -> Part:
    """sin(a + shift): concave on the half periods where it is positive, convex where negative."""
    low, high = a.low + shift, a.high + shift
    if not high - low <= math.pi:
        return Part(-1.0, 1.0, False, False)
    half, quarter = math.floor(low / math.pi), math.floor((low - math.pi / 2) / math.pi)
    same_half, same_slope = high <= (half + 1) * math.pi, high - math.pi / 2 <= (quarter + 1) * math.pi
    concave, rises = same_half and half % 2 == 0, same_slope and quarter % 2 == 1
    ends = sorted((math.sin(low), math.sin(high)))
    top = 1.0 if not same_slope and quarter % 2 == 1 else ends[1]
    bottom = -1.0 if not same_slope and quarter % 2 == 0 else ends[0]
    shape = (same_half and half % 2 == 1, concave, rises, same_slope and quarter % 2 == 0)
    return _composed(a, shape, (bottom, top))


Polynomial = dict[tuple[str, ...], float]  # sorted names of a monomial -> its coefficient


def quadratic_form(expression: Expression) -> torch.Tensor | None:
    """The constant Hessian (n, n) of an expression that is a polynomial of degree two at most, else None."""
    terms = _polynomial(expression.tree)
    if terms is None:
        return None
    n = len(expression.variables)
    at = {name: i for i, name in enumerate(expression.variables)}
    hessian = torch.zeros(n, n, dtype=torch.float64)
    for names, coefficient in terms.items():
        if len(names) == 2:
            i, j = at[names[0]], at[names[1]]
            hessian[i, j] += coefficient
            hessian[j, i] += coefficient
    return hessian


def _polynomial(node: ast.AST) -> Polynomial | None:
    """The monomials of `node` up to degree two, or None where it is anything else."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return {(): float(value)}
        case ast.Name(id=name):
            return {(): CONSTANTS[name]} if name in CONSTANTS else {(name,): 1.0}
        case ast.UnaryOp(op=op, operand=operand):
            inner = _polynomial(operand)
            sign = -1.0 if isinstance(op, ast.USub) else 1.0
            return inner and {k: sign * v for k, v in inner.items()}
        case ast.Call(func=ast.Name(id="square"), args=[argument]):
            inner = _polynomial(argument)
            return inner and _product(inner, inner)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _polynomial(left), _polynomial(right)
            if a is None or b is None:
                return None
            if isinstance(op, ast.Add | ast.Sub):
                sign = -1.0 if isinstance(op, ast.Sub) else 1.0
                return {k: a.get(k, 0.0) + sign * b.get(k, 0.0) for k in a | b}
            if isinstance(op, ast.Mult):
                return _product(a, b)
            number = b.get((), 0.0)
            if set(b) - {()} or (isinstance(op, ast.Div) and number == 0):
                return None
            if isinstance(op, ast.Div):
                return {k: v / number for k, v in a.items()}
            powers: dict[float, Polynomial | None] = {0.0: {(): 1.0}, 1.0: a, 2.0: _product(a, a)}
            return powers.get(number)
    return None


def _product(a: Polynomial, b: Polynomial) -> Polynomial | None:
    out: Polynomial = {}
    for x, u in a.items():
        for y, v in b.items():
            names = tuple(sorted((*x, *y)))
            if len(names) > 2:
                return None
            out[names] = out.get(names, 0.0) + u * v
    return out

"""Expressions such as `log(x1) + x1*x2 - sin(x2)`, read by Python's grammar and a whitelist, never by `eval`."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError

FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "abs": torch.abs, "acos": torch.acos, "asin": torch.asin, "atan": torch.atan, "cos": torch.cos, "cosh": torch.cosh,
    "erf": torch.erf, "exp": torch.exp, "expm1": torch.expm1, "ln": torch.log, "log": torch.log, "log10": torch.log10,
    "log1p": torch.log1p, "log2": torch.log2, "max": torch.maximum, "min": torch.minimum, "relu": torch.relu,
    "sigmoid": torch.sigmoid, "sin": torch.sin, "sinh": torch.sinh, "softplus": torch.nn.functional.softplus,
    "sqrt": torch.sqrt, "square": torch.square, "tan": torch.tan, "tanh": torch.tanh,
}  # fmt: skip
OPERATIONS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
CONSTANTS = {"pi": math.pi, "e": math.e}
_TWO_ARGUMENTS = {"max", "min"}
_LONGEST = 2000


@dataclass(frozen=True)
class Expression:
    """A parsed expression: call it with its variables, by position in the order of `variables` or by name."""

    text: str
    variables: tuple[str, ...]
    tree: ast.expr

    def __call__(self, *args: Any, **named: Any) -> Tensor:
        values = dict(zip(self.variables, args, strict=False)) | named
        missing = [name for name in self.variables if name not in values]
        extra = [name for name in values if name not in self.variables]
        if missing or extra or len(args) > len(self.variables):
            wrong = (
                f"no value for {', '.join(missing)}" if missing else f"unknown variable {', '.join(extra) or args[-1]}"
            )
            raise InputError(f"{self.text!r}: {wrong}; its variables are {', '.join(self.variables)}")
        tensors = {
            k: v if isinstance(v, Tensor) else torch.tensor(float(v), dtype=torch.float64) for k, v in values.items()
        }
        out = _value(self.tree, tensors)
        return out if isinstance(out, Tensor) else torch.tensor(float(out), dtype=torch.float64)

    def of_vector(self, x: Tensor) -> Tensor:
        """The value with the elements of `x` (n,) as the variables, in order."""
        return self(*x.unbind())


def parse(text: str) -> Expression:
    """An expression of numbers, names, `+ - * / **`, brackets and the functions in `FUNCTIONS`; `^` is read as `**`.

    Raises `InputError` that points at whatever else the text holds.

    >>> f = parse("log(x1) + x1*x2 - sin(x2)")
    >>> f.variables
    ('x1', 'x2')
    >>> round(f(2, 5).item(), 6)
    11.652071
    """
    if len(text) > _LONGEST:
        raise InputError(f"the expression is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
        names = _names(tree, text)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise InputError(f"{text!r} is no expression: {getattr(error, 'msg', error)}") from None
    return Expression(text.strip(), tuple(sorted(names, key=_natural)), tree)


def _natural(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _names(node: ast.AST, text: str) -> set[str]:
    """The variables under `node`; raises on anything outside the whitelist."""
    match node:
        case ast.Constant(value=value) if isinstance(value, int | float) and not isinstance(value, bool):
            return set()
        case ast.Name(id=name) if name in FUNCTIONS:
            raise InputError(f"{text!r}: {name} is a function; write {name}(...)")
        case ast.Name(id=name):
            return set() if name in CONSTANTS else {name}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _names(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
            return _names(left, text) | _names(right, text)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            wanted = 2 if name in _TWO_ARGUMENTS else 1
            if len(args) != wanted or any(isinstance(a, ast.Starred) for a in args):
                raise InputError(f"{text!r}: {name} takes {wanted} argument{'s' * (wanted > 1)}, not {len(args)}")
            return set().union(*(_names(a, text) for a in args))
        case ast.Call(func=ast.Name(id=name)):
            raise InputError(f"{text!r}: unknown function {name}; known are {', '.join(FUNCTIONS)}")
    raise InputError(f"{text!r}: {ast.unparse(node)!r} is not allowed; use numbers, names, + - * / ** and functions")


def _value(node: ast.AST, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return CONSTANTS[name] if name in CONSTANTS else values[name]
        case ast.UnaryOp(op=op, operand=operand):
            inner = _value(operand, values)
            return -inner if isinstance(op, ast.USub) else inner
        case ast.BinOp(left=left, op=op, right=right):
            return _operate(type(op), _value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            given = [_value(a, values) for a in args]
            return FUNCTIONS[name](
                *(a if isinstance(a, Tensor) else torch.tensor(float(a), dtype=torch.float64) for a in given)
            )
    raise AssertionError(f"{ast.dump(node)} passed the whitelist")


def _operate(op: type, left: Any, right: Any) -> Any:
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return OPERATIONS[op](left, right)
    # bare numbers through float64, where a power cannot grow without bound as Python's integers do
    return OPERATIONS[op](torch.tensor(float(left), dtype=torch.float64), float(right)).item()


def assignments(words: Sequence[str]) -> dict[str, float]:
    """The point that words such as `x1=2` name. Raises `InputError` that points at the word that does not fit.

    >>> assignments(["x1=2", "x2=-0.5"])
    {'x1': 2.0, 'x2': -0.5}
    """
    point: dict[str, float] = {}
    for word in words:
        name, equals, number = word.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not name.isidentifier() or not math.isfinite(value):
            raise InputError(f"{word!r} is no assignment; write NAME=NUMBER, such as x1=2")
        if name in point:
            raise InputError(f"{name} is given twice")
        point[name] = value
    return point

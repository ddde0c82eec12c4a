"""The conditions on sizes under which a capture holds, kept as assertions in the graph.

`torch.export` states them as Python conditions on the inputs' sizes. Rebuilding a graph would drop them, and a Python
branch on a size would then be silently wrong; so each is parsed (never evaluated) and written as nodes that end in
`torch._assert`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.fx import Graph, Node

_BINARY: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.And: operator.and_,
    ast.Or: operator.or_,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "max": torch.sym_max,
    "min": torch.sym_min,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_float": torch.sym_float,
    "math.trunc": math.trunc,
    "math.floor": math.floor,
    "math.ceil": math.ceil,
}
_UNARY: dict[type[ast.AST], Callable[..., Any]] = {ast.USub: operator.neg, ast.Not: operator.not_}


Size = tuple[str, int]  # an input's path, as the exporter writes it, and an axis


class UnreadableGuard(Exception):
    """A condition in a form that is not known here."""


def guard_nodes(graph: Graph, conditions: Iterable[str], inputs: Mapping[str, Node]) -> list[str]:
    """Appends an assertion for each condition; returns those that could not be read.

    `inputs` has the tensor inputs by the path that the conditions use: `L['x']`, or `L['xs'][0]` inside a structure.
    """
    sizes: dict[Size, Node] = {}

    def size(where: Size) -> Node:
        if where not in sizes:
            sizes[where] = graph.call_function(torch.ops.aten.sym_size.int, (inputs[where[0]], where[1]))
        return sizes[where]

    def call(op: Callable[..., Any], *values: Any) -> Any:
        return graph.call_function(op, values) if any(isinstance(v, Node) for v in values) else op(*values)

    unread = []
    for condition in conditions:
        if not can_be_asserted(condition, inputs):
            unread.append(condition)
            continue
        holds = _folded(_parsed(condition), size, call)
        said = condition.replace("L['", "").replace("']", "")
        message = f"torchweld: this graph was captured for inputs with {said}; capture it anew for other sizes"
        graph.call_function(torch._assert, (holds, message))
    return unread


def can_be_asserted(condition: str, inputs: Mapping[str, Node]) -> bool:
    """Whether the condition is in a form known here, on sizes of these inputs."""
    try:
        parsed = _parsed(condition)
        _folded(parsed, lambda _: 1, lambda _, *values: values[0])
    except (UnreadableGuard, SyntaxError):
        return False
    return all(path in inputs for path, _ in _sizes_in(parsed))


def excludes_one_only(condition: str) -> Size | None:
    """The size that the condition keeps from being 1, if that is all it does.

    The exporter tells sizes of 1 apart for the sake of broadcasting, and a Python branch may do so too. Since one size
    is all that is excluded, running that size decides whether the condition is needed.
    """
    try:
        parsed = _parsed(condition)
        where = set(_sizes_in(parsed))
        if len(where) != 1:
            return None
        allowed = [_holds_at(parsed, n) for n in range(1, 65)]
    except (UnreadableGuard, SyntaxError, ZeroDivisionError):  # a size may divide another
        return None
    return where.pop() if not allowed[0] and all(allowed[1:]) else None


def always_holds(condition: str) -> bool:
    """Whether sums and products of sizes exceed a number already where every size is 1; they only grow from there."""
    try:
        match _parsed(condition):
            case ast.Compare(left=small, ops=[ast.Lt() | ast.LtE()], comparators=[large]):
                pass
            case ast.Compare(left=large, ops=[ast.Gt() | ast.GtE() | ast.NotEq()], comparators=[small]):
                pass
            case _:
                return False
        return _grows(large) and isinstance(small, ast.Constant) and small.value < _folded(large, lambda _: 1, _call)
    except (UnreadableGuard, SyntaxError, ZeroDivisionError):  # a size may divide another
        return False


def _grows(e: ast.AST) -> bool:
    match e:
        case ast.Constant(value=int() as value):
            return value > 0
        case ast.BinOp(left=left, op=ast.Add() | ast.Mult(), right=right):
            return _grows(left) and _grows(right)
    return _as_size(e) is not None


def _call(op: Callable[..., Any], *values: Any) -> Any:
    return op(*values)


def _holds_at(condition: ast.expr, n: int) -> bool:
    return bool(_folded(condition, lambda _: n, _call))


def _parsed(condition: str) -> ast.expr:
    return ast.parse(condition, mode="eval").body


def _sizes_in(e: ast.AST) -> list[Size]:
    return [found for part in ast.walk(e) if (found := _as_size(part)) is not None]


def _as_size(e: ast.AST) -> Size | None:
    match e:
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=source, attr="size"), args=[]),
            slice=ast.Constant(value=int() as axis),
        ):
            return ast.unparse(source), axis
    return None


def _folded(e: ast.AST, size: Callable[[Size], Any], call: Callable[..., Any]) -> Any:
    """The condition computed with `size` for its sizes and `call` for its operators."""
    if (where := _as_size(e)) is not None:
        return size(where)
    match e:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return call(_BINARY[type(op)], _folded(left, size, call), _folded(right, size, call))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return call(_UNARY[type(op)], _folded(operand, size, call))
        case ast.Call(func=func, args=given) if ast.unparse(func) in _CALLS:
            values = [_folded(v, size, call) for v in given]  # a maximum of three is the maximum of two, twice
            return (
                _joined(_CALLS[ast.unparse(func)], values, call)
                if len(values) > 1
                else call(_CALLS[ast.unparse(func)], *values)
            )
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(o) in _BINARY for o in ops):
            values = [_folded(v, size, call) for v in (left, *rights)]
            parts = [call(_BINARY[type(o)], a, b) for o, a, b in zip(ops, values, values[1:], strict=False)]
            return _joined(operator.and_, parts, call)
        case ast.BoolOp(op=op, values=operands):
            return _joined(_BINARY[type(op)], [_folded(v, size, call) for v in operands], call)
    raise UnreadableGuard(ast.unparse(e))


def _joined(op: Callable[..., Any], parts: list[Any], call: Callable[..., Any]) -> Any:
    result = parts[0]
    for part in parts[1:]:
        result = call(op, result, part)
    return result

"""The conditions on sizes under which a capture holds, kept as assertions in the graph.

`torch.export` states them as Python conditions on the inputs' sizes. Rebuilding a graph would drop them, and a Python
branch on a size would then be silently wrong; so each is parsed (never evaluated) and written as nodes that end in
`torch._assert`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Graph, Node

_BINARY: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
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
_UNARY: dict[type[ast.AST], Callable[..., Any]] = {ast.USub: operator.neg, ast.Not: operator.not_}


class UnreadableGuard(Exception):
    """A condition in a form that is not known here."""


def guard_nodes(graph: Graph, conditions: list[str], inputs: dict[str, Node]) -> list[str]:
    """Appends an assertion for each condition; returns those that could not be read.

    `inputs` has the tensor inputs by the path that the conditions use: "x", or "xs[0]" inside a structure.
    """
    sizes: dict[tuple[Node, int], Node] = {}
    unread = []
    for condition in conditions:
        try:
            holds = _Writer(graph, inputs, sizes).write(ast.parse(condition, mode="eval").body)
        except (UnreadableGuard, SyntaxError):
            unread.append(condition)
            continue
        said = condition.replace("L['", "").replace("']", "")
        message = f"torchweld: this graph was captured for inputs with {said}; capture it anew for other sizes"
        graph.call_function(torch._assert, (holds, message))
    return unread


class _Writer:
    """Writes one parsed condition as graph nodes."""

    def __init__(self, graph: Graph, inputs: dict[str, Node], sizes: dict[tuple[Node, int], Node]) -> None:
        self.graph, self.inputs, self.sizes = graph, inputs, sizes

    def write(self, e: ast.AST) -> Any:
        match e:
            case ast.Constant(value=bool() | int() | float() as value):
                return value
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._call(_BINARY[type(op)], self.write(left), self.write(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return self._call(_UNARY[type(op)], self.write(operand))
            case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(o) in _BINARY for o in ops):
                values = [self.write(v) for v in (left, *rights)]
                parts = [self._call(_BINARY[type(o)], a, b) for o, a, b in zip(ops, values, values[1:], strict=False)]
                return self._joined(operator.and_, parts)
            case ast.BoolOp(op=op, values=values):
                return self._joined(_BINARY[type(op)], [self.write(v) for v in values])
            case ast.Subscript(
                value=ast.Call(func=ast.Attribute(value=source, attr="size"), args=[]),
                slice=ast.Constant(value=int() as axis),
            ):
                return self._size(source, axis)
        raise UnreadableGuard(ast.unparse(e))

    def _size(self, source: ast.expr, axis: int) -> Node:
        path = ast.unparse(source)
        node = self.inputs.get(path)
        if node is None:
            raise UnreadableGuard(path)
        if (node, axis) not in self.sizes:
            self.sizes[node, axis] = self.graph.call_function(torch.ops.aten.sym_size.int, (node, axis))
        return self.sizes[node, axis]

    def _joined(self, op: Callable[..., Any], parts: list[Any]) -> Any:
        result = parts[0]
        for part in parts[1:]:
            result = self._call(op, result, part)
        return result

    def _call(self, op: Callable[..., Any], *values: Any) -> Any:
        if any(isinstance(v, Node) for v in values):
            return self.graph.call_function(op, values)
        return op(*values)

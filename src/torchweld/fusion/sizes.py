"""Sizes of tensors that may be dynamic: numbers, or expressions in the symbols that the capture left open."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TypeAlias

import sympy
import torch
from torch import Tensor
from torch.fx import Node

Dim: TypeAlias = int | sympy.Expr
Shape: TypeAlias = tuple[Dim, ...]


def shape_of(value: Node) -> Shape | None:
    """The shape of a node's tensor, dynamic dimensions as expressions; None where it is no tensor."""
    tensor = value.meta.get("val")
    return tuple(_dim(s) for s in tensor.shape) if isinstance(tensor, Tensor) else None


def dtype_of(value: Node) -> torch.dtype | None:
    tensor = value.meta.get("val")
    return tensor.dtype if isinstance(tensor, Tensor) else None


def static(dims: Iterable[Dim]) -> tuple[int | None, ...]:
    """The sizes as the laws read them: None where dynamic."""
    return tuple(d if isinstance(d, int) else None for d in dims)


def same_size(a: Iterable[Dim], b: Iterable[Dim]) -> bool:
    """Whether two lists of dimensions have one product at every size."""
    a, b = list(a), list(b)
    if a == b:
        return True
    return bool(sympy.expand(prod(a, start=sympy.Integer(1)) - prod(b, start=sympy.Integer(1))) == 0)


class Hints:
    """The numbers that dynamic sizes have for the example input; planning weighs costs at these."""

    def __init__(self, values: dict[sympy.Symbol, int]) -> None:
        self.values = values
        self._known: dict[sympy.Expr, int] = {}

    def number(self, dim: Dim) -> int:
        if isinstance(dim, int):
            return dim
        if dim not in self._known:
            self._known[dim] = int(dim.xreplace({s: sympy.Integer(v) for s, v in self.values.items()}))
        return self._known[dim]

    def count(self, dims: Iterable[Dim]) -> int:
        """The product of the dimensions."""
        return prod(self.number(d) for d in dims)


def _dim(size: int | torch.SymInt) -> Dim:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    return int(expression) if expression.is_Integer else expression

"""What an operator's operands are: their shapes, their axes, whether they vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from torchweld.fusion.lift.local import Recipes
from torchweld.fusion.sizes import Shape, shape_of


def operand_of(node: Node) -> Node:
    """The first operand."""
    operand = node.args[0]
    assert isinstance(operand, Node)
    return operand


def sizes(value: Any) -> Shape | None:
    return shape_of(value) if isinstance(value, Node) else None


def ndim(value: Any) -> int:
    return len(sizes(value) or ())


def fixed(weight: Node) -> tuple[int, ...]:
    """The shape of a constant."""
    return tuple(int(d) for d in shape_of(weight) or ())


def varies(value: Any, constants: Recipes) -> bool:
    """Whether it is a tensor that an input reaches."""
    return isinstance(value, Node) and value not in constants and shape_of(value) is not None


def floats(*values: Node) -> bool:
    return all(v.meta["val"].dtype.is_floating_point for v in values)


def each(value: Any, rank: int) -> Sequence[int]:
    """A value for each axis, where one may stand for all."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * rank if len(values) == 1 else values

"""Values stacked only to be added up: `stack(x_1 .. x_n, d).sum(d) = x_1 + .. + x_n`, and the mean with them.

Conditions: the sum runs over the axis of the stack alone and drops it, in the dtype that the values have. A sum is
algebra to the plan; a stack is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from torchweld.core import Refusal
from torchweld.fusion.lift import arguments
from torchweld.fusion.rewrites.made import made_beside
from torchweld.fusion.sizes import dtype_of, shape_of
from torchweld.maps import Recipe, State

aten = torch.ops.aten
NAME = "sum of a stack"


@dataclass(frozen=True)
class Match:
    """The sum or mean, and what it adds up."""

    result: Node
    parts: tuple[Node, ...]
    mean: bool


def match(node: Node) -> Match | None:
    """A sum or mean of a stack over its own axis."""
    if node.target not in (aten.sum.dim_IntList, aten.mean.dim):
        return None
    a: Any = arguments(node)
    stack = a["self"]
    if stack.target is not aten.stack.default or a["dim"] is None or len(a["dim"]) != 1:
        return None
    given: Any = arguments(stack)
    ndim = len(shape_of(stack) or ())
    if a["keepdim"] or a["dim"][0] % ndim != given["dim"] % ndim:
        return None
    return Match(node, tuple(given["tensors"]), node.target is aten.mean.dim)


def check(found: Match, constants: Mapping[Node, Recipe], state: State) -> Refusal | None:
    """Why the stack must stay, or None."""
    dtypes = {dtype_of(n) for n in (found.result, *found.parts)}
    if len(dtypes) != 1 or not all(d is not None and d.is_floating_point for d in dtypes):
        return Refusal("values of several dtypes are added up")
    return None


def apply(graph: Graph, found: Match) -> Node:
    """Replaces the sum in the graph and returns the new value."""
    first, *rest = found.parts
    total = first
    with graph.inserting_before(found.result):
        for part in rest:
            total = made_beside(graph, found.result, aten.add.Tensor, total, part)
        if found.mean:
            total = made_beside(graph, found.result, aten.mul.Tensor, total, 1 / len(found.parts))
    found.result.replace_all_uses_with(total)
    return total

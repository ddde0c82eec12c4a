"""Values that no input reaches: parameters, and what the graph computes from them alone (weight norm, masks, grids)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_aggregate

from torchweld.fusion.capture import Captured
from torchweld.maps import Recipe, parameter

_SINGLE = (torch.float32, torch.float16, torch.bfloat16)


def constants_of(captured: Captured) -> dict[Node, Recipe]:
    """A recipe for each constant node of the graph."""
    recipes: dict[Node, Recipe] = {}
    for node in captured.graph.nodes:
        if node.op == "get_attr" and node.target in captured.state:
            recipes[node] = parameter(str(node.target))
        elif node.op == "call_function" and node not in captured.pinned and _repeatable(node):
            sources = node.all_input_nodes
            if all(s in recipes for s in sources):
                call = _Call(node)
                recipes[node] = Recipe("constant folding", _evaluate, tuple(recipes[s] for s in sources), (call,))
    return recipes


def _repeatable(node: Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    return not random and not node.target._schema.is_mutable and _tensor_valued(node)


def _tensor_valued(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and all(isinstance(d, int) for d in value.shape)


class _Call:
    """One operator call with its tensors left open: a recipe's argument, compared by identity."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        values = dict(zip(self.node.all_input_nodes, inputs, strict=True))

        def filled(argument: Any) -> Any:
            if isinstance(argument, Node):
                return values[argument]
            return torch.float64 if argument in _SINGLE else argument

        args = map_aggregate(self.node.args, filled)
        kwargs = map_aggregate(self.node.kwargs, filled)
        assert callable(self.node.target)
        result: Tensor = self.node.target(*args, **kwargs)
        return result.double() if result.is_floating_point() else result


def _evaluate(*given: Any) -> Tensor:
    *inputs, call = given
    result: Tensor = call(tuple(inputs))
    return result

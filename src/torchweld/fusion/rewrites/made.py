"""A node that a rewrite puts into a captured graph."""

from __future__ import annotations

from typing import Any

from torch.fx import Graph, Node
from torch.fx.node import map_arg


def made_beside(graph: Graph, of: Node, target: Any, *args: Any) -> Node:
    """A call at the graph's place of insertion, with its value's shape, in the module that `of` was captured in."""
    node = graph.call_function(target, args)
    values = map_arg(args, lambda n: n.meta["val"])
    with of.meta["val"].fake_mode:
        node.meta["val"] = target(*values)
    node.meta["nn_module_stack"] = of.meta.get("nn_module_stack")
    return node

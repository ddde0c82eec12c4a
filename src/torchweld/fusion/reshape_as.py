"""`reshape_as(x, other)` as `reshape(x, sizes)`: the other value is no longer needed for its shape alone.

A dynamic size is read off the value that the other was computed from, one step further up, where that has it too.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import torch
from torch.fx import Graph, Node

from torchweld.fusion.sizes import shape_of

aten = torch.ops.aten
_AS = {aten.reshape_as.default, aten.view_as.default}


def plain_reshapes(graph: Graph, pinned: Set[Node]) -> None:
    """Rewrites the graph in place, but for the pinned nodes."""
    for node in list(graph.nodes):
        if node.target not in _AS or node in pinned or not isinstance(node.args[1], Node):
            continue
        sizes = _sizes(graph, node, node.args[1])
        with graph.inserting_before(node):
            plain = graph.call_function(aten.reshape.default, (node.args[0], sizes))
        plain.meta = dict(node.meta)
        node.replace_all_uses_with(plain)
        graph.erase_node(node)


def _sizes(graph: Graph, node: Node, other: Node) -> list[Any]:
    """The sizes of `other`: numbers, one -1, and for further dynamic ones the size of an earlier value."""
    sizes: list[Any] = []
    for axis, dim in enumerate(shape_of(other) or ()):
        source = _earlier_with(other, axis)
        if isinstance(dim, int):
            sizes.append(dim)
        elif axis > 0 and -1 not in sizes:
            sizes.append(-1)
        else:
            with graph.inserting_before(node):
                size = graph.call_function(aten.sym_size.int, (source, axis))
            size.meta["val"] = other.meta["val"].shape[axis]
            sizes.append(size)
    return sizes


def _earlier_with(value: Node, axis: int) -> Node:
    """The first operand of the value if it has the same size on this axis, and so on upwards."""
    while value.args and isinstance(operand := value.args[0], Node):
        before, now = shape_of(operand), shape_of(value)
        if not before or not now or axis >= len(before) or before[axis] != now[axis]:
            break
        value = operand
    return value

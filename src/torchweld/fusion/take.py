"""A view taken of a leaf that may have other channels than the value it was written for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from torchweld.fusion.expression import Leaf
from torchweld.fusion.lift import arguments, slice_of
from torchweld.fusion.sizes import shape_of

aten = torch.ops.aten
_BY_SHAPE = {aten.view.default, aten.reshape.default, aten._unsafe_view.default}


def take_view(graph: Graph, leaf: Leaf, source: Node, value: Callable[[Node], Node]) -> Node:
    """The last view of the leaf's chain, of `source`; `value` gives the sizes that the view reads."""
    view = leaf.view
    assert view is not None
    piece = slice_of(view)
    if piece is not None:
        _, axis, start, stop = piece
        return graph.call_function(aten.slice.Tensor, (source, axis, start, stop))
    operand = view.args[0]
    assert isinstance(operand, Node)
    if view.target in _BY_SHAPE or view.target is aten.expand.default:
        sizes: Any = list(arguments(view).get("size") or arguments(view)["shape"])  # type: ignore[call-overload]
        for axis, (was, now) in enumerate(zip(shape_of(view) or (), leaf.shape, strict=True)):
            if was != now and sizes[axis] != -1:
                sizes[axis] = now
        target = aten.reshape.default if view.target in _BY_SHAPE else view.target
        return graph.call_function(target, (source, map_arg(sizes, value)))
    args = map_arg(view.args[1:], value)
    kwargs = map_arg(dict(view.kwargs), value)
    return graph.call_function(view.target, (source, *args), kwargs)  # type: ignore[arg-type]

"""Chains of views that together only reorder channels: a channel shuffle, however it is written.

Found by calculation: the views are run on a tensor of its own indices. If every position keeps its place and its
channels come in one new order everywhere, the chain is a choice of channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from torchweld.fusion.lift.local import Gather
from torchweld.fusion.sizes import Hints, shape_of

aten = torch.ops.aten
_AXIS = 1  # the channels', as convolutions have it
_LONGEST = 5  # views
_PURE = {
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.transpose.int,
    aten.permute.default,
    aten.contiguous.default,
    aten.clone.default,
}


def shuffle_of(node: Node, hints: Hints) -> Gather | None:
    """The shuffle that ends at this view, of the nearest value from which it is one."""
    if node.target not in _PURE or len(shape_of(node) or ()) < 3:
        return None
    chain: list[Node] = []
    value = node
    while value.target in _PURE and len(chain) < _LONGEST:
        chain.insert(0, value)
        operand = value.args[0]
        if not isinstance(operand, Node) or shape_of(operand) is None:
            return None
        value = operand
        if len(chain) > 1 and shape_of(value) == shape_of(node) and (order := _order(value, chain, hints)) is not None:
            return Gather(value, _AXIS, order)
    return None


def _order(value: Node, chain: list[Node], hints: Hints) -> tuple[int, ...] | None:
    """The new order of the channels, if the chain does nothing else; None for the order that they have."""
    shape = shape_of(value) or ()
    if not isinstance(shape[_AXIS], int):
        return None
    before = torch.arange(hints.count(shape)).reshape([hints.number(d) for d in shape])
    after = before
    for view in chain:
        args, kwargs = map_arg((view.args[1:], dict(view.kwargs)), lambda n: _number(n, hints))
        assert callable(view.target)
        after = view.target(after, *args, **kwargs)
    if after.shape != before.shape:
        return None
    stride = before.stride(_AXIS)
    order = [int(i) // stride for i in _channels(after)]
    alike = torch.equal(after, before.index_select(_AXIS, torch.tensor(order)))
    return tuple(order) if alike and order != sorted(order) else None


def _channels(indices: Tensor) -> Tensor:
    """The indices along the channels at the first position."""
    return indices.select(0, 0).flatten(1)[:, 0]


def _number(size: Node, hints: Hints) -> Any:
    value = size.meta["val"]
    return hints.number(value.node.expr) if isinstance(value, torch.SymInt) else value

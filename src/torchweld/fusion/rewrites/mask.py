"""What is known of a mask that fills: constant, or a part of a constant that starts at its first element.

A causal mask is kept once for the longest sequence and sliced to the present length, which the graph leaves open. No
slice `[:T, :T]` of it leaves a row without a key if none of its rows lacks the first key, or none lacks its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from torchweld.fusion.lift import arguments
from torchweld.fusion.sizes import shape_of
from torchweld.maps import Recipe, State

aten = torch.ops.aten
_ELEMENTWISE = {
    aten.eq.Scalar,
    aten.ne.Scalar,
    aten.gt.Scalar,
    aten.lt.Scalar,
    aten.logical_not.default,
    aten.bitwise_not.default,
    aten.to.dtype,
    aten.unsqueeze.default,
    aten.alias.default,
    aten.clone.default,
}


@dataclass(frozen=True)
class Mask:
    """Facts that hold at every size. `causal`: exactly the keys after the query's own are masked, of as many."""

    every_row_has_a_key: bool
    causal: bool


def known_mask(mask: Node, constants: Mapping[Node, Recipe], state: State, *, filled: bool = True) -> Mask | None:
    """The facts about a mask that is `filled` where the key is hidden; None where it depends on the inputs."""
    steps: list[Node] = []
    value = mask
    while value not in constants:
        if value.target not in _ELEMENTWISE and not _from_the_start(value):
            return None
        steps.insert(0, value)
        source = value.args[0]
        if not isinstance(source, Node):
            return None
        value = source
    whole: Tensor = constants[value].evaluate(state)
    for step in steps:
        if step.target in _ELEMENTWISE:
            assert callable(step.target)
            whole = step.target(whole, *step.args[1:], **step.kwargs)
    hidden = whole.bool() if filled else ~whole.bool()
    if hidden.ndim < 2:
        return Mask(not steps and not bool(hidden.all(-1).any()), causal=False)
    shape = shape_of(mask) or ()
    square = shape[-2] == shape[-1]
    rows, keys = hidden.shape[-2:]
    if any(_from_the_start(s) for s in steps):
        own = hidden.diagonal(dim1=-2, dim2=-1)
        holds = not bool(hidden[..., 0].any()) or (square and rows == keys and not bool(own.any()))
    else:
        holds = not bool(hidden.all(-1).any())
    later = torch.ones(rows, keys, dtype=torch.bool).triu(1)
    return Mask(holds, square and bool((hidden == later).all()))


def _from_the_start(node: Node) -> bool:
    """A slice that leaves out nothing before its end."""
    if node.target is not aten.slice.Tensor:
        return False
    a = arguments(node)
    return a["start"] in (None, 0) and a["step"] == 1

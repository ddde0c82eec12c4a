"""A norm's scale and shift leave it for the maps that read it: `W (w n(x) + b) + c = (W w) n(x) + (W b + c)`.

For layer, RMS and group norms. Here the norm is only written as `n(x)`, a product and a sum; what reads them takes them
in by the laws for maps. Conditions: weight and bias are constants, one a channel; every reader is a linear, or a
convolution that does not pad the shift with zeros, with views between that keep the channels apart. One other reader,
such as a residual sum, and the product would have to be computed after all: then the norm stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from torchweld.core import Refusal
from torchweld.fusion.declined import place
from torchweld.fusion.lift import SPLITS, VIEWS, Same, arguments, slice_of
from torchweld.fusion.lift.local import View
from torchweld.fusion.rewrites.made import made_beside
from torchweld.fusion.sizes import dtype_of, shape_of
from torchweld.maps import Recipe, State

aten = torch.ops.aten
NAME = "norm's affine"
_ON_LAST = {aten.layer_norm.default, aten.rms_norm.default}
_LINEARS = {aten.linear.default: "weight", aten.matmul.default: "other", aten.mm.default: "mat2"}
_CONVS = {aten.conv1d.default, aten.conv2d.default, aten.conv3d.default}


@dataclass(frozen=True)
class Match:
    """The norm, its weight and bias, and the axis of its channels."""

    norm: Node
    weight: Node
    bias: Node | None
    axis: int


def match(node: Node) -> Match | None:
    """A norm with a weight for each channel."""
    if node.target not in _ON_LAST and node.target is not aten.group_norm.default:
        return None
    a: Any = arguments(node)
    last = node.target in _ON_LAST
    if not isinstance(a["weight"], Node) or (last and len(a["normalized_shape"]) != 1):
        return None
    bias = a.get("bias")
    return Match(node, a["weight"], bias, len(shape_of(node) or ()) - 1 if last else 1)


def check(found: Match, constants: Mapping[Node, Recipe], state: State) -> Refusal | None:
    """Why the norm keeps its weight and bias, or None."""
    if found.weight not in constants or (found.bias is not None and found.bias not in constants):
        return Refusal("the norm's weight and bias are not constants")
    if dtype_of(found.weight) != dtype_of(found.norm):
        return Refusal("the norm's weight has another dtype than its output")
    for reader, reads_exactly in _readers(found.norm, found.axis, constants, shifted=found.bias is not None):
        if not reads_exactly:
            return Refusal(f"the norm keeps its scale and shift: {place(reader)} reads it too and cannot take them in")
    return None


def apply(graph: Graph, found: Match) -> Node:
    """Replaces the norm in the graph and returns the new value."""
    a: Any = arguments(found.norm)
    norm, axes = found.norm, len(shape_of(found.norm) or ())
    if norm.target is aten.layer_norm.default:
        options: tuple[Any, ...] = (a["normalized_shape"], None, None, a["eps"], a["cudnn_enable"])
    elif norm.target is aten.rms_norm.default:
        options = (a["normalized_shape"], None, a["eps"])
    else:
        options = (a["num_groups"], None, None, a["eps"], a["cudnn_enabled"])
    per_channel = [-1, *(1,) * (axes - found.axis - 1)]
    with graph.inserting_before(norm):
        value = made_beside(graph, norm, norm.target, a["input"], *options)
        for target, constant in ((aten.mul.Tensor, found.weight), (aten.add.Tensor, found.bias)):
            if constant is not None:
                shaped = made_beside(graph, norm, aten.view.default, constant, per_channel)
                value = made_beside(graph, norm, target, value, shaped)
    norm.replace_all_uses_with(value)
    return value


def _readers(value: Node, axis: int, constants: Mapping[Node, Recipe], *, shifted: bool) -> Iterator[tuple[Node, bool]]:
    """What reads the value, past views of it; whether each takes in a scale, and a shift if there is one."""
    for user in value.users:
        if user.target in SPLITS:
            yield from _readers(user, axis, constants, shifted=shifted)
        elif (onward := _axis_after(user, value, axis, shifted=shifted)) is not None:
            yield from _readers(user, onward, constants, shifted=shifted)
        else:
            yield user, _takes_in(user, value, axis, constants, shifted=shifted)


def _axis_after(user: Node, value: Node, axis: int, *, shifted: bool) -> int | None:
    """Where the channels lie after a view; None if it is none, or mixes them with something."""
    if user.target not in VIEWS:
        return None
    source = value if value.target not in SPLITS else value.args[0]
    for law in VIEWS[user.target](user):
        if law.operands != (source,):
            return None
        if isinstance(law, Same):
            return axis
        if isinstance(law, View) and (law.keeps_shift or not shifted):
            if slice_of(user) is not None and law.axes[axis] is None:
                return axis  # some of the channels
            return law.axes[axis]
    return None


def _takes_in(user: Node, value: Node, axis: int, constants: Mapping[Node, Recipe], *, shifted: bool) -> bool:
    if not isinstance(user.target, torch._ops.OpOverload):
        return False
    a: Any = arguments(user)
    last = axis == len(shape_of(value) or ()) - 1
    if user.target in _LINEARS:
        return last and user.args[0] is value and a[_LINEARS[user.target]] in constants
    if user.target is aten.addmm.default:
        return last and a["mat1"] is value and a["mat2"] in constants and a["self"] in constants
    if user.target in _CONVS:
        padded = isinstance(a["padding"], str) or any(a["padding"])
        return axis == 1 and user.args[0] is value and a["weight"] in constants and not (shifted and padded)
    return False

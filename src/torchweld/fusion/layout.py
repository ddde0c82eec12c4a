"""Where in a chain of views a map is applied: pointwise maps commute with views, so it is free to choose.

A linear module reads channels on the last axis, a convolution reads images (channels second) or, as `channels_last`,
four axes with the channels innermost in memory. Anything else is copied first, and a linear over four axes that are
not contiguous becomes many small products. So the place is taken where the operand lies in memory as the module reads
it, by the strides at capture.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.fx import Node

from torchweld.fusion.expression import Leaf
from torchweld.fusion.lift import VIEWS
from torchweld.fusion.lift.local import View
from torchweld.fusion.sizes import Dim, Hints
from torchweld.maps import Geometry

aten = torch.ops.aten
_SAME_ELEMENTS = {  # views that neither drop nor mix elements: a map may come before them as well as after
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.permute.default,
    aten.transpose.int,
}
_MOVES = {aten.permute.default, aten.transpose.int}  # views of any memory


@dataclass(frozen=True)
class Place:
    """A map reads `leaf` with its channels on `axis`; `after` has the views that follow, each with its channels' axis.

    `linear`: as a linear module. `copied`: elements that must be copied before it can be read, and by the views after.
    """

    leaf: Leaf
    axis: int
    after: tuple[tuple[Leaf, int], ...]
    linear: bool
    copied: int


def place_of(leaf: Leaf, axis: int, geometry: Geometry, hints: Hints) -> Place:
    """The best place for a map that gives channels on `axis` of the leaf's shape; the last one among equals."""
    after: tuple[tuple[Leaf, int], ...] = ()
    best = _place(leaf, axis, after, geometry, hints)
    assert best is not None
    if not geometry.pointwise:
        return best
    while best.copied or not best.linear:
        assert leaf.source is None or leaf.view is not None
        if leaf.source is None or leaf.view is None or (before := _axis_before(leaf.view, axis)) is None:
            break
        after = ((leaf, axis), *after)
        leaf, axis = leaf.source, before
        place = _place(leaf, axis, after, geometry, hints)
        if place is not None and (place.copied, not place.linear) < (best.copied, not best.linear):
            best = place
    return best


def resized(leaf: Leaf, axis: int, channels: int) -> Leaf:
    """The leaf with another number of channels on an axis: what a view gives of a map's output."""
    return Leaf(leaf.value, (*leaf.shape[:axis], channels, *leaf.shape[axis + 1 :]), leaf.source, leaf.view)


def _place(leaf: Leaf, axis: int, after: tuple[tuple[Leaf, int], ...], g: Geometry, hints: Hints) -> Place | None:
    """A map at this place; None where no module computes it there."""
    ndim = len(leaf.shape)
    linear = g.pointwise and g.groups == 1 and axis == ndim - 1
    if not linear and not (axis in (0, 1) and 1 <= ndim - 1 - axis <= 3) and not (g.pointwise and g.per_channel):
        return None
    strides = _strides(leaf, hints)
    sizes = [hints.number(d) for d in leaf.shape]
    plain = range(ndim)
    fits = strides is None or _in_order(sizes, strides, plain) or (linear and ndim < 4)
    if not fits and not linear and ndim == 4 and axis == 1:
        fits = _in_order(sizes, strides or (), (0, 2, 3, 1))
    copied = 0 if fits else hints.count(leaf.shape)
    return Place(leaf, axis, after, linear, copied + _copied_by(after, leaf, axis, g.out_channels, hints))


def _copied_by(after: tuple[tuple[Leaf, int], ...], leaf: Leaf, axis: int, channels: int, hints: Hints) -> int:
    """Elements that these views of a map's output, made at `leaf`, cannot show without copying."""

    def sizes(leaf: Leaf, axis: int) -> list[int]:
        return [hints.number(d) for d in resized(leaf, axis, channels).shape]

    copied, value = 0, torch.empty(sizes(leaf, axis), device="meta")
    for link, on_axis in after:
        view, shape = link.view, sizes(link, on_axis)
        if view is not None and view.target in _MOVES:
            value = view.target(value, *view.args[1:])
            continue
        try:
            value = value.view(shape)
        except RuntimeError:  # memory does not run that way
            copied += value.numel()
            value = torch.empty(shape, device="meta")
    return copied


def _axis_before(view: Node, axis: int) -> int | None:
    """The axis that a view with the same elements moves to `axis`."""
    if view.target not in _SAME_ELEMENTS:
        return None
    for law in VIEWS[view.target](view):
        if isinstance(law, View) and axis in law.axes:
            return law.axes.index(axis)
    return None


def _strides(leaf: Leaf, hints: Hints) -> tuple[int, ...] | None:
    """The strides that the leaf had at capture, whatever its channels were then."""
    tensor = (leaf.view or leaf.value).meta.get("val")
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
        return None
    return tuple(hints.number(_dim(s)) for s in tensor.stride())


def _dim(size: int | torch.SymInt) -> Dim:
    return size if isinstance(size, int) else size.node.expr


def _in_order(sizes: list[int], strides: tuple[int, ...], axes: range | tuple[int, ...]) -> bool:
    """Whether memory runs through the axes in this order, the last the fastest; axes of one element do not count."""
    steps = [strides[i] for i in axes if sizes[i] > 1]
    return not steps or (steps[-1] == 1 and all(a >= b for a, b in pairwise(steps)))

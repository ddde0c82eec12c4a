"""Axes that become one: which of them the channels may lie on, and how often each channel stands in the result.

The width of the result must be known. Where height and width are open, so is their product; but a linear that reads
the result fixes it, and the exporter asserts as much.
"""

from __future__ import annotations

from math import prod

import torch
from torch.fx import Node

from torchweld.fusion.lift.local import Flatten, LocalLaw
from torchweld.fusion.sizes import Shape, same_size, shape_of

aten = torch.ops.aten


def flattened(
    node: Node,
    x: Node,  # (..., a, b, c, ...), whose axes a, b, c become one
) -> list[LocalLaw]:
    """A law for each axis of the block of x that becomes one axis."""
    before, after = shape_of(x) or (), shape_of(node) or ()
    start = next((i for i, (d, e) in enumerate(zip(before, after, strict=False)) if d != e), None)
    gone = len(before) - len(after)
    if start is None or gone < 1:
        return []
    end = start + gone + 1
    if before[end:] != after[start + 1 :] or not same_size(before[start:end], after[start : start + 1]):
        return []
    width = after[start] if isinstance(after[start], int) else _read_width(node, start)
    if not isinstance(width, int):
        return []
    return [law for axis in range(start, end) if (law := _law(x, before, axis, start, end, width)) is not None]


def _law(x: Node, shape: Shape, axis: int, start: int, end: int, width: int) -> Flatten | None:
    channels, near, far = shape[axis], _count(shape[start:axis]), _count(shape[axis + 1 : end])
    if not isinstance(channels, int) or channels < 2 or (near is None and far is None):
        return None
    near = near or width // (channels * (far or 1))
    far = far or width // (channels * near)
    return Flatten(x, axis, start, near, far) if near * channels * far == width else None


def _count(dims: Shape) -> int | None:
    known = [d for d in dims if isinstance(d, int)]
    return prod(known) if len(known) == len(dims) else None


def _read_width(node: Node, axis: int) -> int | None:
    """The width that a linear reads on the last axis."""
    if axis != len(shape_of(node) or ()) - 1:
        return None
    readers = (u for u in node.users if u.target is aten.linear.default and u.args[0] is node)
    weights = [w for u in readers if isinstance(w := u.args[1], Node)]
    widths = [(shape_of(w) or (None, None))[1] for w in weights]
    return next((w for w in widths if isinstance(w, int)), None)

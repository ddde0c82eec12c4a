"""Operators that look at a value in another way, one row an operator: which axis each axis becomes.

Averages over other axes than the channels' are views too: they commute with maps at each position.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from torchweld.fusion.lift.flattened import flattened
from torchweld.fusion.lift.local import Choose, LocalLaw, Same, View, arguments
from torchweld.fusion.lift.operands import ndim, operand_of
from torchweld.fusion.lift.rearranged import flipped, repeated, rolled
from torchweld.fusion.sizes import Shape, dtype_of, same_size, shape_of

aten = torch.ops.aten
Lift = Callable[[Node], list[LocalLaw]]
_WHOLE = 2**62


def _reshaped(node: Node) -> list[LocalLaw]:
    """reshape and its kin: an axis is kept if as much lies before it, and it has the same static size."""
    x = operand_of(node)
    before, after = shape_of(x), shape_of(node)
    if before is None or after is None:
        return []
    axes: list[int | None] = []
    for i, d in enumerate(before):
        found = [
            j
            for j, e in enumerate(after)
            if isinstance(d, int) and isinstance(e, int) and d == e and same_size(before[:i], after[:j])
        ]
        axes.append(found[0] if found else None)
    return [View(x, tuple(axes)), *flattened(node, x)]


def _permuted(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    count = ndim(a["self"])
    order = [d % count for d in a["dims"]]
    return [View(a["self"], tuple(order.index(i) for i in range(count)))]


def _transposed(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    axes: list[int | None] = list(range(ndim(a["self"])))
    i, j = a["dim0"], a["dim1"]
    axes[i], axes[j] = axes[j], axes[i]
    return [View(a["self"], tuple(axes))]


def _moved(node: Node) -> list[LocalLaw]:
    """movedim and its kin: which axis each becomes, read off axes of different sizes."""
    x = operand_of(node)
    assert callable(node.target)
    distinct = torch.empty(tuple(range(2, 2 + ndim(x))), device="meta")
    after = list(node.target(distinct, *node.args[1:], **node.kwargs).shape)
    return [View(x, tuple(after.index(i + 2) for i in range(ndim(x))))]


def _summed(node: Node) -> list[LocalLaw]:
    """A sum over other axes than the channels': as a mean, but a constant shift is counted as often as is summed."""
    a: Any = arguments(node)
    if not a["dim"]:
        return []
    return [replace(law, keeps_shift=False) for law in _averaged(node) if isinstance(law, View)]


def _averaged(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    x = a["self"]
    count = ndim(x)
    gone = {d % count for d in (a["dim"] if a["dim"] else range(count))}
    if a["dtype"] is not None and a["dtype"] != dtype_of(x):
        return []
    kept = [i for i in range(count) if i not in gone]
    place = {i: i if a["keepdim"] else n for n, i in enumerate(kept)}
    return [View(x, tuple(place.get(i) for i in range(count)))]


def _pooled(rank: int) -> Lift:
    """Pooling that averages; padding counted in breaks a constant shift at the border."""

    def lift(node: Node) -> list[LocalLaw]:
        a: Any = arguments(node)
        x = a["self"]
        kept = ndim(x) - rank
        exact = not any(_listed(a.get("padding", 0))) or not a.get("count_include_pad", False)
        plain = a.get("divisor_override") is None
        return [View(x, tuple(i if i < kept else None for i in range(ndim(x))), keeps_shift=exact and plain)]

    return lift


def _resampled(node: Node) -> list[LocalLaw]:
    x = operand_of(node)
    return [View(x, tuple(i if i < 2 else None for i in range(ndim(x))))]


def _sliced(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    x, step = a["self"], a["step"]
    shape = shape_of(x)
    if shape is None:
        return []
    axis = a["dim"] % len(shape)
    start, stop = a["start"] or 0, _WHOLE if a["end"] is None else a["end"]
    if start == 0 and isinstance(stop, int) and stop >= _WHOLE and step == 1:
        return [Same(x)]
    return _parts(x, shape, axis, start, stop, step)


def _parts(x: Node, shape: Shape, axis: int, start: Any, stop: Any, step: int) -> list[LocalLaw]:
    """A slice is a choice of channels on its own axis and a view for the others."""
    laws: list[LocalLaw] = [View(x, tuple(i if i != axis else None for i in range(len(shape))))]
    size = shape[axis]
    if isinstance(size, int) and isinstance(start, int) and isinstance(stop, int):
        laws.append(Choose(x, axis, range(*slice(start, stop, step).indices(size))))
    return laws


def _narrowed(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    shape, start = shape_of(a["self"]), a["start"]
    if shape is None or not isinstance(start, int) or not isinstance(a["length"], int) or start < 0:
        return []
    return _parts(a["self"], shape, a["dim"] % len(shape), start, start + a["length"], 1)


def _picked(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    count = ndim(a["self"])
    gone = a["dim"] % count
    return [View(a["self"], tuple(None if i == gone else i - (i > gone) for i in range(count)))]


def _same(node: Node) -> list[LocalLaw]:
    x = operand_of(node)
    return [Same(x)] if shape_of(x) == shape_of(node) and dtype_of(x) == dtype_of(node) else []


def _dropped(node: Node) -> list[LocalLaw]:
    a: Any = arguments(node)
    return [Same(a["input"])] if not a["train"] or a["p"] == 0 else []


def _unchanged_axes(node: Node) -> list[LocalLaw]:
    x = operand_of(node)
    return [View(x, tuple(range(ndim(x))))]


def _part_of_split(node: Node) -> list[LocalLaw]:
    """`getitem(split(x), i)`, as the slice that it is."""
    piece = slice_of(node)
    if piece is None:
        return []
    x, axis, start, stop = piece
    shape = shape_of(x)
    return [] if shape is None else _parts(x, shape, axis, start, stop, 1)


def slice_of(node: Node) -> tuple[Node, int, int, int] | None:
    """(value, axis, start, stop) of one part of a split along a static axis."""
    if node.target is not operator.getitem:
        return None
    source, index = node.args
    if not isinstance(source, Node) or source.target not in SPLITS or not isinstance(index, int):
        return None
    a: Any = arguments(source)
    shape = shape_of(a["self"])
    if shape is None:
        return None
    axis = a["dim"] % len(shape)
    size = shape[axis]
    if not isinstance(size, int):
        return None
    widths = _widths(source, a, size)
    if widths is None or not -len(widths) <= index < len(widths):
        return None
    start = sum(widths[: index % len(widths)])
    return a["self"], axis, start, start + widths[index % len(widths)]


def _widths(split: Node, a: Any, size: int) -> list[int] | None:
    if split.target is aten.split_with_sizes.default:
        widths = list(a["split_sizes"])
        return widths if all(isinstance(w, int) for w in widths) else None
    if split.target is aten.chunk.default:
        step = -(-size // a["chunks"])
    else:
        step = a["split_size"]
    if not isinstance(step, int) or step <= 0:
        return None
    return [min(step, size - at) for at in range(0, size, step)]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


SPLITS = frozenset({aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default})

VIEWS: dict[object, Lift] = {
    aten.view.default: _reshaped,
    aten.reshape.default: _reshaped,
    aten._unsafe_view.default: _reshaped,
    aten.flatten.using_ints: _reshaped,
    aten.unflatten.int: _reshaped,
    aten.squeeze.default: _reshaped,
    aten.squeeze.dim: _reshaped,
    aten.squeeze.dims: _reshaped,
    aten.unsqueeze.default: _reshaped,
    aten.permute.default: _permuted,
    aten.transpose.int: _transposed,
    aten.swapaxes.default: _moved,
    aten.movedim.int: _moved,
    aten.movedim.intlist: _moved,
    aten.t.default: _moved,
    aten.mean.dim: _averaged,
    aten.sum.dim_IntList: _summed,
    aten.adaptive_avg_pool1d.default: _pooled(1),
    aten.adaptive_avg_pool2d.default: _pooled(2),
    aten.adaptive_avg_pool3d.default: _pooled(3),
    aten.avg_pool1d.default: _pooled(1),
    aten.avg_pool2d.default: _pooled(2),
    aten.avg_pool3d.default: _pooled(3),
    aten.upsample_nearest1d.vec: _resampled,
    aten.upsample_nearest2d.vec: _resampled,
    aten.upsample_nearest3d.vec: _resampled,
    aten.upsample_linear1d.vec: _resampled,
    aten.upsample_bilinear2d.vec: _resampled,
    aten.upsample_trilinear3d.vec: _resampled,
    aten.upsample_bicubic2d.vec: _resampled,
    aten.flip.default: flipped,
    aten.roll.default: rolled,
    aten.repeat.default: repeated,
    aten.expand.default: repeated,
    aten.narrow.default: _narrowed,
    aten.slice.Tensor: _sliced,
    aten.select.int: _picked,
    aten.contiguous.default: _unchanged_axes,
    aten.dropout.default: _dropped,
    aten.feature_dropout.default: _dropped,
    aten.alpha_dropout.default: _dropped,
    aten.alias.default: _same,
    aten.detach.default: _same,
    aten.clone.default: _same,
    aten.to.dtype: _same,
    aten.to.dtype_layout: _same,
    aten._to_copy.default: _same,
    operator.getitem: _part_of_split,
}

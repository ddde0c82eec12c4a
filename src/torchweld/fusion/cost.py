"""What a realisation costs: a roofline, `max(FLOPs / peak, bytes / bandwidth) + launch`, at the example's sizes.

The numbers need not be exact: they only rank the ways to compute one value. A multiply-add is two FLOPs.
"""

from __future__ import annotations

import torch
from torch.fx import Node

from torchweld.fusion.expression import Expression, Leaf, Term, ranges
from torchweld.fusion.layout import Place, place_of
from torchweld.fusion.machine import Machine
from torchweld.fusion.sizes import Hints, dtype_of, shape_of
from torchweld.maps import Geometry

aten = torch.ops.aten
_MOVES_DATA = {  # views that copy; the others only change strides
    aten.mean.dim,
    aten.adaptive_avg_pool1d.default,
    aten.adaptive_avg_pool2d.default,
    aten.adaptive_avg_pool3d.default,
    aten.avg_pool1d.default,
    aten.avg_pool2d.default,
    aten.avg_pool3d.default,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.contiguous.default,
}

_SCATTERED = 4.0  # a copy across the order in memory takes this many times a plain one
_AS_IMAGE = 1.05  # a product over channels as a convolution takes this many times a linear


class Costs:
    """Seconds of realisations on one machine."""

    def __init__(self, machine: Machine, hints: Hints) -> None:
        self.machine, self.hints = machine, hints

    def of(self, e: Expression, node: Node) -> float:
        """The expression as the value of `node`: its maps, the sums and concatenations between them."""
        shape = shape_of(node)
        assert shape is not None
        size, width = self.hints.count(shape), _width(node)
        channels = self.hints.number(shape[e.axis]) if e.axis is not None else 1
        positions = size // max(channels, 1)
        seconds, values, biased = 0.0, 0, False
        for t in e.terms:
            values += 1
            if t.map is not None and not t.map.is_identity:
                seconds += self._map(t, e.axis, positions, width)
                biased = biased or not t.map.geometry.pointwise or not t.map.is_identity
        partial = ranges(e) if e.axis is not None else ()
        parts = len(partial or ())
        sums = values - max(parts, 1) if parts == 0 or all(t.rows == e.channels for t in e.terms) else values - parts
        seconds += max(sums, 0) * self._moved(3 * size * width)
        if parts:
            seconds += self._moved(2 * size * width)
        if e.bias is not None and not biased:
            seconds += self._moved(2 * size * width)
        return seconds

    def term(self, t: Term, axis: int, node: Node) -> float:
        """One map that gives channels, on `axis`, of `node`'s value."""
        shape = shape_of(node) or ()
        return self._map(t, axis, self.hints.count((*shape[:axis], *shape[axis + 1 :])), _width(node))

    def view(self, leaf: Leaf) -> float:
        """The last view of a leaf."""
        assert leaf.view is not None
        assert leaf.source is not None
        if leaf.view.target not in _MOVES_DATA:
            return self.machine.launch_seconds / 8
        return self._moved(self.hints.count(leaf.source.shape) * _width(leaf.view))

    def flops(self, geometry: Geometry, leaf_size: int, positions: int) -> float:
        per = geometry.in_channels // geometry.groups * geometry.taps
        if geometry.transposed:
            return 2.0 * leaf_size * geometry.out_channels // geometry.groups * geometry.taps
        return 2.0 * positions * geometry.out_channels * per

    def _map(self, t: Term, axis: int | None, positions: int, width: int) -> float:
        assert t.map is not None
        assert axis is not None
        g = t.map.geometry
        read = self.hints.count(t.leaf.shape)
        written = positions * g.out_channels
        if g.pointwise and g.per_channel:
            return self._moved((read + written) * width)
        place = place_of(t.leaf, axis, g, self.hints)
        apart = self._moved(2 * read * width) if needs_pad(g) else 0.0
        return self.product(g, place, read, positions, width) + self.machine.launch_seconds + apart

    def product(self, g: Geometry, place: Place, read: int, positions: int, width: int) -> float:
        """A linear or a convolution, its padding apart, on `read` elements."""
        machine, written = self.machine, positions * g.out_channels
        weights = g.out_channels * (g.in_channels // g.groups) * g.taps
        seconds = self.flops(g, read, positions) / _rate(g, place, machine)
        if g.pointwise and not place.linear:  # the same product, by a longer way
            seconds = seconds * _AS_IMAGE + machine.launch_seconds
        seconds = max(seconds, (read + written + weights) * width / machine.bytes_per_second)
        if place.copied:  # across the order in memory: several times as slow as a plain copy
            seconds += self._moved(2 * _SCATTERED * place.copied * width)
        if not g.pointwise:  # the library lays the input out in blocks of its own
            seconds += self._moved(2 * read * width)
        return seconds + machine.launch_seconds

    def _moved(self, count: float) -> float:
        return count / self.machine.bytes_per_second + self.machine.launch_seconds


def needs_pad(g: Geometry) -> bool:
    """The padding must be made before the convolution: it differs from side to side, or is not of zeros."""
    return not g.transposed and g.padded and (g.padding_mode != "zeros" or any(a != b for a, b in g.padding))


def _rate(g: Geometry, place: Place, machine: Machine) -> float:
    """FLOPs a second that a map reaches, by channels in and out of a group: few cannot fill a vector."""
    filled = min(1.0, g.in_channels / g.groups / 16) * min(1.0, g.out_channels / g.groups / 32)
    peak = machine.linear_flops_per_second if place.linear or g.pointwise else machine.conv_flops_per_second
    return float(max(machine.depthwise_flops_per_second, peak * filled**0.5))


def _width(node: Node) -> int:
    dtype = dtype_of(node)
    return dtype.itemsize if dtype is not None else 4

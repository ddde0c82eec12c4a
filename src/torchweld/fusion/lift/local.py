"""Local laws: how the value of one node follows from its operands' expressions. An operator may have several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.fx import Node

from torchweld.core import Refusal
from torchweld.fusion import expression as ex
from torchweld.fusion.expression import Expression
from torchweld.fusion.sizes import Shape
from torchweld.maps import ConvMap, Recipe, literal, scale

Recipes = Mapping[Node, Recipe]  # of the nodes that are constants


class NoCandidate(Refusal):
    """The law says nothing about operands of this form: not a merge that was declined."""


@dataclass(frozen=True)
class _OfOne:
    operand: Node

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class Apply(_OfOne):
    """One affine map along an axis."""

    map: ConvMap
    axis: int
    name: str

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        if given[0].axis not in (None, self.axis):
            raise NoCandidate(f"channels on axis {given[0].axis}, not {self.axis}")
        return ex.mapped(self.map, given[0], self.axis)


@dataclass(frozen=True)
class ScaleShift(_OfOne):
    """`factors * x + shift`, per channel along an axis, or the same for all channels of any axis (axis None)."""

    factors: Recipe | None
    shift: Recipe | None
    axis: int | None
    name: str

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        e = given[0]
        axis = self.axis if self.axis is not None else e.axis
        if axis is None:
            axis = 1 if len(shape) in (2, 4, 5) else len(shape) - 1  # images, else features last
        if e.axis not in (None, axis) or len(shape) < 2:
            raise NoCandidate(f"channels on axis {e.axis}, not {axis}")
        e = ex.along(e, axis)
        if self.factors is not None:
            return ex.mapped(scale(self.factors, self.shift, e.channels), e, axis)
        assert self.shift is not None
        shift = scale(literal(1.0), self.shift, e.channels).bias
        assert shift is not None
        return ex.shifted(e, shift, axis)


@dataclass(frozen=True)
class Sum:
    """`a + b` or `a - b` of one shape."""

    a: Node
    b: Node
    minus: bool
    name: str = "add"

    @property
    def operands(self) -> tuple[Node, ...]:
        return (self.a, self.b)

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        a, b = given
        if a.axis is not None and b.axis is not None and a.axis != b.axis:
            raise NoCandidate(f"channels on axes {a.axis} and {b.axis}")
        return ex.summed(a, b, minus=self.minus)


@dataclass(frozen=True)
class Concat:
    """Channels of several values, one after the other."""

    parts: tuple[Node, ...]
    axis: int
    name: str = "concat"

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.parts

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        if any(e.axis not in (None, self.axis) for e in given):
            raise NoCandidate("parts with channels on another axis")
        return ex.concatenated(given, self.axis)


@dataclass(frozen=True)
class Choose(_OfOne):
    """A range of channels."""

    axis: int
    rows: range
    name: str = "select"

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        if given[0].axis not in (None, self.axis):
            raise NoCandidate("a slice of another axis")
        return ex.chosen(given[0], self.axis, self.rows, node, shape)


@dataclass(frozen=True)
class Gather(_OfOne):
    """Channels in another order, some perhaps several times."""

    axis: int
    order: tuple[int, ...]
    name: str = "select"

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        if given[0].axis not in (None, self.axis):
            raise NoCandidate("a shuffle of another axis")
        return ex.reordered(ex.along(given[0], self.axis), self.order)


@dataclass(frozen=True)
class View(_OfOne):
    """A view: `axes` gives for each axis that it keeps the axis it becomes."""

    axes: tuple[int | None, ...]
    keeps_shift: bool = True
    name: str = "view"

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        e = given[0]
        axis = None if e.axis is None else self.axes[e.axis]
        if e.axis is not None and (axis is None or any(t.map and not t.map.geometry.pointwise for t in e.terms)):
            raise NoCandidate("a view commutes with maps at each position only, on an axis that it keeps")
        return ex.viewed(e, node, shape, axis, keeps_shift=self.keeps_shift)


@dataclass(frozen=True)
class Flatten(_OfOne):
    """Channels of an axis that becomes part of another, of `before * channels * after` places.

    `flat(f * x + b) = f' * flat(x) + b'` with each factor and shift repeated `after` times in a row, the whole `before`
    times. Only for factors and shifts: a matrix between channels would become one between all places.
    """

    axis: int
    becomes: int
    before: int
    after: int
    name: str = "view"

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        if given[0].axis != self.axis:
            raise NoCandidate("channels on another axis")
        return ex.flattened(given[0], node, shape, self.becomes, self.before, self.after)


@dataclass(frozen=True)
class Same(_OfOne):
    """Dropout in eval mode, a copy, a cast to the same dtype: the operand itself."""

    name: str = "identity"

    def result(self, node: Node, shape: Shape, given: tuple[Expression, ...]) -> Expression:
        return given[0]


LocalLaw = Apply | ScaleShift | Sum | Concat | Choose | Gather | View | Flatten | Same


def arguments(node: Node) -> dict[str, object]:
    """The node's arguments by the names of its operator's schema, defaults filled in."""
    assert isinstance(node.target, torch._ops.OpOverload)
    schema = node.target._schema.arguments
    named = {a.name: a.default_value for a in schema if a.has_default_value()}
    named.update({a.name: v for a, v in zip(schema, node.args, strict=False)})
    return {**named, **node.kwargs}

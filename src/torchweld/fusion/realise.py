"""Chosen expressions as nodes of the fused graph: modules for maps, sums, concatenations, slices of joins.

Weights are computed here, one kernel at a time in float64, and stored in the model's dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.fx import Graph, Node

from torchweld.fusion import modules
from torchweld.fusion.capture import Captured
from torchweld.fusion.cost import needs_pad
from torchweld.fusion.expression import Expression, Leaf, Term, ranges
from torchweld.fusion.layout import Place, place_of, resized
from torchweld.fusion.names import module_path
from torchweld.fusion.plan import Join, Plan
from torchweld.fusion.report import Weld
from torchweld.fusion.sizes import shape_of
from torchweld.fusion.store import Store
from torchweld.fusion.take import take_view
from torchweld.maps import ConvMap, Recipe

aten = torch.ops.aten


class Realiser:
    """Emits expressions into `graph`. `value` gives the emitted node of an original value.

    `fresh` collects values that were just made, which their only reader may write over; `sums` the sums of equal shapes
    among them; `welds` what went into one operation.
    """

    def __init__(
        self, captured: Captured, plan: Plan, graph: Graph, store: Store, value: Callable[[Node], Node]
    ) -> None:
        self.captured, self.plan, self.graph, self.store = captured, plan, graph, store
        self.value = value
        self.views: dict[Leaf, Node] = {}
        self.built: dict[object, str] = {}
        self.joins: dict[Join, Node] = {}
        self.fresh: set[Node] = set()
        self.sums: list[Node] = []
        self.welds: list[Weld] = []

    def made(self, node: Node, e: Expression) -> Node:
        """The value of `node`, by its expression."""
        if e.axis is None:
            return self._sum([self._leaf(t.leaf) for t in e.terms])
        values, bias = self._terms([t for t in e.terms if t.rows == e.channels], e.bias, e, node)
        pieces = []
        for start, stop in ranges(e) or ():
            inside = [t for t in e.terms if (t.row, t.row + t.rows) == (start, stop)]
            share = None if bias is None else Recipe("select", _range, (bias,), (start, stop))
            piece, left = self._terms(inside, share, e, node)
            pieces.append(self._sum(piece) if left is None else self._shifted(self._sum(piece), left, e.axis, node))
        if pieces:
            values.append(self.graph.call_function(aten.cat.default, (pieces, e.axis)))
            self.fresh.add(values[-1])
            bias = None
        total = self._sum(values)
        return total if bias is None else self._shifted(total, bias, e.axis, node)

    def _leaf(self, leaf: Leaf) -> Node:
        """A leaf with its views taken, each once."""
        if leaf.source is None:
            return self.value(leaf.value)
        if leaf not in self.views:
            self.views[leaf] = take_view(self.graph, leaf, self._leaf(leaf.source), self.value)
        return self.views[leaf]

    def _terms(
        self, terms: list[Term], bias: Recipe | None, e: Expression, node: Node
    ) -> tuple[list[Node], Recipe | None]:
        """The terms' values; the first that is more than an identity carries the bias, else it is left over."""
        values = []
        for t in terms:
            assert t.map is not None
            carries = bias is not None and not t.map.is_identity
            values.append(self._term(t, bias if carries else None, e, node))
            bias = None if carries else bias
        return values, bias

    def _sum(self, values: list[Node]) -> Node:
        total, *rest = sorted(values, key=lambda v: v not in self.fresh)
        for value in rest:
            total = self.graph.call_function(aten.add.Tensor, (total, value))
            self.fresh.add(total)
            self.sums.append(total)
        return total

    def _term(self, t: Term, bias: Recipe | None, e: Expression, node: Node) -> Node:
        assert t.map is not None
        assert e.axis is not None
        if (join := self.plan.joins.get((node, t))) is not None:
            return self._joined(join, t, e, node)
        map_, g = replace(t.map, bias=bias), t.map.geometry
        if map_.is_identity:
            return self._leaf(t.leaf)
        if g.pointwise and g.per_channel:
            return self._scaled(self._leaf(t.leaf), map_, e, node)
        place = place_of(t.leaf, e.axis, g, self.captured.hints)
        value = self._module(self._leaf(place.leaf), map_, place, e, node)
        shape = shape_of(node) or ()
        value.meta["size"] = self.captured.hints.count((*shape[: e.axis], *shape[e.axis + 1 :])) * t.rows
        self.fresh.add(value)
        for link, axis in place.after:
            value = take_view(self.graph, resized(link, axis, t.rows), value, self.value)
            self.fresh.add(value)
        return value

    def _module(self, source: Node, map_: ConvMap, place: Place, e: Expression, node: Node) -> Node:
        """The map as a linear or convolution module."""
        bias, g = map_.bias, map_.geometry
        if not place.linear:
            g = g.lifted(len(place.leaf.shape) - place.axis - 1)
        pad_apart = needs_pad(g) and any(near != far for near, far in g.padding)
        if pad_apart:
            flat = [p for pair in reversed(g.padding) for p in pair]
            mode = "constant" if g.padding_mode == "zeros" else g.padding_mode
            source = self.graph.call_function(aten.pad.default, (source, flat, mode))
        key = (g, map_.weight, bias, place.linear, pad_apart)
        if key not in self.built:
            weight = self.store.numbers(map_.weight, node)
            shift = None if bias is None else self.store.numbers(bias, node)
            module = modules.of_map(g, weight, shift, linear=place.linear, pad_apart=pad_apart)
            recipes = {"weight": map_.weight} | ({"bias": bias} if bias is not None else {})
            self.built[key] = self.store.add(self._path_of(map_, node), module, recipes)
            self._weld(self.built[key], e, map_)
        return self.graph.call_module(self.built[key], (source,))

    def _joined(self, join: Join, t: Term, e: Expression, node: Node) -> Node:
        """The slice of a join that is this term; the join itself is computed where its first member is."""
        if join not in self.joins:
            maps = [m.term.map for m in join.members if m.term.map is not None]
            weight = Recipe("join", _stacked, tuple(m.weight for m in maps))
            bias = None
            if any(m.bias is not None for m in join.members):
                rows = [m.bias or Recipe("join", _zeros, (), (m.term.rows,)) for m in join.members]
                bias = Recipe("join", _stacked, tuple(rows))
            geometry = replace(maps[0].geometry, out_channels=join.channels)
            whole = replace(e, channels=join.channels, laws=frozenset([("join", m.node) for m in join.members]))
            term = Term(t.leaf, ConvMap(geometry, weight))
            self.joins[join] = self._term(term, bias, whole, node)
        member = next(m for m in join.members if m.node is node and m.term == t)
        return self.graph.call_function(aten.slice.Tensor, (self.joins[join], e.axis, member.start, member.stop))

    def _scaled(self, source: Node, map_: ConvMap, e: Expression, node: Node) -> Node:
        """A per-channel scale and shift: one broadcast operator, the same in training and evaluation."""
        assert e.axis is not None
        path = self._path_of(map_, node)
        scale = self._stored(f"{path}.scale", map_.weight, e.axis, node)
        self._weld(path, e, map_)
        if map_.bias is None:
            value = self.graph.call_function(aten.mul.Tensor, (source, scale))
        else:
            shift = self._stored(f"{path}.shift", map_.bias, e.axis, node)
            value = self.graph.call_function(aten.addcmul.default, (shift, source, scale))
        self.fresh.add(value)
        return value

    def _shifted(self, source: Node, bias: Recipe, axis: int, node: Node) -> Node:
        shift = self._stored(f"{module_path(node) or node.name}.shift", bias, axis, node)
        return self.graph.call_function(aten.add.Tensor, (source, shift))

    def _stored(self, wanted: str, recipe: Recipe, axis: int, node: Node) -> Node:
        """A vector over the channels, shaped to broadcast along the other axes."""
        shape = (-1,) + (1,) * (len(shape_of(node) or ()) - axis - 1)
        shaped = Recipe(recipe.law, _reshaped, (recipe,), (shape,))
        return self.graph.get_attr(self.store.keep(wanted, self.store.numbers(shaped, node), shaped, learned=True))

    def _path_of(self, map_: ConvMap, node: Node) -> str:
        """The module that the largest of a map's parameters came from."""
        names = map_.weight.parameters()
        largest = max(names, key=lambda n: self.captured.state[n].numel(), default="")
        return largest.rpartition(".")[0] or module_path(node) or node.name

    def _weld(self, path: str, e: Expression, map_: ConvMap) -> None:
        """Notes what went into an operation, if that was more than one."""
        names = (*map_.weight.parameters(), *(map_.bias.parameters() if map_.bias else ()))
        owners = {n.rpartition(".")[0] or n for n in names}
        steps = {name for name, _ in e.laws}
        combining = {r.law for r in map_.weight.walk()} & {"compose", "add", "concat", "select", "negate", "join"}
        if len(e.laws) > 1 and (len(owners) > 1 or combining):
            self.welds.append(Weld(path, tuple(sorted(owners)), tuple(sorted(steps | combining - {"negate"}))))


def _stacked(*rows: torch.Tensor) -> torch.Tensor:
    return torch.cat(rows)


def _zeros(channels: int) -> torch.Tensor:
    return torch.zeros(channels, dtype=torch.float64)


def _range(values: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    return values[start:stop]


def _reshaped(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return values.reshape(shape)

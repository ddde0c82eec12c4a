"""From a plan to a `torch.fx.GraphModule` of stock modules, named after the modules they came from.

Values are emitted at their place in the original order, so leaves come before what reads them and operators that write
to memory stay in order. Weights are computed here, one kernel at a time in float64, and stored in the model's dtype.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.fx.node import map_arg

from torchweld.fusion import modules
from torchweld.fusion.analyse import Analysis, Cut
from torchweld.fusion.capture import Captured
from torchweld.fusion.cost import needs_pad
from torchweld.fusion.expression import Expression, Leaf, Term, ranges
from torchweld.fusion.guards import guard_nodes
from torchweld.fusion.names import module_path
from torchweld.fusion.plan import Join, Plan
from torchweld.fusion.report import Weld
from torchweld.fusion.sizes import shape_of
from torchweld.fusion.store import Store
from torchweld.fusion.take import take_view
from torchweld.fusion.widen import freed_of_dtypes, widened
from torchweld.maps import ConvMap, Recipe

aten = torch.ops.aten
_IN_PLACE: dict[object, Any] = {  # activations that do not need their input again for the gradient
    aten.relu.default: aten.relu_.default,
    aten.hardtanh.default: aten.hardtanh_.default,
    aten.leaky_relu.default: aten.leaky_relu_.default,
}


@dataclass(frozen=True)
class Emitted:
    """The fused module, its welds, the recipe of each of its parameters, and conditions that could not be kept."""

    module: GraphModule
    welds: tuple[Weld, ...]
    recipes: Mapping[str, Recipe]
    unread_conditions: tuple[str, ...]


def emit(
    captured: Captured,
    analysis: Analysis,
    plan: Plan,
    constants: Mapping[Node, Recipe],
    conditions: Iterable[str],
    *,
    double: bool = False,
) -> Emitted:
    """The planned graph as a module that asserts the conditions; `double` makes its float64 twin."""
    return _Emitter(captured, analysis, plan, constants, double).run(conditions)


class _Emitter:
    def __init__(
        self, captured: Captured, analysis: Analysis, plan: Plan, constants: Mapping[Node, Recipe], double: bool
    ) -> None:
        self.captured, self.analysis, self.plan = captured, analysis, plan
        self.constants, self.double = constants, double
        self.store = Store(captured, double=double)
        self.graph = Graph()
        self.values: dict[Node, Node] = {}
        self.views: dict[Leaf, Node] = {}
        self.built: dict[object, str] = {}
        self.joins: dict[Join, Node] = {}
        self.fresh: set[Node] = set()  # values that were just made and may be written over
        self.welds: list[Weld] = []

    def run(self, conditions: Iterable[str]) -> Emitted:
        unread = self._inputs(conditions)
        for node in self.captured.graph.nodes:
            if node.target is aten._assert_tensor_metadata.default:
                continue  # of the dtype at capture; the fused model may be cast
            if node in self.plan.chosen:
                self.values[node] = self._cut(node, self.plan.chosen[node])
            elif not self.analysis.is_affine(node) and node not in self.constants and node.op != "placeholder":
                self.values[node] = self._operator(node)
            else:
                continue
            self.values[node].meta.setdefault("val", node.meta.get("val"))
        module = GraphModule(self.store.root, self.graph, "Welded").eval()
        self.graph.eliminate_dead_code()
        self._write_over()
        module.delete_all_unused_submodules()
        module.recompile()
        return Emitted(module, tuple(self.welds), self.store.recipes, tuple(unread))

    # -- inputs ------------------------------------------------------------------------------------------------

    def _inputs(self, conditions: Iterable[str]) -> list[str]:
        """Placeholders as the original takes them, constants with their value as default, and the guards."""
        captured = self.captured
        constants = dict(captured.constants.values())
        nested = any("[" in path.removeprefix("L[") for path in (*captured.inputs, *captured.constants))
        nodes = [n for n in captured.graph.nodes if n.op == "placeholder"]
        last_tensor = max((i for i, n in enumerate(nodes) if n not in constants), default=-1)
        for i, node in enumerate(nodes):
            default = (constants[node],) if node in constants and i > last_tensor and not nested else ()
            self.values[node] = self.graph.placeholder(str(node.target), None, *default)
            self.values[node].meta = {"val": node.meta.get("val")}
        for node, value in constants.items():
            same = self.graph.call_function(_equal(value), (self.values[node], value))
            message = f"torchweld: this graph was captured with {node.target}={value!r}"
            self.graph.call_function(torch._assert, (same, message))
        if nested:
            names = list(captured.argument_names)
            self.graph.set_codegen(_PyTreeCodeGen(_PyTreeInfo(names, captured.in_spec, None)))
        inputs = {path: self.values[node] for path, node in captured.inputs.items()}
        return guard_nodes(self.graph, conditions, inputs)

    # -- values ------------------------------------------------------------------------------------------------

    def _value(self, node: Node) -> Node:
        """A value that an operator reads: emitted already, or a constant."""
        if node not in self.values:
            self.values[node] = self._constant(node)
        return self.values[node]

    def _constant(self, node: Node) -> Node:
        recipe = self.constants[node]
        if recipe not in self.built:
            name = str(node.target) if node.op == "get_attr" else f"folded.{node.name}"
            learned = name in self.captured.parameters
            self.built[recipe] = self.store.keep(name, self.store.numbers(recipe, node), recipe, learned=learned)
        return self.graph.get_attr(self.built[recipe])

    def _leaf(self, leaf: Leaf) -> Node:
        """A leaf with its views taken, each once."""
        if leaf.source is None:
            return self._value(leaf.value)
        if leaf not in self.views:
            self.views[leaf] = take_view(self.graph, leaf, self._leaf(leaf.source), self._value)
        return self.views[leaf]

    # -- cuts --------------------------------------------------------------------------------------------------

    def _cut(self, node: Node, cut: Cut) -> Node:
        e = cut.expression
        if e is None:
            return self._operator(node)
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
        first, *rest = sorted(values, key=lambda v: v not in self.fresh)
        for value in rest:
            target = aten.add_.Tensor if first in self.fresh else aten.add.Tensor
            first = self.graph.call_function(target, (first, value))
            self.fresh.add(first)
        return first

    def _term(self, t: Term, bias: Recipe | None, e: Expression, node: Node) -> Node:
        assert t.map is not None
        assert e.axis is not None
        if (join := self.plan.joins.get((node, t))) is not None:
            return self._joined(join, t, e, node)
        map_, source, g = replace(t.map, bias=bias), self._leaf(t.leaf), t.map.geometry
        if map_.is_identity:
            return source
        if g.pointwise and g.per_channel:
            return self._scaled(source, map_, e, node)
        ndim = len(shape_of(node) or ())
        linear = g.pointwise and e.axis == ndim - 1
        g = g if linear else g.lifted(ndim - e.axis - 1)
        pad_apart = needs_pad(g) and any(near != far for near, far in g.padding)
        if pad_apart:
            flat = [p for pair in reversed(g.padding) for p in pair]
            mode = "constant" if g.padding_mode == "zeros" else g.padding_mode
            source = self.graph.call_function(aten.pad.default, (source, flat, mode))
        key = (g, map_.weight, bias, linear, pad_apart)
        if key not in self.built:
            weight = self.store.numbers(map_.weight, node)
            shift = None if bias is None else self.store.numbers(bias, node)
            module = modules.of_map(g, weight, shift, linear=linear, pad_apart=pad_apart)
            recipes = {"weight": map_.weight} | ({"bias": bias} if bias is not None else {})
            self.built[key] = self.store.add(self._path_of(map_, node), module, recipes)
            self._weld(self.built[key], e, map_)
        value = self.graph.call_module(self.built[key], (source,))
        shape = shape_of(node) or ()
        value.meta["size"] = self.captured.hints.count((*shape[: e.axis], *shape[e.axis + 1 :])) * t.rows
        self.fresh.add(value)
        return value

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

    # -- operators as they were --------------------------------------------------------------------------------

    def _operator(self, node: Node) -> Node:
        if node.op == "output":
            return self.graph.output(map_arg(node.args[0], self._value))
        if node.op == "get_attr":
            module = freed_of_dtypes(self.captured.submodules[str(node.target)], double=self.double)
            return self.graph.get_attr(self.store.add(str(node.target), module, {}))
        pinned = node in self.captured.pinned
        if not pinned and (stock := modules.stock(node, self.constants)) is not None:
            return self._module(node, stock)
        target: Any = node.target
        if target is aten.view.default and not pinned:
            target = aten.reshape.default  # the same, whatever memory layout the operand has now
        args, kwargs = map_arg(node.args, self._value), map_arg(node.kwargs, self._value)
        if self.double:
            args, kwargs = widened(node, args, kwargs)
        new = self.graph.create_node(node.op, target, args, kwargs, name=_name_of(target))
        if node in self.analysis.cuts:
            self.fresh.add(new)
        return new

    def _module(self, node: Node, stock: modules.Stock) -> Node:
        """An operator that keeps its own parameters, as a module under its own name."""
        recipes = {name: self.constants[value] for name, value in stock.tensors.items()}
        key = (stock.key, *recipes.items())
        if key not in self.built:
            tensors = {name: self.store.numbers(self.constants[v], v) for name, v in stock.tensors.items()}
            weight = stock.tensors["weight"]
            owner = str(weight.target).rpartition(".")[0] if weight.op == "get_attr" else module_path(node)
            self.built[key] = self.store.add(owner or node.name, stock.build(tensors), recipes)
        value = self.graph.call_module(self.built[key], (self._value(stock.source),))
        value.meta["size"] = self.captured.hints.count(shape_of(node) or ())
        self.fresh.add(value)
        return value

    def _write_over(self) -> None:
        """Activations write over a value that was just made and that nobody else reads."""
        for node in self.graph.nodes:
            if node.op == "call_function" and node.target in _IN_PLACE:
                source = node.args[0]
                if source in self.fresh and len(source.users) == 1:
                    node.target = _IN_PLACE[node.target]


def _name_of(target: Any) -> str | None:
    """A value's name after its operator, so that fusing a fused graph names its values alike."""
    return target._schema.name.split("::")[-1] if isinstance(target, torch._ops.OpOverload) else None


def _equal(value: Any) -> Any:
    return operator.is_ if value is None else operator.eq


def _stacked(*rows: torch.Tensor) -> torch.Tensor:
    return torch.cat(rows)


def _zeros(channels: int) -> torch.Tensor:
    return torch.zeros(channels, dtype=torch.float64)


def _range(values: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    return values[start:stop]


def _reshaped(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return values.reshape(shape)

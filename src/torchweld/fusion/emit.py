"""From a plan to a `torch.fx.GraphModule` of stock modules, named after the modules they came from.

Values are emitted at their place in the original order, so leaves come before what reads them and operators that write
to memory stay in order.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.fx.graph import _PyTreeCodeGen, _PyTreeInfo
from torch.fx.node import map_arg

from torchweld.fusion import modules
from torchweld.fusion.analyse import Analysis, Cut
from torchweld.fusion.capture import Captured
from torchweld.fusion.guards import guard_nodes
from torchweld.fusion.names import module_path
from torchweld.fusion.plan import Plan
from torchweld.fusion.realise import Realiser
from torchweld.fusion.report import Weld
from torchweld.fusion.sizes import dtype_of, shape_of
from torchweld.fusion.spelling import quick
from torchweld.fusion.store import Store
from torchweld.fusion.widen import freed_of_dtypes, widened
from torchweld.maps import Recipe

aten = torch.ops.aten
_IN_PLACE: dict[object, Any] = {  # activations that take no longer than memory does
    aten.relu.default: aten.relu_.default,
    aten.relu6.default: aten.relu6_.default,
    aten.hardtanh.default: aten.hardtanh_.default,
    aten.leaky_relu.default: aten.leaky_relu_.default,
    aten.hardswish.default: aten.hardswish_.default,
    aten.hardsigmoid.default: aten.hardsigmoid_.default,
    aten.clamp.default: aten.clamp_.default,
    aten.clamp_min.default: aten.clamp_min_.default,
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
        self.built: dict[object, str] = {}
        self.realiser = Realiser(captured, plan, self.graph, self.store, self._value)

    def run(self, conditions: Iterable[str]) -> Emitted:
        unread = self._inputs(conditions)
        for node in self.captured.graph.nodes:
            if node.target is aten._assert_tensor_metadata.default:
                continue  # of the dtype at capture; the fused model may be cast
            if node in self.plan.chosen:
                self.values[node] = self._chosen(node, self.plan.chosen[node])
            elif not self.analysis.is_affine(node) and node not in self.constants and node.op != "placeholder":
                self.values[node] = self._operator(node)
            else:
                continue
            self.values[node].meta.setdefault("val", node.meta.get("val"))
        module = GraphModule(self.store.root, self.graph, "Welded").eval()
        self.graph.eliminate_dead_code()
        self._write_over()
        self.graph.on_generate_code(lambda _: quick)
        module.delete_all_unused_submodules()
        module.recompile()
        return Emitted(module, tuple(self.realiser.welds), self.store.recipes, tuple(unread))

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

    def _chosen(self, node: Node, cut: Cut) -> Node:
        return self._operator(node) if cut.expression is None else self.realiser.made(node, cut.expression)

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
            self.realiser.fresh.add(new)
        if not pinned and _is_plain_sum(node):
            self.realiser.sums.append(new)
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
        self.realiser.fresh.add(value)
        return value

    def _write_over(self) -> None:
        """Sums and activations write over a value that was just made and that nobody else reads."""

        def free(value: object) -> bool:
            return value in self.realiser.fresh and isinstance(value, Node) and len(value.users) == 1

        for node in self.realiser.sums:
            first, second = sorted(node.args, key=lambda v: not free(v))
            if free(first):
                node.target, node.args = aten.add_.Tensor, (first, second)
        for node in self.graph.nodes:
            if node.op == "call_function" and node.target in _IN_PLACE and free(node.args[0]):
                node.target = _IN_PLACE[node.target]


def _is_plain_sum(node: Node) -> bool:
    """`a + b` of two values alike in shape and dtype, so that either has room for it."""
    if node.target is not aten.add.Tensor or node.kwargs or not all(isinstance(a, Node) for a in node.args):
        return False
    shapes, dtypes = ({of(a) for a in node.all_input_nodes} for of in (shape_of, dtype_of))
    return len(shapes) == len(dtypes) == 1 and None not in shapes


def _name_of(target: Any) -> str | None:
    """A value's name after its operator, so that fusing a fused graph names its values alike."""
    return target._schema.name.split("::")[-1] if isinstance(target, torch._ops.OpOverload) else None


def _equal(value: Any) -> Any:
    return operator.is_ if value is None else operator.eq

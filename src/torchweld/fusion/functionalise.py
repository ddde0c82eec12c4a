"""In-place operators made functional: `op_(x)` becomes `op(x)`, and later readers of x read the result.

That is the same function as long as nothing else sees x's memory. Where something does (a view of it that is read
later, an input of the model, a buffer), the operators around that memory are *pinned*: they stay as they were, in their
order, and fusion leaves them and their readers alone.
"""

from __future__ import annotations

import torch
from torch.fx import Graph, Node

_MAY_ALIAS = {  # operators that may return their input, or a view of it, without a schema that says so
    "aten::reshape",
    "aten::flatten",
    "aten::unflatten",
    "aten::contiguous",
    "aten::to",
    "aten::type_as",
    "aten::dropout",
    "aten::feature_dropout",
    "aten::alpha_dropout",
    "aten::movedim",
    "aten::reshape_as",
    "aten::chunk",
    "aten::tensor_split",
    "aten::expand_as",
    "aten::squeeze",
    "aten::pad",
    "aten::narrow",
}
_FRESH = {"aten::lift_fresh_copy", "aten::clone"}


def functionalise(graph: Graph) -> frozenset[Node]:
    """Rewrites the graph's in-place operators in place and returns the pinned nodes."""
    order = {n: i for i, n in enumerate(graph.nodes)}
    memory = _memory_of(graph)
    pinned: set[Node] = set()
    for node in list(graph.nodes):
        target = _mutated(node)
        if target is None:
            continue
        sharing = memory[target]
        older = [other for other in sharing if other is not target and order[other] < order[node]]
        seen_later = any(order[user] > order[node] for other in older for user in other.users)
        owned_outside = any(other.op in ("placeholder", "get_attr") for other in sharing)
        functional = _functional(node)
        if seen_later or owned_outside or functional is None:
            pinned |= sharing
            continue
        node.target = functional
        for user in [u for u in target.users if order[u] > order[node]]:
            user.replace_input_with(target, node)
    for node in list(pinned):
        pinned.update(user for user in node.users if user.op == "call_function")
    return frozenset(pinned)


def _mutated(node: Node) -> Node | None:
    """The value that a node writes to."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    schema = node.target._schema
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write and position < len(node.args):
            value = node.args[position]
            return value if isinstance(value, Node) else None
    return None


def _functional(node: Node) -> torch._ops.OpOverload | None:
    """The operator of the same name and overload without the underscore, if it keeps the dtype."""
    assert isinstance(node.target, torch._ops.OpOverload)
    namespace, name = node.target._schema.name.split("::")
    if not name.endswith("_") or node.kwargs.get("out") is not None:
        return None
    packet = getattr(getattr(torch.ops, namespace), name[:-1], None)
    overload = getattr(packet, node.target._overloadname, None)
    operands = [a.meta["val"].dtype for a in node.all_input_nodes if isinstance(a.meta.get("val"), torch.Tensor)]
    ndims = [a.meta["val"].ndim for a in node.all_input_nodes if isinstance(a.meta.get("val"), torch.Tensor)]
    promotes = any(d != operands[0] and n > 0 for d, n in zip(operands, ndims, strict=True))
    return overload if isinstance(overload, torch._ops.OpOverload) and not promotes else None


def _memory_of(graph: Graph) -> dict[Node, set[Node]]:
    """For each value, the values that may share its memory (itself included)."""
    memory: dict[Node, set[Node]] = {}
    for node in graph.nodes:
        memory[node] = {node}
        for other in _aliases(node):
            joined = memory[other] | memory[node]
            for each in joined:
                memory[each] = joined
    return memory


def _aliases(node: Node) -> list[Node]:
    if node.op != "call_function":
        return []
    if not isinstance(node.target, torch._ops.OpOverload):  # getitem of a split
        return list(node.all_input_nodes)
    schema = node.target._schema
    if schema.name in _FRESH:
        return []
    if schema.name in _MAY_ALIAS:
        return list(node.all_input_nodes)
    return [
        value
        for value, argument in zip(node.args, schema.arguments, strict=False)
        if isinstance(value, Node) and argument.alias_info is not None
    ]

"""From a module to a functional graph with named parameters.

Batch, height and width (every dimension that the model leaves open) stay dynamic; what it fixes is noted.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy
import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Graph, Node

from torchweld.core import InputError
from torchweld.fusion.buffers import changed, snapshot
from torchweld.fusion.export import FAILURES, export, first_line
from torchweld.fusion.functionalise import functionalise
from torchweld.fusion.guards import always_holds, can_be_asserted
from torchweld.fusion.reshape_as import plain_reshapes
from torchweld.fusion.sizes import Hints, shape_of

_PARAMETERS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


@dataclass(frozen=True, eq=False)
class Captured:
    """A model as a graph. `graph` has get_attr nodes for `state`; placeholders in `inputs`, by the guards' paths.

    `constants` has the inputs that are no tensors, with the value that the graph was captured for.
    """

    graph: Graph
    state: Mapping[str, Tensor]
    parameters: frozenset[str]
    submodules: Mapping[str, nn.Module]
    pinned: frozenset[Node]
    inputs: Mapping[str, Node]
    constants: Mapping[str, tuple[Node, Any]]
    argument_names: tuple[str, ...]
    conditions: tuple[str, ...]
    in_spec: pytree.TreeSpec
    hints: Hints
    notes: tuple[str, ...]

    @property
    def dynamic_axes(self) -> dict[str, tuple[int, ...]]:
        """For each tensor input, the axes that may have any size."""
        shapes = {path: shape_of(node) or () for path, node in self.inputs.items()}
        return {path: tuple(i for i, d in enumerate(s) if not isinstance(d, int)) for path, s in shapes.items()}


def capture(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, *, batch_of_two: bool = True
) -> Captured:
    """Captures `model` at the example inputs. Raises `InputError` in training mode, or where it cannot be captured.

    `batch_of_two=False` takes the example as it is; a batch of one is then fixed.
    """
    kwargs = dict(kwargs or {})
    check_eval(model)
    _check_runs(model, args, kwargs)
    names = _names_of(model, args, kwargs)
    program, why_static = export(model, args, kwargs, batch_of_two=batch_of_two)
    captured = _read(program, args, kwargs, names, why_static)
    unread = [c for c in captured.conditions if not can_be_asserted(c, captured.inputs)]
    if unread and captured.hints.values:  # then only fixed sizes are safe
        program, _ = export(model, args, kwargs, batch_of_two=False, dynamic=False)
        captured = _read(program, args, kwargs, names, f"the condition {unread[0]} cannot be asserted")
    return captured


def copied(captured: Captured) -> Captured:
    """The same capture with a graph of its own, to rewrite."""
    graph, to = Graph(), dict[Node, Node]()
    output = graph.graph_copy(captured.graph, to)
    graph.output(output)
    return replace(
        captured,
        graph=graph,
        pinned=frozenset(to[n] for n in captured.pinned if n in to),
        inputs={path: to[n] for path, n in captured.inputs.items()},
        constants={path: (to[n], value) for path, (n, value) in captured.constants.items()},
    )


def check_eval(model: nn.Module) -> None:
    """Raises `InputError` where the model, or a module in it, is in training mode."""
    training = [name for name, module in model.named_modules() if module.training]
    if "" in training:
        raise InputError(f"the model ({type(model).__name__}) is in training mode; call .eval() on it first")
    if training:
        raise InputError(f"module {training[0]!r} is in training mode; call .eval() on the model first")


def _check_runs(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The model runs on the inputs, and is a function of them: it may fill a cache once, but not keep on writing."""
    try:
        with torch.no_grad():
            before = snapshot(model)
            model(*args, **kwargs)
            if changed(before):
                before = snapshot(model)
                model(*args, **kwargs)
                if written := changed(before):
                    raise InputError(
                        f"the model writes its buffer {written[0]!r} each time it is run, so its output depends on "
                        "more than its inputs; take that out of forward before fusing"
                    )
    except InputError:
        raise
    except FAILURES as error:
        shapes = ", ".join(_shown(v) for v in pytree.tree_leaves((args, kwargs)))
        raise InputError(f"the model does not run on the example inputs ({shapes}): {first_line(error)}") from error


def _read(
    program: ExportedProgram,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    names: tuple[str, ...],
    why_static: str | None,
) -> Captured:
    signature = program.graph_signature
    kinds = {spec.arg.name: spec for spec in signature.input_specs}
    tensors: dict[str, Tensor] = {**program.state_dict, **program.constants}
    graph, copies = Graph(), dict[Node, Node]()
    inputs: dict[str, Node] = {}
    constants: dict[str, tuple[Node, Any]] = {}
    state: dict[str, Tensor] = {}
    first_name: dict[int, str] = {}
    leaves = iter(pytree.tree_flatten_with_path((args, kwargs))[0])
    values: dict[sympy.Symbol, int] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
            continue
        spec = kinds[node.name]
        if spec.kind in _PARAMETERS:
            assert spec.target is not None
            tensor = tensors[spec.target]
            name = first_name.setdefault(id(tensor), spec.target)  # tied parameters are one
            state[name] = tensor
            new = graph.create_node("get_attr", name, name=node.name)
        else:
            path, value = next(leaves)
            new = graph.create_node("placeholder", _argument(path, names) or node.name, name=node.name)
            where = _path(path, names)
            if isinstance(value, Tensor):
                inputs[where] = new
                _bind(values, node, value)
            else:
                constants[where] = (new, value)
        new.meta = dict(node.meta)
        copies[node] = new
    _unflatten_output(graph, program)
    pinned = functionalise(graph)
    plain_reshapes(graph, pinned)
    used = {n.target for n in graph.nodes if n.op == "get_attr"}
    return Captured(
        graph,
        {name: t for name, t in state.items() if name in used},
        frozenset(signature.parameters),
        dict(program.graph_module.named_children()),
        pinned,
        inputs,
        constants,
        names,
        _conditions(program, inputs),
        program.call_spec.in_spec,
        Hints(_with_hints(program, values)),
        _notes(inputs, why_static),
    )


def _conditions(program: ExportedProgram, inputs: Mapping[str, Node]) -> tuple[str, ...]:
    """The exporter's conditions that may fail, and the fixed sizes: of those that are 1 it says nothing."""
    said = [c for c in getattr(program, "_guards_code", None) or () if not always_holds(c)]
    fixed = [
        f"{path}.size()[{axis}] == {d}"
        for path, node in inputs.items()
        for axis, d in enumerate(shape_of(node) or ())
        if isinstance(d, int)
    ]
    return tuple(dict.fromkeys([*said, *fixed]))


def _path(path: tuple[Any, ...], names: tuple[str, ...]) -> str:
    """The path of a flat input as the guards write it: L['x'] or L['xs'][0]."""
    group, first, *rest = path
    name = names[first.idx] if group.idx == 0 else first.key
    return f"L['{name}']" + "".join(map(str, rest))


def _argument(path: tuple[Any, ...], names: tuple[str, ...]) -> str | None:
    """The argument's own name, where it is one tensor or constant and not a structure of them."""
    return _path(path, names)[3:-2] if len(path) == 2 else None


def _names_of(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
    """Names of the positional arguments, those of a `*args` numbered, then of the keywords."""
    names: list[str] = []
    for p in inspect.signature(model.forward).parameters.values():
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{p.name}_{i}" for i in range(len(args) - len(names))]
        elif p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    return (*names[: len(args)], *kwargs)


def _bind(values: dict[sympy.Symbol, int], node: Node, value: Tensor) -> None:
    for dim, size in zip(shape_of(node) or (), value.shape, strict=True):
        if isinstance(dim, sympy.Symbol):
            values[dim] = int(size)


def _with_hints(program: ExportedProgram, values: dict[sympy.Symbol, int]) -> dict[sympy.Symbol, int]:
    """The example's sizes; symbols that no input has alone take the exporter's hint."""
    known = dict(values)
    for node in program.graph.nodes:
        tensor = node.meta.get("val")
        for size in tensor.shape if isinstance(tensor, Tensor) else ():
            if isinstance(size, torch.SymInt):
                for symbol in size.node.expr.free_symbols - known.keys():
                    hint = size.node.shape_env.var_to_val.get(symbol)
                    known[symbol] = int(hint) if hint is not None else 2
    return known


def _unflatten_output(graph: Graph, program: ExportedProgram) -> None:
    output = next(iter(reversed(graph.nodes)))
    flat = output.args[0]
    output.args = (pytree.tree_unflatten(flat, program.call_spec.out_spec),)


def _notes(inputs: Mapping[str, Node], why_static: str | None) -> tuple[str, ...]:
    notes = []
    if why_static:
        notes.append(f"sizes are fixed that could vary: {why_static}")
    for path, node in inputs.items():
        shape = shape_of(node) or ()
        name = path.removeprefix("L['").replace("']", "", 1)
        fixed = [f"{i} at {d}" for i, d in enumerate(shape) if isinstance(d, int)]
        if fixed:
            notes.append(f"input {name}: the model fixes axis {', '.join(fixed)}")
    return tuple(notes)


def _shown(value: Any) -> str:
    return "x".join(map(str, value.shape)) if isinstance(value, Tensor) else repr(value)

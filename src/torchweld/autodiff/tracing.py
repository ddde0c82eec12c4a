"""Evaluation traces: one recording, read as the forward primal, forward tangent and reverse adjoint traces.

Source: Baydin et al. 2018, "Automatic differentiation in machine learning: a survey", tables 2 and 3.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.autodiff.dual import push
from torchweld.autodiff.expression import Expression, parse
from torchweld.autodiff.functions import user_functions_followed
from torchweld.autodiff.tape import Node, Tape, Var, pull_one
from torchweld.autodiff.traced import base
from torchweld.core import InputError

_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@"}
_DIFFERENCED = 16  # values with more numbers than this get no finite difference of their adjoint


@dataclass(frozen=True)
class Step:
    """One line of the forward traces: a value, its tangent along each direction, its adjoint, and both by differences.

    Numbers are floats, arrays nested lists. `adjoint_difference` is None for arrays of more than 16 numbers.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    primal: Any
    tangents: dict[str, Any]
    tangent_differences: dict[str, Any]
    adjoint: Any
    adjoint_difference: Any


@dataclass(frozen=True)
class Pull:
    """One line of the reverse trace: the adjoint of `target` receives `part` from the adjoint of `source`."""

    target: str
    source: str
    part: Any
    total: Any


@dataclass(frozen=True)
class Trace:
    """The recording of one evaluation. `gradient` holds the adjoints of the inputs, by name."""

    steps: tuple[Step, ...]
    pulls: tuple[Pull, ...]
    directions: tuple[str, ...]
    output: Any
    gradient: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, ready for JSON."""
        return asdict(self)


def trace(
    f: Callable[..., Tensor] | str,
    at: Mapping[str, Any] | Sequence[Any] | Tensor | float,
    *,
    direction: Mapping[str, Any] | None = None,
) -> Trace:
    """Run `f` at one point, recording every primitive, and return its three traces from that one recording.

    `f` is torch code, an `nn.Module` or the text of an expression; `at` maps its arguments' names to numbers or
    tensors, or lists them. Numbers become float64. Where every input is one number the tangents are taken along each
    input in turn, else along `direction` (ones if not given). Of a result of several numbers the sum
    is differentiated.
    Raises `InputError` where an operator has no rule or nothing depends on the inputs.

    >>> t = trace("log(x1) + x1*x2 - sin(x2)", {"x1": 2, "x2": 5})
    >>> round(t.output, 6), {k: round(v, 6) for k, v in t.gradient.items()}
    (11.652071, {'x1': 5.5, 'x2': 1.716338})
    """
    function = parse(f) if isinstance(f, str) else f
    inputs = _inputs(function, at)
    tape, last = _record(function, inputs, isinstance(at, Mapping))
    nodes, count = tape.nodes, len(inputs)
    names = _labels(list(inputs), nodes, last)
    rays = _rays(inputs, direction)
    tangents = {key: _pushed(nodes, ray) for key, ray in rays.items()}
    tangent_differences = {key: _tangent_differences(nodes, ray) for key, ray in rays.items()}
    adjoints, pulls = _pulled(nodes, last, names)
    zeros = [torch.zeros_like(n.value) for n in nodes]
    steps = tuple(
        Step(
            names[i],
            _operation(node, names),
            tuple(names[p] for _, p in node.parents),
            _data(node.value),
            {key: _data(t.get(i, zeros[i])) for key, t in tangents.items()},
            {key: _data(t[i]) for key, t in tangent_differences.items()},
            _data(adjoints.get(i, zeros[i])),
            _data(_adjoint_difference(nodes, i, last)),
        )
        for i, node in enumerate(nodes[: last + 1])
    )
    gradient = {names[i]: steps[i].adjoint for i in range(count)}
    return Trace(steps, tuple(pulls), tuple(rays), _data(nodes[last].value), gradient)


def _inputs(f: Callable[..., Any], at: Any) -> dict[str, Tensor]:
    if not isinstance(at, Mapping):
        values = list(at) if isinstance(at, list | tuple) else [at]
        names = list(f.variables) if isinstance(f, Expression) else _argument_names(f)
        if len(names) < len(values):
            names = [f"x{i + 1}" for i in range(len(values))]
        at = dict(zip(names, values, strict=False))
    if not at:
        raise InputError("trace needs the point: a value for at least one input")
    return {k: v.detach() if isinstance(v, Tensor) else torch.as_tensor(v, dtype=torch.float64) for k, v in at.items()}


def _argument_names(f: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(f.forward if isinstance(f, torch.nn.Module) else f).parameters
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _record(f: Callable[..., Any], inputs: Mapping[str, Tensor], by_name: bool) -> tuple[Tape, int]:
    tape = Tape()
    given = {name: tape.input(value) for name, value in inputs.items()}
    with torch.enable_grad(), user_functions_followed():
        out = f(**given) if by_name else f(*given.values())
    if not isinstance(out, Var) or out.tape is not tape:
        raise InputError("trace: the result does not depend on the inputs, or is not one tensor")
    return tape, out.index


def _labels(inputs: list[str], nodes: list[Node], last: int) -> list[str]:
    taken, labels = set(inputs), list(inputs)
    for i in range(len(inputs), len(nodes)):
        name = "y" if i == last and "y" not in taken else f"v{i - len(inputs) + 1}"
        labels.append(name if name not in taken else f"{name}'")
    return labels


def _rays(inputs: Mapping[str, Tensor], direction: Mapping[str, Any] | None) -> dict[str, dict[int, Tensor]]:
    """Directions by name, each a tangent per input index."""
    if direction is not None:
        if set(direction) - set(inputs):
            raise InputError(f"direction names {sorted(set(direction) - set(inputs))}; the inputs are {list(inputs)}")
        ray = {i: torch.as_tensor(direction[k], dtype=v.dtype).expand(v.shape)
               for i, (k, v) in enumerate(inputs.items()) if k in direction}  # fmt: skip
        return {"direction": ray}
    if all(v.numel() == 1 for v in inputs.values()):
        return {name: {i: torch.ones_like(v)} for i, (name, v) in enumerate(inputs.items())}
    return {"ones": {i: torch.ones_like(v) for i, v in enumerate(inputs.values())}}


def _pushed(nodes: list[Node], ray: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """The forward tangent trace: the recorded primitives' forward rules, in order."""
    tangents = dict(ray)
    for i, node in enumerate(nodes):
        moving = {position: tangents[parent] for position, parent in node.parents if parent in tangents}
        if node.row is not None and moving:
            tangents[i] = push(node.row, moving, node.value, node.args)
    return tangents


def replay(nodes: list[Node], changed: Mapping[int, Tensor]) -> list[Tensor]:
    """The values of a recording evaluated again with some of them `changed`; nothing is recorded."""
    values: list[Tensor] = []
    for i, node in enumerate(nodes):
        if i in changed:
            values.append(changed[i])
        elif node.row is None:
            values.append(node.value)
        else:
            args = list(node.args)
            for position, parent in node.parents:
                args[position] = values[parent]
            values.append(node.row.value(*args))
    return values


def difference_step(x: Tensor, t: Tensor) -> float:
    """The step of a central difference along `t` that balances truncation against rounding."""
    size = max(x.abs().max().item() if x.numel() else 0.0, 1.0)
    return torch.finfo(x.dtype).eps ** (1 / 3) * size / max(t.abs().max().item(), 1e-300)


def _tangent_differences(nodes: list[Node], ray: Mapping[int, Tensor]) -> list[Tensor]:
    h = min(difference_step(nodes[i].value, t) for i, t in ray.items())
    ahead = replay(nodes, {i: nodes[i].value + h * t for i, t in ray.items()})
    behind = replay(nodes, {i: nodes[i].value - h * t for i, t in ray.items()})
    return [(a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True)]


def _adjoint_difference(nodes: list[Node], index: int, last: int) -> Tensor | None:
    value = nodes[index].value
    if value.numel() > _DIFFERENCED:
        return None
    out = torch.zeros_like(value)
    for k in range(value.numel()):
        unit = torch.zeros(value.numel(), dtype=value.dtype)
        unit[k] = 1
        unit = unit.reshape(value.shape)
        h = difference_step(value, unit)
        ends = [replay(nodes[: last + 1], {index: value + s * h * unit})[last].sum() for s in (1, -1)]
        out.view(-1)[k] = (ends[0] - ends[1]) / (2 * h)
    return out


def _pulled(nodes: list[Node], last: int, names: list[str]) -> tuple[dict[int, Tensor], list[Pull]]:
    """The reverse adjoint trace, part by part, so that what fans out is seen to accumulate."""
    adjoints = {last: torch.ones_like(nodes[last].value)}
    pulls: list[Pull] = []
    for i in range(last, -1, -1):
        for position, parent in nodes[i].parents if i in adjoints else ():
            part = pull_one(nodes[i], position, adjoints[i])
            adjoints[parent] = adjoints[parent] + part if parent in adjoints else part
            pulls.append(Pull(names[parent], names[i], _data(part), _data(adjoints[parent])))
    return adjoints, pulls


def _operation(node: Node, names: list[str]) -> str:
    """The operation as text: `x1 * x2`, `log(x1)`; constants by value, arrays among them by shape."""
    if node.row is None:
        return "input"
    parents = dict(node.parents)
    shown = [names[parents[i]] if i in parents else _constant(a) for i, a in enumerate(node.args)]
    name = node.args[1] if node.row.name == "linear_operator" else node.row.name
    if name in _SYMBOLS and len(shown) >= 2:
        return f"{shown[0]} {_SYMBOLS[name]} {shown[1]}"
    if name == "neg":
        return f"-{shown[0]}"
    return f"{name}({', '.join(s for i, s in enumerate(shown) if i in parents or s not in ('None', 'False'))})"


def _constant(a: Any) -> str:
    if isinstance(a, Tensor):
        return f"{base(a).item():g}" if a.numel() == 1 else f"[{'x'.join(map(str, a.shape))}]"
    text = f"{a:g}" if isinstance(a, float) else str(a)
    return text if len(text) <= 24 else "..."


def _data(x: Tensor | None) -> Any:
    return None if x is None else x.item() if x.numel() == 1 and x.dim() == 0 else x.tolist()

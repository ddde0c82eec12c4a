"""A fused module made ready for one machine: oneDNN's own weight layout, activations and sums inside convolutions.

A step at load time only: the operators are private to PyTorch and the packed weights cannot be saved. What cannot be
packed (another dtype or device, a build without oneDNN, an operator that says no) stays as it was, and so does what a
short trial finds slower packed, as many 1x1 convolutions on small images are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.graph import _PyTreeCodeGen

from torchweld.core import CheckFailed, InputError, accuracy_bound, relative_error
from torchweld.fusion.calibrate import best_seconds

aten = torch.ops.aten
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_CONVS = (nn.Conv2d, nn.Conv3d)
_TRIAL_SECONDS = 0.01
Shape = tuple[int, ...]
Activation = tuple[str, list[Any], str]  # oneDNN's name, its numbers, its variant
PLAIN: Activation = ("none", [], "")

_ACTIVATIONS: dict[object, str] = {
    aten.relu.default: "relu",
    aten.relu_.default: "relu",
    aten.relu6.default: "relu6",
    aten.relu6_.default: "relu6",
    aten.hardtanh.default: "hardtanh",
    aten.hardtanh_.default: "hardtanh",
    aten.leaky_relu.default: "leaky_relu",
    aten.leaky_relu_.default: "leaky_relu",
    aten.hardswish.default: "hardswish",
    aten.hardswish_.default: "hardswish",
    aten.silu.default: "swish",
    aten.sigmoid.default: "sigmoid",
    aten.tanh.default: "tanh",
    aten.gelu.default: "gelu",
}
_SUMS = {aten.add.Tensor, aten.add_.Tensor}


class PackedConv(nn.Module):
    """A convolution with its activation, or `activation(conv(x) + other)`."""

    def __init__(self, conv: Any, x: Shape, activation: Activation) -> None:
        super().__init__()
        self.options = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.activation = activation
        weight = conv.weight.detach()
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.options, list(x))
        self.bias = None if conv.bias is None else conv.bias.detach()

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        run, given = torch.ops.mkldnn._convolution_pointwise, (self.weight, self.bias, *self.options)
        if other is None:
            y: Tensor = run(x, *given, *self.activation)
        else:
            after = (None, [], None) if self.activation == PLAIN else self.activation
            y = run.binary(x, other, *given, "add", 1.0, *after)
        return y


class PackedLinear(nn.Module):
    """A linear with its activation."""

    def __init__(self, linear: nn.Linear, x: Shape, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        rows = int(torch.Size(x[:-1]).numel())
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *self.activation)
        return y


class Prepacked(nn.Module):
    """A fused module with packed weights, for inference in this process. `packed` counts the modules that were."""

    def __init__(self, graph: GraphModule, packed: int) -> None:
        super().__init__()
        self.graph_module, self.packed = graph, packed
        super().train(False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return self.graph_module(*args, **kwargs)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        raise InputError("prepacked weights cannot be cast or moved; do so with the fused module and prepack it again")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise InputError("a prepacked module is made at load time and not saved; save the fused model instead")


def prepacked(module: GraphModule, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Prepacked:
    """The module with everything packed that can be; checked on the inputs against the module itself.

    Raises `CheckFailed` if they differ by more than rounding does.
    """
    shapes = _Shapes(module)
    with torch.no_grad():
        expected = shapes.run(*_flat(module, args, kwargs), enable_io_processing=False)
    made = _shared(module)
    count = 0
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        for node in list(made.graph.nodes):
            if node.op == "call_module" and len(node.args) == 1:
                count += _packed(made, node, shapes.found)
        made.graph.eliminate_dead_code()
        made.delete_all_unused_submodules()
        made.recompile()
    ready = Prepacked(made, count)
    _check(ready, module, args, kwargs, expected)
    return ready


class _Shapes(Interpreter):
    """Shapes, dtypes and devices of the values, by name."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.found: dict[str, tuple[Shape, torch.dtype, str]] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.found[n.name] = (tuple(value.shape), value.dtype, value.device.type)
        return value


def _flat(module: GraphModule, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The inputs in the order of the graph's placeholders."""
    if isinstance(module.graph._codegen, _PyTreeCodeGen):
        return pytree.tree_leaves((args, dict(kwargs)))
    names = [n.target for n in module.graph.nodes if n.op == "placeholder"]
    rest = [kwargs[name] for name in names[len(args) :] if name in kwargs]
    return [*args, *rest]


def _shared(module: GraphModule) -> GraphModule:
    """A copy of the graph over the same modules and parameters."""
    root = nn.Module()
    root._modules = dict(module._modules)
    root._parameters = dict(module._parameters)
    root._buffers = dict(module._buffers)
    return GraphModule(root, copy.deepcopy(module.graph), "Prepacked")


def _packed(made: GraphModule, node: Node, found: dict[str, tuple[Shape, torch.dtype, str]]) -> bool:
    """Packs the module that a node calls, with the sum and the activation that follow it; whether it could."""
    source = node.args[0]
    module = made.get_submodule(str(node.target))
    if not isinstance(source, Node) or source.name not in found or not isinstance(module, (*_CONVS, nn.Linear)):
        return False
    shape, dtype, device = found[source.name]
    if device != "cpu" or dtype not in _DTYPES or module.weight.dtype != dtype:
        return False
    if isinstance(module, _CONVS) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
        return False
    last, other, chain = node, None, [node]
    if isinstance(module, _CONVS) and (added := _addend(node, found)) is not None:
        last, other = added
        chain.append(last)
    activation = PLAIN
    if (after := _only_reader(last)) is not None and (known := _activation(after)) is not None:
        last, activation = after, known
        chain.append(last)
    x = _channels_last(torch.zeros(shape, dtype=dtype))
    others = () if other is None else (_channels_last(torch.zeros(found[node.name][0], dtype=dtype)),)
    try:
        packed: nn.Module = (
            PackedConv(module, shape, activation)
            if isinstance(module, _CONVS)
            else PackedLinear(module, shape, activation)
        )
        with torch.no_grad():
            packed(x, *others)
    except (RuntimeError, NotImplementedError, AttributeError):  # this build has not got it for these shapes
        return False
    if not _pays(lambda: packed(x, *others), lambda: _run(chain, module, x, *others)):
        return False
    name = f"packed_{node.name}"
    made.add_submodule(name, packed)
    with made.graph.inserting_before(last):
        new = made.graph.call_module(name, (source,) if other is None else (source, other))
    found[new.name] = found[last.name]
    last.replace_all_uses_with(new)
    for dead in reversed(chain):  # operators in place are not dead to the graph
        made.graph.erase_node(dead)
    return True


def _only_reader(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].op == "call_function" else None


def _addend(node: Node, found: Mapping[str, tuple[Shape, torch.dtype, str]]) -> tuple[Node, Node] | None:
    """The sum that alone reads this value, and its other operand, which is there before it and has the same shape."""
    total = _only_reader(node)
    if total is None or total.target not in _SUMS or total.kwargs or len(total.args) != 2:
        return None
    other = total.args[1] if total.args[0] is node else total.args[0]
    if not isinstance(other, Node) or other is node or found.get(other.name) != found.get(node.name):
        return None
    return total, other


def _activation(node: Node) -> Activation | None:
    """oneDNN's name for an activation, with its numbers."""
    name = _ACTIVATIONS.get(node.target)
    if name is None:
        return None
    numbers = [v for v in node.args[1:] if isinstance(v, (int, float))]
    if name == "gelu":
        variant = node.kwargs.get("approximate", node.args[1] if len(node.args) > 1 else "none")
        return "gelu", [], str(variant)
    if node.kwargs or len(numbers) != len(node.args) - 1:
        return None
    if name == "relu6":
        return "hardtanh", [0.0, 6.0], ""
    if name == "hardtanh":
        return name, [*numbers, *(-1.0, 1.0)[len(numbers) :]], ""
    if name == "leaky_relu":
        return name, numbers or [0.01], ""
    return name, [], ""


def _run(chain: list[Node], module: nn.Module, x: Tensor, *others: Tensor) -> Tensor:
    """What the packed module is to replace: the module, and the sum and the activation behind it."""
    value: Tensor = module(x)
    for node in chain[1:]:
        target: Any = node.target
        value = target(value, *others) if target in _SUMS else target(value, *node.args[1:], **node.kwargs)
    return value


def _pays(packed: Callable[[], object], plain: Callable[[], object]) -> bool:
    """Whether packing is faster, or about as fast: it also keeps its neighbours' layout."""
    with torch.inference_mode():
        return best_seconds(packed, _TRIAL_SECONDS, "cpu") < 1.1 * best_seconds(plain, _TRIAL_SECONDS, "cpu")


def _channels_last(x: Tensor) -> Tensor:
    """Images as packed convolutions give them."""
    return x.to(memory_format=torch.channels_last) if x.ndim == 4 else x


def _check(
    ready: Prepacked, module: GraphModule, args: tuple[Any, ...], kwargs: Mapping[str, Any], expected: Any
) -> None:
    pairs = list(zip(pytree.tree_leaves(ready(*args, **kwargs)), pytree.tree_leaves(expected), strict=True))
    tensors = [(a, b) for a, b in pairs if isinstance(b, Tensor) and b.is_floating_point()]
    if not tensors:
        return
    exact = copy.deepcopy(module).double()
    wide_args, wide_kwargs = pytree.tree_map(_wide, (args, dict(kwargs)))
    try:
        with torch.no_grad():
            best = [t for t in pytree.tree_leaves(exact(*wide_args, **wide_kwargs)) if isinstance(t, Tensor)]
        own = max(relative_error(b, e) for (_, b), e in zip(tensors, best, strict=True))
    except (RuntimeError, ValueError):  # it fixes a dtype inside
        best, own = [b for _, b in tensors], 0.0
    error = max(relative_error(a, e) for (a, _), e in zip(tensors, best, strict=True))
    bound = accuracy_bound(tensors[0][1].dtype, own)
    if not error <= bound:
        raise CheckFailed(f"the prepacked module differs from the fused one by {error:.2g} (bound {bound:.2g})")


def _wide(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

"""Operators, convolutions, norms, FLOPs and bytes of a graph, counted the same way before and after."""

from __future__ import annotations

import operator
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from torchweld.fusion.capture import Captured
from torchweld.fusion.report import Counts
from torchweld.fusion.sizes import Hints, shape_of

aten = torch.ops.aten
_CONVS = {aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding, aten.conv3d.default}
_CONVS |= {aten.conv3d.padding, aten.conv_transpose1d.default, aten.conv_transpose2d.input}
_CONVS |= {aten.conv_transpose3d.input}
_TRANSPOSED = {aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input}
_PRODUCTS = {aten.matmul.default, aten.bmm.default, aten.mm.default}
_CONV_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORM_MODULES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_BOOKKEEPING = {operator.getitem, aten.sym_size.int, torch._assert}
_BOOKKEEPING |= {torch.sym_max, torch.sym_min, torch.sym_not, torch.sym_int, torch.sym_float}  # of sizes


def counts_before(captured: Captured) -> Counts:
    """Counts of the captured graph."""
    tensors = captured.state
    weights = [tensors[n] for n in captured.parameters if n in tensors]
    return _counts(captured.graph, None, tensors, captured.hints, weights, tensors.values())


def counts_after(module: GraphModule, hints: Hints) -> Counts:
    """Counts of a fused graph."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return _counts(module.graph, module, tensors, hints, list(module.parameters()), tensors.values())


def _counts(
    graph: Graph,
    root: GraphModule | None,
    tensors: dict[str, Tensor] | object,
    hints: Hints,
    weights: list[Tensor],
    stored: Iterable[Tensor],
) -> Counts:
    operators = convs = linears = norms = flops = 0
    for node in graph.nodes:
        if node.op not in ("call_function", "call_module") or _is_bookkeeping(node):
            continue
        operators += 1
        module = root.get_submodule(str(node.target)) if root is not None and node.op == "call_module" else None
        if _is_norm(node, module):
            norms += 1
        elif node.target in _CONVS or isinstance(module, _CONV_MODULES):
            convs += 1
        elif node.target is aten.linear.default or isinstance(module, nn.Linear):
            linears += 1
        flops += _flops(node, module, hints)
    return Counts(
        operators,
        convs,
        linears,
        norms,
        sum(t.numel() for t in weights),
        flops,
        sum(t.numel() * t.element_size() for t in stored),
    )


def _is_bookkeeping(node: Node) -> bool:
    if node.target in _BOOKKEEPING or getattr(node.target, "__module__", "") == "_operator":
        return True
    return node.op == "call_function" and all(s.op == "get_attr" for s in node.all_input_nodes)


def _is_norm(node: Node, module: nn.Module | None) -> bool:
    """Normalisation by running statistics, or what is left of one: a per-channel scale."""
    if isinstance(module, _NORM_MODULES) or node.target is aten.batch_norm.default:
        return True
    if isinstance(module, _CONV_MODULES):
        depthwise = module.groups == module.in_channels == module.out_channels
        return depthwise and module.weight.shape[2:].numel() == 1
    if node.target in _CONVS:
        weight, groups = node.args[1], node.args[6] if len(node.args) > 6 else 1
        shape = shape_of(weight) if isinstance(weight, Node) else None
        return shape is not None and shape[0] == groups and shape[1:] == (1,) * (len(shape) - 1)
    return node.target is aten.addcmul.default and any(s.op == "get_attr" for s in node.all_input_nodes)


def _flops(node: Node, module: nn.Module | None, hints: Hints) -> int:
    size = node.meta.get("size") or hints.count(shape_of(node) or (0,))
    if isinstance(module, (nn.Linear, *_CONV_MODULES)):
        return _weighted(module.weight.shape, size, node, hints, transposed=getattr(module, "transposed", False))
    if node.target in _CONVS or node.target is aten.linear.default:
        weight = node.args[1]
        shape = shape_of(weight) if isinstance(weight, Node) else None
        fixed = torch.Size([hints.number(d) for d in shape or ()])
        return _weighted(fixed, size, node, hints, transposed=node.target in _TRANSPOSED)
    first = node.args[0] if node.args else None
    if node.target in _PRODUCTS and isinstance(first, Node) and (shape := shape_of(first)):
        return 2 * size * hints.number(shape[-1])
    if node.target is aten.scaled_dot_product_attention.default and isinstance(node.args[1], Node):
        keys = shape_of(node.args[1])
        return 4 * size * hints.number(keys[-2]) if keys else 0
    return 0


def _weighted(weight: torch.Size, size: int, node: Node, hints: Hints, *, transposed: bool) -> int:
    if not weight:
        return 0
    if transposed:
        source = node.args[0]
        size = hints.count(shape_of(source) or ()) if isinstance(source, Node) else 0
    return 2 * size * (weight.numel() // weight[0])

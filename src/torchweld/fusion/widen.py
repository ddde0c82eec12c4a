"""Operators in float64: dtypes that the captured graph names are widened, and its assertions about them dropped."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.node import Argument, map_aggregate

from torchweld.fusion.sizes import dtype_of

aten = torch.ops.aten
_NARROW = (torch.float32, torch.float16, torch.bfloat16)


def widened(node: Node, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a copy of `node` that computes in float64."""
    return map_aggregate(args, _widened), map_aggregate(_with_dtype(node, kwargs), _widened)


def freed_of_dtypes(module: nn.Module, *, double: bool) -> nn.Module:
    """A region that the exporter keeps apart (autocast, no_grad), without its assertions about dtypes."""
    if not isinstance(module, GraphModule):
        return module
    module = copy.deepcopy(module)
    for node in list(module.graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
        elif double and node.op == "call_function":
            node.args, node.kwargs = widened(node, node.args, node.kwargs)
    module.recompile()
    return module


def _with_dtype(node: Node, kwargs: Any) -> Any:
    """A new tensor's dtype spelled out, where the operator leaves it to the default."""
    schema = getattr(node.target, "_schema", None)
    takes_dtype = schema is not None and any(a.name == "dtype" for a in schema.arguments)
    made_here = takes_dtype and not any(isinstance(s.meta.get("val"), torch.Tensor) for s in node.all_input_nodes)
    return {**kwargs, "dtype": kwargs.get("dtype") or dtype_of(node)} if made_here else kwargs


def _widened(argument: Argument) -> Argument:
    return torch.float64 if argument in _NARROW else argument

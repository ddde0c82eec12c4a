"""The generated code of a fused module, spelled so that Python spends little time between operators.

`torch.fx` writes an operator as `torch.ops.aten.flatten.using_ints(x, 2)`, whose arguments are matched to a schema at
every call, and a module as `self.stages.conv`, looked up by `nn.Module.__getattr__` link by link. `torch.flatten(x, 2)`
is the same operator two microseconds sooner, and so is a chain of dictionaries. On networks of a few milliseconds with
some hundred operators that is a tenth of the time. Only the text changes: the graph keeps its ATen operators.
"""

from __future__ import annotations

import re
import types
from functools import cache

import torch

_QUICK = frozenset((  # operators of which Python's function takes ATen's arguments in ATen's order
    "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "add", "add_", "addcmul", "amax", "avg_pool1d", "avg_pool2d",
    "baddbmm", "bmm", "cat", "chunk", "clamp", "clamp_", "clamp_min", "clamp_min_", "conv1d", "conv2d", "conv3d",
    "cos", "div", "elu", "exp", "expand", "flatten", "gelu", "group_norm", "hardsigmoid", "hardsigmoid_", "hardswish",
    "hardswish_", "hardtanh", "hardtanh_", "instance_norm", "layer_norm", "leaky_relu", "leaky_relu_", "linear",
    "matmul", "max_pool2d", "mean", "mish", "mm", "mul", "mul_", "narrow", "pad", "permute", "pixel_shuffle",
    "pixel_unshuffle", "reciprocal", "relu", "relu6", "relu6_", "relu_", "reshape", "roll", "rsqrt",
    "scaled_dot_product_attention", "select", "sigmoid", "sigmoid_", "silu", "silu_", "sin", "softmax", "softplus",
    "split_with_sizes", "sqrt", "squeeze", "stack", "sub", "sum", "tanh", "transpose", "unbind", "unfold", "unsqueeze",
    "where",
))  # fmt: skip
_OPERATOR = re.compile(r"\btorch\.ops\.aten\.(\w+)\.\w+\(")
_SIZE = re.compile(r"\btorch\.ops\.aten\.sym_size\.int\((\w+), (\d+)\)")
_CHAIN = re.compile(r'(?:getattr\()*\bself(?:\.\w+|, "[^"]*"\))+')
_LINK = re.compile(r'\.(\w+)|, "([^"]*)"\)')


def quick(lines: list[str]) -> list[str]:
    """The lines of a generated body, respelled: a code transformer for `torch.fx.Graph.on_generate_code`.

    >>> quick(["y = torch.ops.aten.relu.default(x)", 'z = getattr(self.stages, "0").conv(y)'])
    ['y = torch.relu(x)', "z = self._modules['stages']._modules['0']._modules['conv'](y)"]
    """
    return [_CHAIN.sub(_modules, _OPERATOR.sub(_function, _SIZE.sub(r"\1.size(\2)", line))) for line in lines]


def _function(found: re.Match[str]) -> str:
    return f"{_python_name(found[1]) or found[0][:-1]}("


@cache
def _python_name(operator: str) -> str | None:
    """Where Python has an operator as a builtin function, or as a method of tensors."""
    if operator not in _QUICK:
        return None
    for place, name in ((torch, "torch"), (torch._C._nn, "torch._C._nn"), (torch.Tensor, "torch.Tensor")):
        if isinstance(getattr(place, operator, None), (types.BuiltinFunctionType, types.MethodDescriptorType)):
            return f"{name}.{operator}"
    return None


def _modules(found: re.Match[str]) -> str:
    """A chain of attributes that ends in a call is one of modules; another ends in a parameter or a buffer."""
    links = [a or b for a, b in _LINK.findall(found[0])]
    called = found.string[found.end() : found.end() + 1] == "("
    parents = links if called else links[:-1]
    last = "" if called else f".{links[-1]}" if links[-1].isidentifier() else None
    if last is None:
        return found[0]
    return "self" + "".join(f"._modules[{link!r}]" for link in parents) + last

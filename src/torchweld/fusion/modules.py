"""Stock `torch.nn` modules for maps and for operators that keep their own parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from torchweld.fusion.lift import arguments
from torchweld.maps import Geometry, Recipe, swap_channels

aten = torch.ops.aten
_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def of_map(
    g: Geometry,
    weight: Tensor,  # (O, I/g, *k)
    bias: Tensor | None,  # (O,)
    *,
    linear: bool,
    pad_apart: bool,
) -> nn.Module:
    """A convolution, transposed convolution or linear module with these numbers; `pad_apart` leaves the padding out."""
    options = {"dtype": weight.dtype, "device": "meta"}
    if linear:
        module: nn.Module = nn.Linear(g.in_channels, g.out_channels, bias is not None, **options)
        weight = weight.reshape(g.out_channels, g.in_channels)
    elif g.transposed:
        near = tuple(p[0] for p in g.padding)
        module = _TRANSPOSED[g.rank](
            g.in_channels,
            g.out_channels,
            g.kernel,
            g.stride,
            near,
            g.output_padding,
            g.groups,
            bias is not None,
            g.dilation,
            **options,
        )
        weight = swap_channels(weight, g.groups)
    else:
        padding = (0,) * g.rank if pad_apart else tuple(p[0] for p in g.padding)
        mode = "zeros" if pad_apart else g.padding_mode
        module = _CONV[g.rank](
            g.in_channels,
            g.out_channels,
            g.kernel,
            g.stride,
            padding,
            g.dilation,
            g.groups,
            bias is not None,
            mode,
            **options,
        )
        weight = weight.reshape(g.weight_shape)
    return _filled(module, {"weight": weight, "bias": bias})


@dataclass(frozen=True)
class Stock:
    """A module that stands for an operator: what it reads, its constant tensors by name, how to build it."""

    source: Node
    tensors: dict[str, Node]
    build: Callable[[dict[str, Tensor]], nn.Module]
    key: tuple[object, ...]


def stock(node: Node, constants: Mapping[Node, Recipe]) -> Stock | None:
    """The stock module for an operator with constant parameters; None where there is none."""
    make = _OPERATORS.get(node.target)
    if make is None:
        return None
    a: Any = arguments(node)
    tensors = {k: v for k, v in a.items() if isinstance(v, Node) and k != "input"}
    if "weight" not in tensors or any(v not in constants for v in tensors.values()) or a["input"] in constants:
        return None
    shapes = {k: v.meta["val"] for k, v in tensors.items()}
    if make(a, shapes) is None:
        return None

    def build(numbers: dict[str, Tensor]) -> nn.Module:
        module = make(a, numbers)
        assert module is not None
        return _filled(module, dict(numbers))

    options = tuple((k, str(v)) for k, v in sorted(a.items()) if not isinstance(v, Node))
    return Stock(a["input"], tensors, build, (node.target, options))


def _conv(a: Any, t: dict[str, Tensor]) -> nn.Module:
    out, per_group, *kernel = t["weight"].shape
    return _CONV[len(kernel)](
        per_group * a["groups"],
        out,
        kernel,
        _tuple(a["stride"], kernel),
        a["padding"] if isinstance(a["padding"], str) else _tuple(a["padding"], kernel),
        _tuple(a["dilation"], kernel),
        a["groups"],
        "bias" in t,
        **_options(t),
    )


def _transposed(a: Any, t: dict[str, Tensor]) -> nn.Module:
    channels, per_group, *kernel = t["weight"].shape
    return _TRANSPOSED[len(kernel)](
        channels,
        per_group * a["groups"],
        kernel,
        _tuple(a["stride"], kernel),
        _tuple(a["padding"], kernel),
        _tuple(a["output_padding"], kernel),
        a["groups"],
        "bias" in t,
        _tuple(a["dilation"], kernel),
        **_options(t),
    )


def _linear(a: Any, t: dict[str, Tensor]) -> nn.Module | None:
    if t["weight"].ndim != 2:
        return None
    out, channels = t["weight"].shape
    return nn.Linear(channels, out, "bias" in t, **_options(t))


def _batch_norm(a: Any, t: dict[str, Tensor]) -> nn.Module | None:
    if a["training"] or "bias" not in t or "running_mean" not in t:
        return None
    ndim = a["input"].meta["val"].ndim
    module = _BATCH_NORM[ndim](t["weight"].shape[0], a["eps"], a["momentum"], **_options(t))
    module.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))
    return module


def _layer_norm(a: Any, t: dict[str, Tensor]) -> nn.Module:
    return nn.LayerNorm(list(a["normalized_shape"]), a["eps"], bias="bias" in t, **_options(t))


def _group_norm(a: Any, t: dict[str, Tensor]) -> nn.Module | None:
    if "bias" not in t:
        return None
    return nn.GroupNorm(a["num_groups"], t["weight"].shape[0], a["eps"], **_options(t))


def _options(t: dict[str, Tensor]) -> dict[str, Any]:
    return {"dtype": t["weight"].dtype, "device": "meta"}


def _tuple(value: Any, kernel: list[int]) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * len(kernel) if len(values) == 1 else values


def _filled(module: nn.Module, tensors: dict[str, Tensor | None]) -> nn.Module:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if name in module._buffers:
            module._buffers[name] = tensor.detach()
        else:
            module.register_parameter(name, nn.Parameter(tensor.detach(), requires_grad=tensor.is_floating_point()))
    return module.eval()


_OPERATORS: dict[object, Callable[[Any, dict[str, Tensor]], nn.Module | None]] = {
    aten.conv1d.default: _conv,
    aten.conv1d.padding: _conv,
    aten.conv2d.default: _conv,
    aten.conv2d.padding: _conv,
    aten.conv3d.default: _conv,
    aten.conv3d.padding: _conv,
    aten.conv_transpose1d.default: _transposed,
    aten.conv_transpose2d.input: _transposed,
    aten.conv_transpose3d.input: _transposed,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten.layer_norm.default: _layer_norm,
    aten.group_norm.default: _group_norm,
}

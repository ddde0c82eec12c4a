"""Operators that are affine maps, one row an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from torchweld.fusion.lift.local import Apply, Concat, LocalLaw, Recipes, Same, ScaleShift, Sum, arguments
from torchweld.fusion.lift.operands import each, fixed, floats, ndim, operand_of, sizes, varies
from torchweld.fusion.lift.products import lift_addmm, lift_linear, lift_product
from torchweld.fusion.sizes import Shape, dtype_of, shape_of, static
from torchweld.maps import (
    PaddingMode,
    Recipe,
    average_pool,
    batch_norm,
    convolution,
    literal,
    pad,
    transposed_convolution,
)

aten = torch.ops.aten
Lift = Callable[[Node, Recipes], list[LocalLaw]]


def _lift_conv(rank: int) -> Lift:
    def lift(node: Node, constants: Recipes) -> list[LocalLaw]:
        a: Any = arguments(node)
        weight, bias = constants.get(a["weight"]), constants.get(a["bias"])
        if weight is None or (a["bias"] is not None and bias is None):
            return []
        out, per_group, *kernel = fixed(a["weight"])
        dilation = each(a["dilation"], rank)
        padding: Any = each(a["padding"], rank)
        if a["padding"] in ("same", "valid"):
            spans = [d * (k - 1) * (a["padding"] == "same") for d, k in zip(dilation, kernel, strict=True)]
            padding = [(s // 2, s - s // 2) for s in spans]
        map_ = convolution(
            weight,
            bias,
            in_channels=per_group * a["groups"],
            out_channels=out,
            kernel=kernel,
            stride=each(a["stride"], rank),
            padding=padding,
            dilation=dilation,
            groups=a["groups"],
        )
        return [Apply(a["input"], map_, ndim(a["input"]) - rank - 1, "convolution")]

    return lift


def _lift_transposed(rank: int) -> Lift:
    def lift(node: Node, constants: Recipes) -> list[LocalLaw]:
        a: Any = arguments(node)
        weight, bias = constants.get(a["weight"]), constants.get(a["bias"])
        if weight is None or (a["bias"] is not None and bias is None):
            return []
        channels, per_group, *kernel = fixed(a["weight"])
        map_ = transposed_convolution(
            weight,
            bias,
            in_channels=channels,
            out_channels=per_group * a["groups"],
            kernel=kernel,
            stride=each(a["stride"], rank),
            padding=each(a["padding"], rank),
            dilation=each(a["dilation"], rank),
            output_padding=each(a["output_padding"], rank),
            groups=a["groups"],
        )
        return [Apply(a["input"], map_, ndim(a["input"]) - rank - 1, "transposed convolution")]

    return lift


def _lift_batch_norm(node: Node, constants: Recipes) -> list[LocalLaw]:
    a: Any = arguments(node)
    given = [constants.get(a[k]) for k in ("weight", "bias", "running_mean", "running_var")]
    channels = (sizes(a["input"]) or (0, 0))[1]
    if a["training"] or given[2] is None or given[3] is None or not isinstance(channels, int):
        return []
    if any(a[k] is not None and r is None for k, r in zip(("weight", "bias"), given, strict=False)):
        return []
    map_ = batch_norm(given[0], given[1], given[2], given[3], a["eps"], channels)
    return [Apply(a["input"], map_, 1, "batch norm")]


def _lift_sum(sign: int) -> Lift:
    def lift(node: Node, constants: Recipes) -> list[LocalLaw]:
        a: Any = arguments(node)
        x, y, factor = a["self"], a["other"], sign * a["alpha"]
        if varies(x, constants) and varies(y, constants):
            alike = sizes(x) == sizes(y) and abs(factor) == 1 and floats(x, y)
            return [Sum(x, y, factor == -1)] if alike else []
        if varies(x, constants):
            return _unchanged(node, x, y, 0) or _with_constant(
                node, x, y, constants, lambda c: (None, _times(c, factor)), "shift"
            )
        return _with_constant(node, y, x, constants, lambda c: (literal(float(factor)), c), "shift")

    return lift


def _lift_reversed_difference(node: Node, constants: Recipes) -> list[LocalLaw]:
    a: Any = arguments(node)
    if a["alpha"] != 1:
        return []
    return _with_constant(node, a["self"], a["other"], constants, lambda c: (literal(-1.0), c), "shift")


def _lift_product(node: Node, constants: Recipes) -> list[LocalLaw]:
    a: Any = arguments(node)
    x, y = a["self"], a["other"]
    if not varies(x, constants):
        x, y = y, x
    return _unchanged(node, x, y, 1) or _with_constant(node, x, y, constants, lambda c: (c, None), "scale")


def _lift_quotient(node: Node, constants: Recipes) -> list[LocalLaw]:
    a: Any = arguments(node)
    if not varies(a["self"], constants) or a.get("rounding_mode") is not None:
        return []
    return _with_constant(node, a["self"], a["other"], constants, lambda c: (_reciprocal(c), None), "scale")


def _lift_negation(node: Node, constants: Recipes) -> list[LocalLaw]:
    return [ScaleShift(operand_of(node), literal(-1.0), None, None, "negate")]


def _lift_addcmul(node: Node, constants: Recipes) -> list[LocalLaw]:
    """`shift + value * x * factors`."""
    a: Any = arguments(node)
    x, y, shift = a["tensor1"], a["tensor2"], constants.get(a["self"])
    if not varies(x, constants):
        x, y = y, x
    factors = constants.get(y)
    if shift is None or factors is None or not varies(x, constants):
        return []
    axes = {_axis_of(sizes(c), sizes(x)) for c in (y, a["self"])}
    if len(axes) != 1 or (axis := axes.pop()) is None or sizes(x) != shape_of(node):
        return []
    return [ScaleShift(x, _times(factors, a["value"]), shift, axis, "scale")]


def _lift_average_pool(rank: int) -> Lift:
    def lift(node: Node, constants: Recipes) -> list[LocalLaw]:
        a: Any = arguments(node)
        x = a["self"]
        shape = sizes(x)
        axis = ndim(x) - rank - 1
        if shape is None or not isinstance(shape[axis], int):
            return []
        kernel = each(a["kernel_size"], rank)
        map_ = average_pool(
            shape[axis],
            kernel,
            each(a["stride"] or kernel, rank),
            each(a["padding"], rank),
            sizes=static(shape[axis + 1 :]),
            ceil_mode=a["ceil_mode"],
            count_include_pad=a["count_include_pad"],
            divisor=a.get("divisor_override"),
        )
        return [Apply(x, map_, axis, "average pooling")]

    return lift


def _lift_pad(node: Node, constants: Recipes) -> list[LocalLaw]:
    a: Any = arguments(node)
    x, flat, shape = a["self"], a["pad"], sizes(a["self"])
    value = a.get("value")
    modes: dict[str, PaddingMode] = {
        "constant": "zeros",
        "reflect": "reflect",
        "replicate": "replicate",
        "circular": "circular",
    }
    mode = modes.get(a.get("mode", "constant"))
    if shape is None or mode is None or value or len(shape) < 3 or not isinstance(shape[1], int):
        return []
    rank = len(shape) - 2
    if len(flat) > 2 * rank or any(not isinstance(p, int) or p < 0 for p in flat):
        return []
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    padding = tuple(reversed(pairs + [(0, 0)] * (rank - len(pairs))))
    return [Apply(x, pad(shape[1], padding, mode), 1, "padding")]


def _lift_concat(node: Node, constants: Recipes) -> list[LocalLaw]:
    a: Any = arguments(node)
    parts, shape = tuple(a["tensors"]), shape_of(node)
    if shape is None or any(p in constants for p in parts):
        return []
    axis = a["dim"] % len(shape)
    return [Concat(parts, axis)] if isinstance(shape[axis], int) else []


def _unchanged(node: Node, x: Node, number: Any, neutral: int) -> list[LocalLaw]:
    """`x + 0` (with which Python's `sum` begins) and `x * 1`."""
    same = isinstance(number, (int, float)) and number == neutral
    return [Same(x)] if same and floats(x) and dtype_of(x) == dtype_of(node) else []


def _with_constant(
    node: Node,
    x: Any,
    constant: Any,
    constants: Recipes,
    law: Callable[[Recipe], tuple[Recipe | None, Recipe | None]],
    name: str,
) -> list[LocalLaw]:
    """x with a constant per channel, or one number."""
    if not varies(x, constants) or sizes(x) != shape_of(node) or not floats(x):
        return []
    if isinstance(constant, (int, float)):
        return [ScaleShift(x, *law(literal(float(constant))), None, name)]
    if not isinstance(constant, Node) or constant not in constants:
        return []
    axis = _axis_of(sizes(constant), sizes(x))
    return [] if axis is None else [ScaleShift(x, *law(constants[constant]), axis if axis >= 0 else None, name)]


def _axis_of(constant: Shape | None, x: Shape | None) -> int | None:
    """The one axis of x on which the constant varies; -1 if it is one number; None if it varies on more."""
    if constant is None or x is None or len(constant) > len(x):
        return None
    long = [i + len(x) - len(constant) for i, d in enumerate(constant) if d != 1]
    return -1 if not long else long[0] if len(long) == 1 else None


def _times(recipe: Recipe, factor: float) -> Recipe:
    return recipe if factor == 1 else Recipe("scale", torch.mul, (recipe,), (float(factor),))


def _reciprocal(recipe: Recipe) -> Recipe:
    return Recipe("reciprocal", torch.reciprocal, (recipe,))


AFFINE: dict[object, Lift] = {
    aten.conv1d.default: _lift_conv(1),
    aten.conv1d.padding: _lift_conv(1),
    aten.conv2d.default: _lift_conv(2),
    aten.conv2d.padding: _lift_conv(2),
    aten.conv3d.default: _lift_conv(3),
    aten.conv3d.padding: _lift_conv(3),
    aten.conv_transpose1d.default: _lift_transposed(1),
    aten.conv_transpose2d.input: _lift_transposed(2),
    aten.conv_transpose3d.input: _lift_transposed(3),
    aten.linear.default: lift_linear,  # x W^T + b
    aten.matmul.default: lift_product,  # x W
    aten.mm.default: lift_product,
    aten.addmm.default: lift_addmm,  # b + x W
    aten.batch_norm.default: _lift_batch_norm,  # (x - mean) / sqrt(var + eps) * weight + bias
    aten.add.Tensor: _lift_sum(1),  # x + alpha y
    aten.sub.Tensor: _lift_sum(-1),  # x - alpha y
    aten.rsub.Scalar: _lift_reversed_difference,  # y - x
    aten.mul.Tensor: _lift_product,  # x * c
    aten.div.Tensor: _lift_quotient,  # x / c
    aten.neg.default: _lift_negation,  # -x
    aten.addcmul.default: _lift_addcmul,  # b + x * c
    aten.avg_pool1d.default: _lift_average_pool(1),
    aten.avg_pool2d.default: _lift_average_pool(2),
    aten.avg_pool3d.default: _lift_average_pool(3),
    aten.pad.default: _lift_pad,  # one tap of weight 1
    aten.constant_pad_nd.default: _lift_pad,
    aten.cat.default: _lift_concat,
}

"""Products with a constant matrix over the last axis: `x W^T + b`, `x W`, `b + x W`."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from torchweld.fusion.lift.local import Apply, LocalLaw, Recipes, arguments
from torchweld.fusion.lift.operands import fixed, ndim, sizes, varies
from torchweld.maps import Recipe, convolution


def lift_linear(node: Node, constants: Recipes) -> list[LocalLaw]:
    """`x W^T + b`."""
    a: Any = arguments(node)
    weight, bias = constants.get(a["weight"]), constants.get(a["bias"])
    if weight is None or (a["bias"] is not None and bias is None) or ndim(a["weight"]) != 2:
        return []
    out, channels = fixed(a["weight"])
    map_ = convolution(weight, bias, in_channels=channels, out_channels=out)
    return [Apply(a["input"], map_, ndim(a["input"]) - 1, "linear")]


def lift_product(node: Node, constants: Recipes) -> list[LocalLaw]:
    """`x W` with a constant matrix (I, O)."""
    a: Any = arguments(node)
    return _with_matrix(a["self"], a.get("other", a.get("mat2")), None, constants)


def lift_addmm(node: Node, constants: Recipes) -> list[LocalLaw]:
    """`b + x W` with a constant vector and a constant matrix."""
    a: Any = arguments(node)
    bias = constants.get(a["self"])
    if bias is None or a["beta"] != 1 or a["alpha"] != 1 or sizes(a["self"]) != (sizes(node) or ())[-1:]:
        return []
    return _with_matrix(a["mat1"], a["mat2"], bias, constants)


def _with_matrix(x: Any, matrix: Any, bias: Recipe | None, constants: Recipes) -> list[LocalLaw]:
    weight = constants.get(matrix) if isinstance(matrix, Node) else None
    if weight is None or not varies(x, constants) or ndim(matrix) != 2 or ndim(x) < 2:
        return []
    channels, out = fixed(matrix)
    map_ = convolution(Recipe("transpose", torch.t, (weight,)), bias, in_channels=channels, out_channels=out)
    return [Apply(x, map_, ndim(x) - 1, "linear")]

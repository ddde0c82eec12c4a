"""The algebra of affine maps: every conv, norm, pooling and linear layer is one value, combined by exact laws."""

from torchweld.maps.apply import apply
from torchweld.maps.borders import reads_padding
from torchweld.maps.conv_map import ConvMap
from torchweld.maps.factories import (
    average_pool,
    batch_norm,
    convolution,
    identity,
    pad,
    scale,
    selection,
    swap_channels,
    transposed_convolution,
)
from torchweld.maps.geometry import Geometry, PaddingMode, Sizes
from torchweld.maps.laws import add, columns, compose, composed_bias, concat, negate, select, total
from torchweld.maps.recipe import Recipe, State, literal, parameter

__all__ = [
    "ConvMap",
    "Geometry",
    "PaddingMode",
    "Recipe",
    "Sizes",
    "State",
    "add",
    "apply",
    "average_pool",
    "batch_norm",
    "columns",
    "compose",
    "composed_bias",
    "concat",
    "convolution",
    "identity",
    "literal",
    "negate",
    "pad",
    "parameter",
    "reads_padding",
    "scale",
    "select",
    "selection",
    "swap_channels",
    "total",
    "transposed_convolution",
]

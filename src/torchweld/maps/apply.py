"""A map run on a tensor: the meaning of `ConvMap`, by the field's own operators."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from torchweld.maps.conv_map import ConvMap
from torchweld.maps.factories import swap_channels
from torchweld.maps.recipe import State

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def apply(
    a: ConvMap,
    x: Tensor,  # (B, I, *sizes)
    state: State,
) -> Tensor:  # (B, O, *output sizes)
    """`a(x)` in float64, zero or otherwise padded as its geometry says.

    >>> from torchweld.maps import identity
    >>> apply(identity(2), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), {})
    tensor([[[1., 2.], [3., 4.]]], dtype=torch.float64)
    """
    weight, bias, x = a.weight_in(state), a.bias_in(state), x.double()
    g = a.geometry.lifted(x.ndim - 2)
    weight = weight.reshape(g.weight_shape)
    if g.rank == 0:
        rows = torch.einsum("goi,bgi->bgo", weight.unflatten(0, (g.groups, -1)), x.unflatten(1, (g.groups, -1)))
        return rows.flatten(1) + (0 if bias is None else bias)
    if g.transposed:
        near = [p[0] for p in g.padding]
        stored = swap_channels(weight, g.groups)
        return _TRANSPOSED[g.rank](x, stored, bias, g.stride, near, g.output_padding, g.groups, g.dilation)
    if g.padded:
        mode = "constant" if g.padding_mode == "zeros" else g.padding_mode
        x = F.pad(x, [p for pair in reversed(g.padding) for p in pair], mode)
    return _CONV[g.rank](x, weight, bias, g.stride, 0, g.dilation, g.groups)

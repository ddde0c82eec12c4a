"""The one value of the algebra: an affine map as a grouped convolution with a bias."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from torchweld.maps.geometry import Geometry
from torchweld.maps.recipe import Recipe, State


@dataclass(frozen=True)
class ConvMap:
    """`y = weight * x + bias`: a geometry, and recipes for weight (O, I/g, *k) and bias (O,); no recipe, no bias.

    Correlation, as everywhere in the field: `y[o, t] = sum_i,a weight[o, i, a] x[i, s t + d a - p] + bias[o]`.
    """

    geometry: Geometry
    weight: Recipe
    bias: Recipe | None = None

    def weight_in(self, state: State) -> Tensor:
        """The weight in float64, with parameters from `state`."""
        return self.weight.evaluate(state)

    def bias_in(self, state: State) -> Tensor | None:
        """The bias in float64, or None."""
        return None if self.bias is None else self.bias.evaluate(state)

    @property
    def is_identity(self) -> bool:
        """Changes nothing, and is known to without looking at numbers."""
        return self.geometry.pointwise and self.weight.law == "identity" and self.bias is None

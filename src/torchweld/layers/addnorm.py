"""Add & Norm, the connection around every sublayer of a Transformer.

    post  norm(x + dropout(sublayer(x)))     Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.1
    pre   x + dropout(sublayer(norm(x)))     Xiong et al. 2020, https://arxiv.org/abs/2002.04745

Shapes: B batch, T positions, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.layers.dropout import Dropout
from torchweld.layers.normalisation import LayerNorm


class AddNorm(nn.Module):
    """A residual connection with dropout and layer norm around a sublayer that is given at each call.

    Raises `InputError` for another order, and if the sublayer changes the shape.

    >>> import torch
    >>> AddNorm(8, rate=0.1)(torch.randn(2, 5, 8), nn.Linear(8, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, features: int, rate: float = 0.0, order: Literal["post", "pre"] = "post") -> None:
        super().__init__()
        if order not in ("post", "pre"):
            raise InputError(f"order={order!r} is neither 'post' nor 'pre'")
        self.order = order
        self.norm = LayerNorm(features)
        self.dropout = Dropout(rate)

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        sublayer: Callable[[Tensor], Tensor],
    ) -> Tensor:  # (B, T, D)
        if self.order == "pre":
            return x + self.dropout(self._kept(x, sublayer(self.norm(x))))
        return self.norm(x + self.dropout(self._kept(x, sublayer(x))))

    @staticmethod
    def _kept(x: Tensor, y: Tensor) -> Tensor:
        if x.shape != y.shape:
            raise InputError(f"the sublayer made {tuple(y.shape)} of {tuple(x.shape)}; the sum needs the same shape")
        return y

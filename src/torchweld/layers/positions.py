"""Sinusoidal position encoding.

    PE(t, 2i) = sin(t / 10000^(2i/D)),  PE(t, 2i+1) = cos(t / 10000^(2i/D))

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5. Shapes: B batch, T positions, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchweld.core import InputError


def sinusoids(
    length: int,
    features: int,
) -> Tensor:  # (T, D)
    """The table for positions 0 to `length - 1`; an odd D ends in a sine without its cosine.

    >>> sinusoids(2, 3)
    tensor([[0.0000, 1.0000, 0.0000],
            [0.8415, 0.5403, 0.0022]])
    """
    if length < 1 or features < 1:
        raise InputError(f"length={length} and features={features} must be positive")
    t = torch.arange(length, dtype=torch.float64)[:, None]
    angles = t * 10000.0 ** (-torch.arange(0, features, 2, dtype=torch.float64) / features)
    pairs = torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
    return pairs[:, :features].float()


class SinusoidalPositions(nn.Module):
    """Adds the encoding to a sequence, then dropout. The table is a buffer: it moves with the module, is not saved.

    `start` is the position of the first element, for decoding step by step. Raises `InputError` for a sequence that
    ends behind `longest`, or of another width.

    >>> SinusoidalPositions(5)(torch.zeros(1, 2, 5))[0, 0]
    tensor([0., 1., 0., 1., 0.])
    """

    table: Tensor

    def __init__(self, features: int, longest: int = 1024, rate: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(longest, features), persistent=False)
        self.dropout = nn.Dropout(rate)

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        start: int = 0,
    ) -> Tensor:  # (B, T, D)
        longest, features = self.table.shape
        end = start + x.shape[1]
        if x.shape[2] != features:
            raise InputError(f"the sequence has {x.shape[2]} features, the encoding {features}")
        if end > longest:
            raise InputError(f"the sequence ends at position {end}, the table at {longest}; make it with longest={end}")
        return self.dropout(x + self.table[start:end].to(x.dtype))

"""The RNN's mixer: gated recurrent units, one direction where it is causal and both where it is not.

Source: Cho et al. 2014, https://arxiv.org/abs/1406.1078; torch's `nn.GRU` has the equations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchweld.core import InputError
from torchweld.models.sequence.mixing import Mixer, State


class RecurrentMixer(Mixer):
    """GRU. Its state is the hidden one, of as many numbers as a position has features.

    In both directions each has half the features. The way back starts at a sample's own last position, so that padding
    is in front of nobody; this needs no packing, which `torch.export` cannot follow. Raises `InputError` for an odd
    number of features where it is not causal.

    >>> y, state = RecurrentMixer(8, causal=True)(torch.randn(2, 5, 8))
    >>> y.shape, state[0].shape
    (torch.Size([2, 5, 8]), torch.Size([2, 1, 8]))
    """

    def __init__(self, features: int, causal: bool) -> None:
        super().__init__(features, causal)
        if not causal and features % 2:
            raise InputError(f"features={features} must be even: half of them are read in each direction")
        width = features if causal else features // 2
        self.ahead = nn.GRU(features, width, batch_first=True)
        self.back = None if causal else nn.GRU(features, width, batch_first=True)

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        lengths: Tensor | None = None,  # (B,)
        past: State = (),
    ) -> tuple[Tensor, State]:  # (B, T, D)
        hidden = past[0].transpose(0, 1).contiguous() if past else None
        y, hidden = self.ahead(x, hidden)
        if self.back is None:
            return y, (hidden.transpose(0, 1),)
        turned = _turned(x, lengths)
        return torch.cat((y, _turned(self.back(turned)[0], lengths)), -1), ()


def _turned(
    x: Tensor,  # (B, T, D)
    lengths: Tensor | None,  # (B,)
) -> Tensor:  # (B, T, D)
    """Each sample's own part in reverse order, its padding still behind it. Twice gives x again."""
    if lengths is None:
        return x.flip(1)
    length = x.shape[1]
    places = (lengths[:, None] - 1 - torch.arange(length, device=x.device)).remainder(length)
    return x.gather(1, places[..., None].expand_as(x))

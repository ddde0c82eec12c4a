"""The CNN's mixer: a convolution along the sequence, gated.

    y = a * sigmoid(b),  (a, b) = conv_k(x)

Source: Gehring et al. 2017, Convolutional Sequence to Sequence Learning, https://arxiv.org/abs/1705.03122.
L layers see (k - 1) L positions back, and as many ahead where they are not causal, half on each side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError
from torchweld.models.sequence.mixing import Mixer, State


class ConvolutionMixer(Mixer):
    """A gated convolution of `kernel` taps. Its state is the last `kernel - 1` positions.

    Positions behind a sample's length are zeros to it, as those behind the end of the sequence are. Raises
    `InputError` for an even kernel or one below 1.

    >>> y, state = ConvolutionMixer(8, causal=True, kernel=3)(torch.randn(2, 5, 8))
    >>> y.shape, state[0].shape
    (torch.Size([2, 5, 8]), torch.Size([2, 2, 8]))
    """

    def __init__(self, features: int, causal: bool, kernel: int = 5) -> None:
        super().__init__(features, causal)
        if kernel < 1 or kernel % 2 == 0:
            raise InputError(f"kernel={kernel} must be odd, to have as many taps on either side of a position")
        self.kernel = kernel
        self.conv = nn.Conv1d(features, 2 * features, kernel)

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        lengths: Tensor | None = None,  # (B,)
        past: State = (),
    ) -> tuple[Tensor, State]:  # (B, T, D)
        reach = self.kernel - 1
        if self.causal:
            before = past[0] if past else x.new_zeros(x.shape[0], reach, self.features)
            x = torch.cat((before, x), 1)
            state: State = (x[:, x.shape[1] - reach :],)
        else:
            if lengths is not None:
                there = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
                x = x * there[..., None].to(x.dtype)
            x, state = F.pad(x, (0, 0, reach // 2, reach // 2)), ()
        return F.glu(self.conv(x.transpose(1, 2)), 1).transpose(1, 2), state

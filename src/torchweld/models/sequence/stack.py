"""Layers around a mixer, and stacks of them: the encoder, and the decoder that also looks at the encoder's memory.

    x = x + mix(norm(x));  x = x + look(norm(x), memory)  (decoder);  x = x + dense(norm(x))

Pre-norm, Xiong et al. 2020, https://arxiv.org/abs/2002.04745.
"""

from __future__ import annotations

from torch import Tensor, nn

from torchweld.layers import AddNorm, Dropout, LayerNorm, MultiHeadAttention
from torchweld.models.sequence.attention import projected, recalled
from torchweld.models.sequence.mixing import Mixer, State


class Layer(nn.Module):
    """A mixer, attention to a memory if it `looks`, and a dense part, each with Add & Norm.

    >>> import torch
    >>> from torchweld.models.sequence.convolution import ConvolutionMixer
    >>> Layer(ConvolutionMixer(8, causal=False), looks=False)(torch.randn(2, 5, 8))[0].shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, mixer: Mixer, looks: bool, heads: int = 4, rate: float = 0.0) -> None:
        super().__init__()
        features = mixer.features
        self.mixer = mixer
        self.mixing = AddNorm(features, rate, "pre")
        self.look = MultiHeadAttention(features, heads, rate) if looks else None
        self.looking = AddNorm(features, rate, "pre") if looks else None
        wide = 2 * features
        self.dense = nn.Sequential(nn.Linear(features, wide), nn.ReLU(), Dropout(rate), nn.Linear(wide, features))
        self.densing = AddNorm(features, rate, "pre")

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        lengths: Tensor | None = None,  # (B,) of x
        past: State = (),
        known: State = (),  # keys and values of the memory
        mask: Tensor | None = None,  # (B, 1, 1, S), which of them each sample has
    ) -> tuple[Tensor, State]:  # (B, T, D)
        state: State = ()

        def mixed(z: Tensor) -> Tensor:
            nonlocal state
            z, state = self.mixer(z, lengths, past)
            return z

        x = self.mixing(x, mixed)
        if self.look is not None and self.looking is not None:
            look = self.look
            x = self.looking(x, lambda z: recalled(look, z, known, mask))
        return self.densing(x, self.dense), state


class Encoder(nn.Module):
    """Layers that see the whole source, and a last norm.

    `forward(x, lengths)` hides each sample's positions from its length on.
    """

    def __init__(self, mixers: list[Mixer], rate: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(mixer, looks=False, rate=rate) for mixer in mixers)
        self.norm = LayerNorm(mixers[0].features)

    def forward(
        self,
        x: Tensor,  # (B, S, D)
        lengths: Tensor | None = None,  # (B,)
    ) -> Tensor:  # (B, S, D)
        for layer in self.layers:
            x = layer(x, lengths)[0]
        return self.norm(x)


class Decoder(nn.Module):
    """Causal layers that look at a memory, and a last norm."""

    def __init__(self, mixers: list[Mixer], heads: int, rate: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(mixer, looks=True, heads=heads, rate=rate) for mixer in mixers)
        self.norm = LayerNorm(mixers[0].features)

    def known(
        self,
        memory: Tensor,  # (B, S, D)
    ) -> tuple[State, ...]:
        """Each layer's keys and values of a memory."""
        return tuple(projected(layer.look, memory) for layer in self.layers)  # type: ignore[arg-type]

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        known: tuple[State, ...],
        mask: Tensor | None = None,  # (B, 1, 1, S)
        past: tuple[State, ...] = (),
    ) -> tuple[Tensor, tuple[State, ...]]:  # (B, T, D)
        states = []
        for i, layer in enumerate(self.layers):
            x, state = layer(x, None, past[i] if past else (), known[i], mask)
            states.append(state)
        return self.norm(x), tuple(states)

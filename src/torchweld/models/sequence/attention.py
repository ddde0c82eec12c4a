"""The Transformer's mixer: self-attention. And attention to what is known already, which every core's decoder has.

Keys and values are projected once and kept, so that a step of decoding projects one position and not all before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchweld.layers import MultiHeadAttention, attend
from torchweld.models.sequence.mixing import Mixer, State


def projected(
    attention: MultiHeadAttention,
    x: Tensor,  # (B, K, D)
) -> State:  # keys and values, each (B, h, K, d)
    """The keys and values that an attention layer makes of a sequence."""
    k, v = attention.key(x), attention.value(x)
    return tuple(z.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for z in (k, v))


def recalled(
    attention: MultiHeadAttention,
    x: Tensor,  # (B, T, D)
    known: State,  # keys and values, each (B, h, K, d)
    mask: Tensor | None = None,  # broadcasts to (B, h, T, K), True where a query may look
) -> Tensor:  # (B, T, D)
    """What the layer makes of queries over keys and values that `projected` made; zeros where nothing may be seen."""
    q = attention.query(x).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
    rate = attention.rate if attention.training else 0.0
    y = attention.out(attend(q, known[0], known[1], mask, rate)[0].transpose(1, 2).flatten(2))
    return y if mask is None else y.masked_fill(~mask.any(-1).any(1).unsqueeze(-1), 0)


def within(
    lengths: Tensor,  # (B,)
    size: int,
) -> Tensor:  # (B, 1, 1, K)
    """Which of `size` keys each sample has.

    >>> within(torch.tensor([1, 3]), 3)[:, 0, 0]
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    return (torch.arange(size, device=lengths.device) < lengths[:, None])[:, None, None]


class AttentionMixer(Mixer):
    """Self-attention in `heads` heads. Its state are the keys and values of all positions so far.

    >>> y, state = AttentionMixer(8, causal=True, heads=2)(torch.randn(2, 5, 8))
    >>> y.shape, state[0].shape
    (torch.Size([2, 5, 8]), torch.Size([2, 2, 5, 4]))
    """

    def __init__(self, features: int, causal: bool, heads: int = 4, rate: float = 0.0) -> None:
        super().__init__(features, causal)
        self.attention = MultiHeadAttention(features, heads, rate)

    def forward(
        self,
        x: Tensor,  # (B, T, D)
        lengths: Tensor | None = None,  # (B,)
        past: State = (),
    ) -> tuple[Tensor, State]:  # (B, T, D)
        if not self.causal:
            return self.attention(x, lengths=lengths), ()
        known = projected(self.attention, x)
        if past:
            known = tuple(torch.cat(pair, 2) for pair in zip(past, known, strict=True))
        queries, keys = x.shape[1], known[0].shape[2]
        rows = torch.arange(queries, device=x.device)[:, None] + (keys - queries)
        return recalled(self.attention, x, known, (torch.arange(keys, device=x.device) <= rows)[None, None]), known

"""Multi-head attention, by torch's fused kernel or written out so that the weights can be seen.

    softmax(Q K^T / sqrt(d) + mask) V

Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.

Masks say what may be seen: a boolean mask is True where a query may attend (`scaled_dot_product_attention`'s meaning,
the opposite of `torch.nn.MultiheadAttention`'s); a mask of numbers is added to the scores, `-inf` forbids. A query that
may see nothing gets zeros, as weights and as result, and finite gradients.

Shapes: B batch, h heads, Q queries, K keys, D features of the model, d = D / h of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchweld.core import InputError


def attend(
    q: Tensor,  # (B, h, Q, d)
    k: Tensor,  # (B, h, K, d)
    v: Tensor,  # (B, h, K, d)
    mask: Tensor | None = None,  # broadcasts to (B, h, Q, K)
    rate: float = 0.0,
    weigh: bool = False,
) -> tuple[Tensor, Tensor | None]:  # (B, h, Q, d), (B, h, Q, K)
    """`softmax(Q K^T / sqrt(d) + mask) V` and, with `weigh`, the weights. `rate`: dropout of the weights.

    >>> q, k, v = torch.randn(3, 1, 2, 4, 8).unbind()
    >>> seen, weights = attend(q, k, v, torch.zeros(4, 4, dtype=torch.bool), weigh=True)
    >>> seen.abs().sum(), weights.sum()
    (tensor(0.), tensor(0.))
    """
    dead = None
    if mask is not None:
        seen = mask if mask.dtype == torch.bool else mask > -math.inf
        dead = ~seen.any(-1, keepdim=True)  # (..., Q, 1): softmax would divide zero by zero in these rows
        mask = mask | dead if mask.dtype == torch.bool else mask.masked_fill(dead, 0).to(q.dtype)
    if not weigh:
        y = F.scaled_dot_product_attention(q, k, v, mask, rate)
        return y if dead is None else y.masked_fill(dead, 0), None
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1)
    if dead is not None:
        weights = weights.masked_fill(dead, 0)
    return F.dropout(weights, rate, rate > 0) @ v, weights


class MultiHeadAttention(nn.Module):
    """Attention in `heads` subspaces of `features / heads` dimensions each; self or cross, any lengths.

    Each projection goes from D to D features (not to as many as there are heads). `forward(query, key, value)` needs
    `key` and `value` of the same length, which may differ from the query's; left out, they are the query.

    `mask` is (Q, K), (B, Q, K) or (B, h, Q, K), see the top of this file. `lengths` (B,) hides the keys from a sample's
    own length on. `causal` lets query i see keys up to i + K - Q: the last query sees all, also when the queries are
    the last few of a cached sequence. Dropout of the weights in training. Raises `InputError` for heads that do not
    divide the features and for shapes that do not fit.

    >>> attention = MultiHeadAttention(16, heads=4)
    >>> y, weights = attention.weighted(torch.randn(2, 3, 16), torch.randn(2, 5, 16))
    >>> y.shape, weights.shape
    (torch.Size([2, 3, 16]), torch.Size([2, 4, 3, 5]))
    """

    def __init__(self, features: int, heads: int = 1, rate: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        if heads < 1 or features < 1 or features % heads:
            raise InputError(f"heads={heads} must divide features={features}")
        self.heads, self.rate = heads, rate
        self.query, self.key, self.value, self.out = (nn.Linear(features, features, bias) for _ in range(4))

    @classmethod
    def of(cls, other: nn.MultiheadAttention) -> MultiHeadAttention:
        """The same attention with the weights of torch's, whose batch comes first or is taken so."""
        if other.in_proj_weight is None or other.bias_k is not None or other.add_zero_attn:
            raise InputError("only a MultiheadAttention of one width, without bias_kv and add_zero_attn, is taken over")
        made = cls(other.embed_dim, other.num_heads, other.dropout, other.in_proj_bias is not None)
        made = made.to(other.in_proj_weight)
        with torch.no_grad():
            for part, weight in zip((made.query, made.key, made.value), other.in_proj_weight.chunk(3), strict=True):
                part.weight.copy_(weight)
            if other.in_proj_bias is not None:
                for part, bias in zip((made.query, made.key, made.value), other.in_proj_bias.chunk(3), strict=True):
                    part.bias.copy_(bias)
        made.out.load_state_dict(other.out_proj.state_dict())
        return made.train(other.training)

    def forward(
        self,
        query: Tensor,  # (B, Q, D)
        key: Tensor | None = None,  # (B, K, D)
        value: Tensor | None = None,  # (B, K, D)
        mask: Tensor | None = None,
        lengths: Tensor | None = None,  # (B,)
        causal: bool = False,
    ) -> Tensor:  # (B, Q, D)
        return self._attended(query, key, value, mask, lengths, causal, weigh=False)[0]

    def weighted(
        self,
        query: Tensor,  # (B, Q, D)
        key: Tensor | None = None,  # (B, K, D)
        value: Tensor | None = None,  # (B, K, D)
        mask: Tensor | None = None,
        lengths: Tensor | None = None,  # (B,)
        causal: bool = False,
    ) -> tuple[Tensor, Tensor]:  # (B, Q, D), (B, h, Q, K)
        """The same, and the weights of each head before their dropout."""
        y, weights = self._attended(query, key, value, mask, lengths, causal, weigh=True)
        assert weights is not None
        return y, weights

    def _attended(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Tensor | None,
        lengths: Tensor | None,
        causal: bool,
        weigh: bool,
    ) -> tuple[Tensor, Tensor | None]:
        key = query if key is None else key
        value = key if value is None else value
        if key.shape[1] != value.shape[1]:
            raise InputError(f"{key.shape[1]} keys came with {value.shape[1]} values; there must be a value for each")
        allowed = _allowed(query, key, mask, lengths, causal)
        q, k, v = self.query(query), self.key(key), self.value(value)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        rate = self.rate if self.training else 0.0
        y, weights = attend(q, k, v, allowed, rate, weigh)
        y = self.out(y.transpose(1, 2).flatten(2))
        if allowed is not None:  # the bias of `out` must not speak for a query that saw nothing
            seen = allowed if allowed.dtype == torch.bool else allowed > -math.inf
            y = y.masked_fill(~seen.any(-1).any(1).unsqueeze(-1), 0)
        return y, weights


def _allowed(q: Tensor, k: Tensor, mask: Tensor | None, lengths: Tensor | None, causal: bool) -> Tensor | None:
    """All conditions as one mask of four dimensions, (B or 1, h or 1, Q, K)."""
    queries, keys = q.shape[1], k.shape[1]
    if mask is not None:
        if mask.ndim not in (2, 3, 4) or mask.shape[-1] != keys or mask.shape[-2] not in (1, queries):
            raise InputError(f"the mask is {tuple(mask.shape)}; for {queries} queries and {keys} keys give one of "
                             f"(Q, K), (B, Q, K) or (B, heads, Q, K)")  # fmt: skip
        mask = mask.unsqueeze(1) if mask.ndim == 3 else mask[(None,) * (4 - mask.ndim)]
    extra = None
    if lengths is not None:
        extra = (torch.arange(keys, device=q.device) < lengths[:, None])[:, None, None]
    if causal:
        rows = torch.arange(queries, device=q.device)[:, None] + (keys - queries)
        order = (torch.arange(keys, device=q.device) <= rows)[None, None]
        extra = order if extra is None else extra & order
    if extra is None or mask is None:
        return mask if extra is None else extra
    return mask & extra if mask.dtype == torch.bool else mask.masked_fill(~extra, -math.inf)

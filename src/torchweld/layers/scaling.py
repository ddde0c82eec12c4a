"""Why attention divides its scores by `sqrt(d)`, measured; and a picture of attention weights.

The dot product of two vectors of d independent entries of mean 0 and variance 1 has variance d. Without the division
the softmax of such scores picks one key, and its gradient vanishes as d grows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError


@dataclass(frozen=True)
class Saturation:
    """Attention of random queries to random keys of width `features`.

    `score_std`: spread of the scores; `largest_weight`: mean of each query's largest weight; `gradient`: mean over
    queries of the Frobenius norm of the softmax's Jacobian, 0 when saturated.
    """

    features: int
    scaled: bool
    score_std: float
    largest_weight: float
    gradient: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def saturation(
    widths: Sequence[int] = (4, 16, 64, 256, 1024),
    scaled: bool = True,
    keys: int = 32,
    queries: int = 256,
    seed: int = 0,
) -> tuple[Saturation, ...]:
    """The softmax's state for each width, with or without the division. Raises `InputError` for sizes below 1.

    >>> [f"{s.gradient:.3f}" for s in saturation((4, 256), scaled=True)]
    ['0.232', '0.241']
    >>> [f"{s.gradient:.3f}" for s in saturation((4, 256), scaled=False)]
    ['0.288', '0.116']
    """
    if min(keys, queries, *widths) < 1:
        raise InputError("widths, keys and queries must be positive")
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for d in widths:
        q = torch.randn(queries, d, generator=generator, dtype=torch.float64)
        k = torch.randn(keys, d, generator=generator, dtype=torch.float64)
        scores = q @ k.T / (math.sqrt(d) if scaled else 1.0)
        w = scores.softmax(-1)
        jacobian = torch.diag_embed(w) - w[:, :, None] * w[:, None, :]
        norm = jacobian.flatten(1).norm(dim=1).mean()
        rows.append(Saturation(d, scaled, scores.std().item(), w.max(-1).values.mean().item(), norm.item()))
    return tuple(rows)


def draw_weights(
    weights: Tensor,  # (h, Q, K)
    file: str,
    queries: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> None:
    """A heat map for each head, queries downwards, keys to the right, in a PNG, SVG or PDF file."""
    from matplotlib.figure import Figure

    if weights.ndim != 3:
        raise InputError(f"weights are {tuple(weights.shape)}; give those of one sample, (heads, queries, keys)")
    heads = len(weights)
    figure = Figure(figsize=(3 * heads + 1, 3), layout="constrained")
    axes = figure.subplots(1, heads, squeeze=False)[0]
    for i, (axis, w) in enumerate(zip(axes, weights.detach().cpu(), strict=True)):
        drawn = axis.imshow(w.numpy(), vmin=0, vmax=1, cmap="Blues", aspect="auto")
        axis.set(title=f"head {i + 1}", xlabel="key", ylabel="query")
        for names, ticks in ((keys, axis.set_xticks), (queries, axis.set_yticks)):
            if names:
                ticks(range(len(names)), names)
    figure.colorbar(drawn, ax=list(axes))
    figure.savefig(file)

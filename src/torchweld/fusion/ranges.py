"""How well merged kernels can be held in eight bits, beside the kernels that they were made of.

Rounding to int8 with one scale for a whole kernel moves each weight by about `max|w| / 127 / sqrt(12)`. Against the
size of a channel's weights that is an error of

    tensor = max over all |w| / (440 rms of the median channel)      one scale a kernel
    channel = median over channels of max|w_c| / (440 rms of w_c)    one scale a channel

Merging can raise both: a norm stretches the channels unequally, and an identity puts one large tap among small ones
(int8 collapse after conversion, RepVGG issues 79 and 85).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torchweld.fusion.report import WeightRange
from torchweld.maps import Recipe, State

RISKY = 0.02  # of the weights' size; a kernel of normal numbers has about 0.01
WORSE = 1.5  # times the worst of the kernels that went in
_STEPS = 127 * 12**0.5


def weight_ranges(module: nn.Module, recipes: Mapping[str, Recipe], state: State) -> tuple[WeightRange, ...]:
    """A row for each merged kernel of two and more channels."""
    weights = dict(module.named_parameters())
    rows = []
    for key, recipe in recipes.items():
        weight = weights.get(key)
        if weight is None or weight.ndim < 2 or weight[0].numel() < 2 or recipe.law == "parameter":
            continue
        sources = [state[name] for name in recipe.parameters() if name in state]
        kernels = [w for w in sources if w.ndim >= 2 and w.is_floating_point() and w[0].numel() > 1]
        if kernels:
            before = [int8_errors(w) for w in kernels]
            tensor, channel = int8_errors(weight)
            worst = max(b[0] for b in before), max(b[1] for b in before)
            risk = _risk(tensor, worst[0], channel, worst[1])
            rows.append(WeightRange(key.rpartition(".")[0], worst[0], tensor, worst[1], channel, risk))
    return tuple(rows)


def int8_errors(
    weight: Tensor,  # (O, ...)
) -> tuple[float, float]:
    """Relative rounding errors of a kernel in int8: with one scale for all, and with one a channel."""
    rows = weight.detach().double().flatten(1)
    largest, size = rows.abs().amax(1), rows.square().mean(1).sqrt()
    alive = size > 0
    if not bool(alive.any()):
        return 0.0, 0.0
    largest, size = largest[alive], size[alive]
    tensor = largest.max() / torch.median(size) / _STEPS
    return float(tensor), float(torch.median(largest / size) / _STEPS)


def _risk(tensor: float, tensor_before: float, channel: float, channel_before: float) -> str:
    if channel > RISKY and channel > WORSE * channel_before:
        return "keep it in 16 bits, or train it welded"
    if tensor > RISKY and tensor > WORSE * tensor_before:
        return "quantise it with a scale a channel"
    return ""

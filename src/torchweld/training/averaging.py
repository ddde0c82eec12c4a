"""The running mean of the weights (EMA), by torch's `AveragedModel`; young means forget faster: none starts cold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, memory: float) -> AveragedModel:
    """A copy whose weights and statistics follow the model's: `mean <- m * mean + (1 - m) * weight`.

    m is `memory`, but (1 + n) / (10 + n) at most after n updates, as in Tensorflow's `ExponentialMovingAverage`.

    >>> model = nn.Linear(1, 1)
    >>> mean = averaged(model, 0.99)
    >>> for _ in range(3):
    ...     mean.update_parameters(model)
    >>> bool(torch.equal(mean.module.weight, model.weight))
    True
    """

    def follow(means: Sequence[Tensor], values: Sequence[Tensor], updates: Tensor | int) -> None:
        n = float(updates)
        if means[0].is_floating_point():
            torch._foreach_lerp_(list(means), list(values), 1 - min(memory, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(list(means), list(values))

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True)

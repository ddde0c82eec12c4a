"""Learning rates as pure functions of the step, so that there is no state to lose."""

from __future__ import annotations

import math

from torchweld.training.config import Config


def learning_rate(config: Config, step: int, steps_per_epoch: int) -> float:
    """The rate at a step counted from 0: linear up to `config.learning_rate`, then half a cosine down to almost 0.

    Never 0, neither at the first step nor at the last.

    >>> [round(learning_rate(Config(epochs=4, learning_rate=0.1), step, 2), 3) for step in range(8)]
    [0.05, 0.1, 0.1, 0.093, 0.075, 0.05, 0.025, 0.007]
    """
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, config.epochs * steps_per_epoch - warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

"""The schedule that a config names, in epochs."""

from __future__ import annotations

from torchweld.core import InputError
from torchweld.training.config import Config
from torchweld.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    Restarts,
    Schedule,
    Step,
    Triangular,
    Warmup,
)


def schedule(config: Config) -> Schedule:
    """The rate as a function of the epochs done, a fraction inside an epoch. Raises `InputError` for an unfit setting.

    >>> rate = schedule(Config(epochs=4, learning_rate=0.1, warmup_epochs=1))
    >>> [round(rate(t), 4) for t in (0, 0.5, 1, 2.5, 4)]
    [0.001, 0.0505, 0.1, 0.0501, 0.0001]
    """
    warmup = min(config.warmup_epochs, config.epochs / 2)
    base, length = config.learning_rate, config.epochs - warmup
    final = base * config.final_rate_factor
    after: Schedule
    match config.schedule:
        case "constant":
            after = Constant(base)
        case "cosine":
            after = Cosine(base, final, length)
        case "linear":
            after = Linear(base, final, length)
        case "exponential":
            after = Exponential(base, config.factor)
        case "step":
            after = Step(base, config.factor, config.every_epochs)
        case "multi_step":
            after = MultiStep(base, config.factor, config.milestones)
        case "restarts":
            after = Restarts(base, final, config.every_epochs)
        case "triangular":
            after = Triangular(final, base, config.every_epochs)
        case name:
            raise InputError(f"schedule={name!r} is unknown")
    return Warmup(warmup, base * config.warmup_begin_factor, after) if warmup else after

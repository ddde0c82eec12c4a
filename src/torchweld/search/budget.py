"""What a search may spend, counted over all processes from what the storage holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from torchweld.core import InputError
from torchweld.search.individuals import counted, epochs_of


@dataclass(frozen=True)
class Budget:
    """The first of these that is reached ends the search; None is no limit. `epochs` are those of all trials together.

    A trial begins only if its epochs still fit. What a dead worker's or interrupted trial had trained is not counted,
    since it is trained again. Raises `InputError` where there is no limit, or one that is not positive.

    >>> Budget(epochs=100)
    Budget(epochs=100, trials=None, minutes=None)
    """

    epochs: int | None = None
    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        limits = {"epochs": self.epochs, "trials": self.trials, "minutes": self.minutes}
        if all(limit is None for limit in limits.values()):
            raise InputError("a search needs a budget: epochs of all trials together, trials, or minutes")
        for name, limit in limits.items():
            if limit is not None and not (limit > 0 and math.isfinite(limit)):
                raise InputError(f"the budget of {limit} {name} must be positive")

    def allows(self, trials: Sequence[FrozenTrial], epochs: int, seconds: float) -> bool:
        """Whether one more trial of `epochs` may begin, `seconds` after this process began."""
        known = counted(trials)
        return (
            (self.epochs is None or reserved(known, epochs) + epochs <= self.epochs)
            and (self.trials is None or len(known) < self.trials)
            and (self.minutes is None or seconds < 60 * self.minutes)
        )

    def overrun(self, trials: Sequence[FrozenTrial], number: int, epochs: int) -> bool:
        """Whether trial `number`, just begun, is one too many, those begun before it counted only.

        Two processes that begin a trial at the same moment both see room for one. One that repeats another never is.
        """
        before = [trial for trial in counted(trials) if trial.number <= number]
        if any(trial.number == number and trial.system_attrs.get("retry_history") for trial in before):
            return False
        return (self.epochs is not None and reserved(before, epochs) > self.epochs) or (
            self.trials is not None and len(before) > self.trials
        )


def spent(trials: Sequence[FrozenTrial]) -> int:
    """Epochs trained by the trials that count."""
    return sum(epochs_of(trial) for trial in counted(trials))


def reserved(trials: Sequence[FrozenTrial], epochs: int) -> int:
    """Epochs spent, and those that unfinished trials may still take."""
    open_states = (TrialState.RUNNING, TrialState.WAITING)
    return sum(epochs if trial.state in open_states else epochs_of(trial) for trial in counted(trials))

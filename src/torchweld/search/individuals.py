"""Which trials of a study count, and which of them is better.

A trial whose worker died, or that was interrupted, is put in the queue again under a new number; the old one then
counts no more: neither as an individual, nor for a rung of the halving, nor for the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState

FAILURE = "failure"  # the user attribute that holds why a trial came to nothing
WITHDRAWN = "withdrawn"  # the user attribute of a trial that was never run, since the budget had no room for it
_RETRIED = "retry_history"  # Optuna's: the numbers of the trials that this one repeats


def counted(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """All but those that are being repeated, or have been, or were never run, by number."""
    trials = [trial for trial in trials if WITHDRAWN not in trial.user_attrs]
    repeated = {number for trial in trials for number in trial.system_attrs.get(_RETRIED, ())}
    return sorted((trial for trial in trials if trial.number not in repeated), key=lambda trial: trial.number)


def repeated(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Those that count no more, since they are repeated."""
    trials = [trial for trial in trials if WITHDRAWN not in trial.user_attrs]
    kept = {trial.number for trial in counted(trials)}
    return [trial for trial in trials if trial.number not in kept]


def individuals(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Those that are finished and count: completed, pruned, or failed for good, by number."""
    return [trial for trial in counted(trials) if trial.state.is_finished()]


def worst_first(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Failed ones, then pruned ones by how far they got, then completed ones; equals by value, then the older last."""
    return sorted(trials, key=_merit)


def _merit(trial: FrozenTrial) -> tuple[int, int, float, int]:
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return 2, 0, trial.value, -trial.number
    if trial.state == TrialState.PRUNED and trial.last_step is not None:
        return 1, trial.last_step, trial.intermediate_values[trial.last_step], -trial.number
    return 0, 0, 0.0, -trial.number


def place_of(trials: Iterable[FrozenTrial], number: int) -> int:
    """How many counted trials came before this one: equal in an interrupted study and one that was left alone."""
    return sum(trial.number < number for trial in counted(trials))


def epochs_of(trial: FrozenTrial) -> int:
    """Epochs that the trial has trained."""
    return len(trial.intermediate_values)

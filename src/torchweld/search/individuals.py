"""Which trials of a study count, and which of them is better.

A trial whose worker died, or that was interrupted, is put in the queue again under a new number; the old one then
counts no more: neither as an individual, nor for a rung of the halving, nor for the budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState
from sklearn.isotonic import IsotonicRegression

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
    """Failed ones, then the others by what they came to; of equals the older last.

    A pruned trial is taken to have come to what completed ones came to that stood where it was ended: a monotone
    function of what they had then, by isotonic regression. Were every completed one put before it, those that halving
    let through early, when it had nothing to compare them with, would lead the search for good.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    came_to = {t.number: t.value for t in complete}
    for step in {t.last_step for t in trials if t.state == TrialState.PRUNED and t.last_step is not None}:
        pruned = [t for t in trials if t.state == TrialState.PRUNED and t.last_step == step]
        came_to |= dict(zip((t.number for t in pruned), _expected(pruned, complete, step), strict=True))

    def merit(trial: FrozenTrial) -> tuple[bool, float, bool, float, int]:
        value = came_to.get(trial.number)
        last = trial.intermediate_values.get(trial.last_step or 0, -math.inf)
        return value is not None, value or 0.0, trial.state == TrialState.COMPLETE, last, -trial.number

    return sorted(trials, key=merit)


def _expected(pruned: Sequence[FrozenTrial], complete: Sequence[FrozenTrial], step: int) -> list[float]:
    """What the pruned trials, ended at `step`, would have come to; without a completed one the worst there is."""
    known = [(t.intermediate_values[step], t.value) for t in complete if step in t.intermediate_values]
    if not known:
        return [-math.inf] * len(pruned)
    then, finally_ = zip(*known, strict=True)
    fitted = IsotonicRegression(out_of_bounds="clip").fit(then, finally_)
    return [float(v) for v in fitted.predict([t.intermediate_values[step] for t in pruned])]


def place_of(trials: Iterable[FrozenTrial], number: int) -> int:
    """How many counted trials came before this one: equal in an interrupted study and one that was left alone."""
    return sum(trial.number < number for trial in counted(trials))


def epochs_of(trial: FrozenTrial) -> int:
    """Epochs that the trial has trained."""
    return len(trial.intermediate_values)

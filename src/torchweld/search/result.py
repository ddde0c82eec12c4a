"""What a search found, as plain frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from torchweld.core import CheckFailed
from torchweld.search.budget import Budget, spent
from torchweld.search.importance import importances
from torchweld.search.individuals import FAILURE, counted, epochs_of, repeated
from torchweld.search.space import Space, changed
from torchweld.training import Config


@dataclass(frozen=True)
class Tried:
    """One trial: `state` is complete, pruned, failed, running or waiting; the score is that of its best epoch."""

    number: int
    state: str
    epochs: int
    score: float | None
    loss: float | None
    values: dict[str, Any]
    failure: str | None = None
    repeats: int | None = None  # the trial whose worker died, or that was interrupted


@dataclass(frozen=True)
class Found:
    """A search as it stands. `config` is the winner's: `train` repeats its run. Scores are on what is held out.

    `epochs` counts the trials that count, `lost_epochs` those of dead workers and interrupts, which were trained again.
    """

    study: str
    storage: str
    sampler: str
    best: Tried
    config: Config
    trials: tuple[Tried, ...]
    epochs: int
    lost_epochs: int
    importance: dict[str, float] = field(default_factory=dict)
    stopped: str = "budget"

    def count(self, state: str) -> int:
        """How many trials are in that state."""
        return sum(trial.state == state for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain dictionaries, lists, numbers and strings."""
        return {**asdict(self), "config": self.config.to_dict(), "trials": [asdict(trial) for trial in self.trials]}


def found_in(study: Study, config: Config, space: Space, sampler: str, storage: str) -> Found:
    """The study read. Raises `CheckFailed` if no trial is complete."""
    trials = study.get_trials(deepcopy=False)
    kept = counted(trials)
    complete = [trial for trial in kept if trial.state == TrialState.COMPLETE]
    if not complete:
        reasons = [trial.user_attrs[FAILURE] for trial in kept if FAILURE in trial.user_attrs]
        raise CheckFailed(
            f"none of {len(kept)} trials came to its end" + (f"; the last failed: {reasons[-1]}" if reasons else "")
        )
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    return Found(
        study.study_name,
        storage,
        sampler,
        _tried(best),
        changed(config, {name: best.params[name] for name in space.names}),
        tuple(_tried(trial) for trial in kept),
        spent(trials),
        sum(epochs_of(trial) for trial in repeated(trials)),
        importances(study, space),
    )


def _tried(trial: FrozenTrial) -> Tried:
    history: Sequence[int] = trial.system_attrs.get("retry_history", ())
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    return Tried(
        trial.number,
        state,
        epochs_of(trial),
        trial.user_attrs.get("score"),
        trial.user_attrs.get("loss"),
        dict(trial.params),
        trial.user_attrs.get(FAILURE) or ("its worker died each time" if state == "failed" else None),
        history[-1] if history else None,
    )


def line(study: Study, trial: FrozenTrial, budget: Budget) -> str:
    """What there is to say when a trial has ended, in one line."""
    trials = study.get_trials(deepcopy=False)
    tried = _tried(trial)
    score = "" if tried.score is None else f"  score {tried.score:.4f}"
    done = [t.user_attrs["score"] for t in counted(trials) if t.state == TrialState.COMPLETE]
    best = f"  best {max(done):.4f}" if done else ""
    limit = f" of {budget.epochs}" if budget.epochs is not None else ""
    return (
        f"trial {tried.number:<3} {tried.state:<8} {tried.epochs:>3} epochs{score}{best}  {spent(trials)}{limit} spent"
        + (f"  {tried.failure}" if tried.state == "failed" else "")
    )

"""One trial: a config made of the point, trained, judged by the best epoch's score on what is held out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optuna import Trial, TrialPruned

from torchweld.core import CheckFailed, InputError
from torchweld.data import Splits
from torchweld.search.individuals import FAILURE
from torchweld.search.space import Space, changed
from torchweld.training import Config, Record, StepRecord, train

if TYPE_CHECKING:
    from torchweld.training.session import Session

# What a setting may lead to; anything else is a fault of the program and ends the search.
_FAILURES = (CheckFailed, InputError, RuntimeError, ValueError, ArithmeticError, MemoryError)
_TIE = 1e-6  # far below what one held-out sample is worth


class TrialFailed(Exception):
    """The trial came to nothing; why stands in its user attribute."""


class Judge:
    """The watcher that reports each epoch to the trial, and ends the run where the trial is pruned.

    What is reported is the best so far: what the trial would come to if it ended here. Held-out accuracies are often
    equal, so the loss decides between equal ones: it adds at most a millionth.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.score = self.best = -math.inf

    def begin(self, session: Session) -> None: ...

    def step_done(self, session: Session, record: StepRecord) -> None: ...

    def epoch_done(self, session: Session, record: Record) -> None:
        score, loss = record.score, record.held_out_loss
        if score is None or loss is None or not (math.isfinite(score) and math.isfinite(loss)):
            raise CheckFailed(f"the held-out score is {score} and the loss {loss} after epoch {record.epoch}")
        # The run keeps the first epoch of the highest score, whatever the loss of later ones.
        if score > self.score:
            self.score, self.best = score, score + _TIE / (1 + max(loss, 0.0))
            self.trial.set_user_attr("score", score)
            self.trial.set_user_attr("loss", loss)
        self.trial.report(self.best, record.epoch)
        if record.epoch < session.config.epochs and self.trial.should_prune():
            raise TrialPruned(f"after epoch {record.epoch}")

    def end(self, session: Session) -> None: ...


class Objective:
    """What the study maximises. The parts to train on are read once; the test part is not looked at.

    Raises `TrialFailed` where a run fails, and leaves the reason in the trial.
    """

    def __init__(self, config: Config, space: Space, splits: Splits) -> None:
        self.config, self.space, self.splits = config, space, splits

    def __call__(self, trial: Trial) -> float:
        judge = Judge(trial)
        try:
            train(changed(self.config, self.space.suggested(trial)), watchers=[judge], splits=self.splits)
        except _FAILURES as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            trial.set_user_attr(FAILURE, reason)
            raise TrialFailed(reason) from error
        return judge.best

"""The search: open the study, run trials while the budget allows, wait for other processes, read what was found."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from optuna import Study
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from torchweld.core import InputError
from torchweld.data import Splits
from torchweld.search.budget import Budget
from torchweld.search.halving import Halving
from torchweld.search.individuals import FAILURE, WITHDRAWN, individuals
from torchweld.search.objective import Objective, TrialFailed
from torchweld.search.ranges import space_for
from torchweld.search.result import Found, found_in
from torchweld.search.sampler import GeneticSampler, Repeatable
from torchweld.search.space import Space
from torchweld.search.study import Sweep, open_storage, open_study, queue_again, running, shown, waiting
from torchweld.training import Config, splits_of
from torchweld.training.signals import asked_to_stop

SAMPLERS = ("ga", "tpe", "random")
_GIVE_UP = 5  # failures without a success, after which it is the search that is wrong

Told = Callable[[Study, FrozenTrial], object]


def search(
    config: Config,
    budget: Budget,
    *,
    space: Space | None = None,
    splits: Splits | None = None,
    sampler: str = "ga",
    population: int = 8,
    prune: bool = True,
    first: bool = True,
    seed: int = 0,
    storage: str | None = None,
    name: str = "search",
    heartbeat_seconds: int = 15,
    on_failure: str = "penalise",
    told: Told | None = None,
) -> Found:
    """Searches settings around `config` for the best held-out score; the same study in the storage is gone on with.

    Each trial trains `config.epochs` epochs, fewer where halving ends it (`prune`). `first`: the first trial is
    `config` itself, as near as the space has it. `sampler`: ga, tpe or random. `storage`: an SQLAlchemy URL.
    `on_failure`: a run that raises or leaves the finite numbers ranks last ("penalise") or ends the search ("raise").
    `told(study, trial)` is called after each trial. One process repeats itself for the same seed, interrupted or not.

    Raises `InputError` for what cannot be used, and where every run fails; `CheckFailed` if no trial came to its end.
    """
    config = for_trials(config)
    if config.holdout <= 0 and (splits is None or not len(splits.held_out)):
        raise InputError("a search needs held-out samples to judge by: holdout must be above 0")
    if sampler not in SAMPLERS:
        raise InputError(f"--sampler {sampler!r} is unknown; known are {', '.join(SAMPLERS)}")
    if on_failure not in ("penalise", "raise"):
        raise InputError(f"on_failure must be 'penalise' or 'raise', not {on_failure!r}")
    splits = splits_of(config) if splits is None else splits
    space = space_for(config, splits) if space is None else space
    space.check(config)
    if budget.epochs is not None and budget.epochs < config.epochs:
        raise InputError(
            f"a budget of {budget.epochs} epochs is less than one trial's {config.epochs}: raise it, or lower epochs"
        )
    start = space.point_of(config) if first else None
    pruner: BasePruner = Halving(config.epochs, least=max(1, config.epochs // 9)) if prune else NopPruner()
    about = {
        "config": config.to_dict(),
        "space": space.to_dict(),
        "sampler": sampler,
        "population": population,
        "prune": prune,
        "first": first,
        "seed": seed,
    }
    with quietly():
        study = open_study(
            open_storage(storage, heartbeat_seconds),
            name,
            about,
            sampler_of(sampler, space, seed, population, start),
            pruner,
        )
        objective = Objective(config, space, replace(splits, test=None))
        with asked_to_stop() as stop:  # between trials as in them, so that none is left half begun
            _run(study, objective, budget, on_failure, told, heartbeat_seconds, stop)
        return found_in(study, config, space, sampler, shown(storage))


def for_trials(config: Config) -> Config:
    """`config` with all that is measured on the machine settled, so that a trial can be repeated; without trackers."""
    return replace(
        config,
        threads=config.threads or 1,
        dtype=config.dtype or "float32",
        channels_last=bool(config.channels_last),
        trackers=(),
    )


def sampler_of(name: str, space: Space, seed: int, population: int, first: dict[str, Any] | None) -> BaseSampler:
    """The sampler of that name."""
    if name == "ga":
        return GeneticSampler(space, population=population, seed=seed, first=first)
    if name == "tpe":
        return Repeatable(lambda number: TPESampler(seed=number), seed, first)
    return Repeatable(lambda number: RandomSampler(seed=number), seed, first)


def _run(
    study: Study,
    objective: Objective,
    budget: Budget,
    on_failure: str,
    told: Told | None,
    heartbeat_seconds: int,
    stop: Sequence[bool],
) -> None:
    """Trials until the budget is spent, and until no other process is at work or has died over one."""
    began = time.monotonic()
    epochs = objective.config.epochs
    catch = (TrialFailed,) if on_failure == "penalise" else ()
    sweep = Sweep(study, 2 * heartbeat_seconds)
    while True:
        sweep()
        if stop[0]:
            raise KeyboardInterrupt
        trials = study.get_trials(deepcopy=False)
        in_time = budget.minutes is None or time.monotonic() - began < 60 * budget.minutes
        if not (budget.allows(trials, epochs, time.monotonic() - began) or (waiting(study) and in_time)):
            if not in_time or not running(study):
                return
            time.sleep(min(1.0, heartbeat_seconds / 4))
            continue
        _one(study, objective, budget, catch, told, stop)
        _check_hope(study)


class Withdrawn(Exception):
    """Another process began a trial at the same moment, and the budget has room for one."""


def _one(
    study: Study,
    objective: Objective,
    budget: Budget,
    catch: tuple[type[Exception], ...],
    told: Told | None,
    stop: Sequence[bool],
) -> None:
    numbers: list[int] = []

    def run(trial: optuna.Trial) -> float:
        numbers.append(trial.number)
        trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
        known = study.get_trials(deepcopy=False)
        if budget.overrun(known, trial.number, objective.config.epochs):
            trial.set_user_attr(WITHDRAWN, True)
            raise Withdrawn
        if stop[0]:
            raise KeyboardInterrupt
        return objective(trial)

    try:
        study.optimize(run, n_trials=1, catch=(Withdrawn, *catch))
    except KeyboardInterrupt:
        if numbers:
            queue_again(study, numbers[0])
        raise
    except TrialFailed as error:
        raise InputError(f"trial {numbers[0]} failed: {error}; --on-failure penalise goes on without it") from error
    if told is not None:
        told(study, study.trials[numbers[0]])


def _check_hope(study: Study) -> None:
    finished = individuals(study.get_trials(deepcopy=False))
    if len(finished) >= _GIVE_UP and all(trial.state == TrialState.FAIL for trial in finished):
        reason = finished[-1].user_attrs.get(FAILURE, "its worker died")
        raise InputError(
            f"all of the first {len(finished)} trials failed, the last: {reason}; mend the config or the space"
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Without a line from Optuna for each trial: what fails is kept in the study, and shown at the end."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)

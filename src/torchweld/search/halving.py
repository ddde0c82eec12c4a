"""Asynchronous successive halving (Li et al. 2018, "A System for Massively Parallel Hyperparameter Tuning", alg. 2).

At rungs of `epochs / factor`, `epochs / factor^2`, ... a trial goes on only if it is among the best 1/factor of all
that came to that rung so far. Optuna's pruner of this kind keeps what a trial had at a rung in the trial itself, so
that one which is repeated after its worker died is counted twice; this one looks at trials that count, and no other.
"""

from __future__ import annotations

from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from torchweld.core import InputError
from torchweld.search.individuals import counted


class Halving(BasePruner):
    """Prunes at `rungs`, each a number of epochs; the last `epochs` are never pruned.

    >>> Halving(epochs=16, factor=2, least=2).rungs
    (2, 4, 8)

    Raises `InputError` for a factor below 2 or a first rung below 1.
    """

    def __init__(self, epochs: int, factor: int = 3, least: int = 1) -> None:
        if factor < 2 or least < 1:
            raise InputError(f"halving needs a factor of 2 or more and a first rung of 1 or more: {factor}, {least}")
        self.factor = factor
        found: list[int] = []
        rung = epochs // factor
        while rung >= least:
            found.insert(0, rung)
            rung //= factor
        self.rungs = tuple(found)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None or step not in self.rungs:
            return False
        others = [
            t.intermediate_values[step]
            for t in counted(study.get_trials(deepcopy=False))
            if t.number != trial.number and step in t.intermediate_values
        ]
        value = trial.intermediate_values[step]
        places = max(1, (len(others) + 1) // self.factor)
        return sum(other > value for other in others) >= places

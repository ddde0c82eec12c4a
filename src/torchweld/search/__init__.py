"""Genetic search over the settings of a training run: Optuna's studies, our operators, halving, many machines."""

from torchweld.search.budget import Budget
from torchweld.search.halving import Halving
from torchweld.search.importance import importances
from torchweld.search.objective import Judge, Objective, TrialFailed
from torchweld.search.pictures import draw_history, draw_importance
from torchweld.search.ranges import space_for
from torchweld.search.result import Found, Tried, found_in, line
from torchweld.search.sampler import GeneticSampler, Repeatable
from torchweld.search.searching import SAMPLERS, for_trials, sampler_of, search
from torchweld.search.space import Space, changed, parsed
from torchweld.search.study import Sweep, open_storage, open_study, queue_again, shown

__all__ = [
    "SAMPLERS",
    "Budget",
    "Found",
    "GeneticSampler",
    "Halving",
    "Judge",
    "Objective",
    "Repeatable",
    "Space",
    "Sweep",
    "TrialFailed",
    "Tried",
    "changed",
    "draw_history",
    "draw_importance",
    "for_trials",
    "found_in",
    "importances",
    "line",
    "open_storage",
    "open_study",
    "parsed",
    "queue_again",
    "sampler_of",
    "search",
    "shown",
    "space_for",
]

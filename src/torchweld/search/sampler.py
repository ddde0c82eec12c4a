"""Samplers for an Optuna study: our genetic operators, and Optuna's own random search and TPE made repeatable.

Every number is drawn from a generator seeded by the study's seed and the trial's place among those that count, so that
a study of one process repeats itself, and one that was interrupted goes on as if it had not been.

Letters: N individuals, L columns of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import (
    Category,
    Population,
    Setting,
    arithmetic_crossover,
    heuristic_crossover,
    multi_nonuniform_mutation,
    nonuniform_mutation,
    norm_geometric,
    simple_crossover,
    uniform_mutation,
)
from torchweld.search.individuals import individuals, place_of, worst_first
from torchweld.search.space import Space

# Drawn with these weights. At a few dozen trials means of good points and small steps in all columns at once do best.
_CROSSOVERS = (arithmetic_crossover, arithmetic_crossover, heuristic_crossover, simple_crossover)
_MUTATIONS: tuple[Callable[..., Tensor], ...] = (*(multi_nonuniform_mutation,) * 3, nonuniform_mutation)
_TRIES = 50  # to be different from every individual before


class GeneticSampler(BaseGASampler):
    """Generations of `population` individuals; pruned ones and those that failed for good count as well.

    The first generation is a Latin hypercube. Later ones are bred from the best half as many of all before: two
    parents by normalised geometric ranking (`q`, the chance of the best), a crossover with chance `cross`, a mutation
    with chance `mutate`, or where there was no crossover. No point is proposed twice. How pruned and failed
    individuals rank: see `worst_first`.

    `first`: the point that the first trial tries. Raises `InputError` for a population below 2.
    """

    def __init__(
        self,
        space: Space,
        *,
        population: int = 8,
        seed: int = 0,
        q: float = 0.15,
        cross: float = 0.8,
        mutate: float = 0.8,
        first: dict[str, Any] | None = None,
    ) -> None:
        if population < 2:
            raise InputError(f"a population needs at least two individuals, not {population}")
        super().__init__(population)
        self.space, self.encoding, self.size = space, space.encoding(), population
        self.categories = torch.tensor([isinstance(gene, Category) for gene in space.genes.values()])
        self.seed, self.q, self.cross, self.mutate, self.first = seed, q, cross, mutate, first

    def reseed_rng(self) -> None:
        """Nothing to do: no generator outlives a trial."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space.distributions()

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """For a parameter outside the space: uniform."""
        place = place_of(study.get_trials(deepcopy=False), trial.number)
        words = (self.seed, place, *param_name.encode())
        return RandomSampler(mixed(*words) % 2**32).sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        trials = study.get_trials(deepcopy=False)
        place = place_of(trials, trial.number)
        if place == 0 and self.first is not None:
            self.get_trial_generation(study, trial)
            return self.first
        generation = self.get_trial_generation(study, trial)
        generator = torch.Generator().manual_seed(mixed(self.seed, place) >> 1)
        if generation == 0:
            row = self._spread(place)
        else:
            row = self._child(self.get_parent_population(study, generation), generation, generator)
        others = [t for t in trials if t.number != trial.number and set(self.space.names) <= set(t.params)]
        row = self._unlike(row, {tuple(self.space.solution(t.params)) for t in others}, generation, generator)
        return dict(self.encoding.values(self.encoding.decode(row)[0]))

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """The trial's generation, set if it has none: Optuna's own counts completed trials only."""
        key = self._get_generation_key()
        if key in trial.system_attrs:
            return int(trial.system_attrs[key])
        known = [t.system_attrs[key] for t in individuals(study.get_trials(deepcopy=False)) if key in t.system_attrs]
        newest = max(known, default=0)
        generation = newest + (known.count(newest) >= self.size)
        study._storage.set_trial_system_attr(trial._trial_id, key, generation)
        return generation

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The finished individuals of the generation, pruned and failed ones too."""
        key = self._get_generation_key()
        return [t for t in individuals(study.get_trials(deepcopy=False)) if t.system_attrs.get(key) == generation]

    def select_parent(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The best of all generations before, those that another process finished late too."""
        key = self._get_generation_key()
        before = [
            t for t in individuals(study.get_trials(deepcopy=False)) if t.system_attrs.get(key, generation) < generation
        ]
        return worst_first(before)[-max(2, self.size // 2) :]

    def _spread(self, place: int) -> Tensor:
        """Row `place` of a Latin hypercube: each column's range in as many strata as there are rows, each used once."""
        generator = torch.Generator().manual_seed(mixed(self.seed, 2**32 + place // self.size) >> 1)
        columns = len(self.encoding.low)
        strata = torch.stack([torch.randperm(self.size, generator=generator) for _ in range(columns)], 1)
        inside = torch.rand(self.size, columns, generator=generator, dtype=torch.float64)
        share = ((strata + inside) / self.size)[place % self.size]
        return torch.lerp(self.encoding.low, self.encoding.high, share)[None]

    def _child(self, parents: Sequence[FrozenTrial], generation: int, generator: torch.Generator) -> Tensor:
        """One row (1, L) bred from the parents."""
        ranked = worst_first(parents)
        rows = self.encoding.encode(torch.tensor([self.space.solution(t.params) for t in ranked], dtype=torch.float64))
        alive = [t.state != TrialState.FAIL for t in ranked]
        fitness = torch.tensor([i if ok else -math.inf for i, ok in enumerate(alive)], dtype=torch.float64)
        pool = Population(rows, fitness)
        one, two = (int(i) for i in norm_geometric(pool, 2, generator, q=self.q))
        if one == two:
            two = (two + 1 + int(torch.randint(len(rows) - 1, (), generator=generator))) % len(rows)
        own, mate = rows[one : one + 1], rows[two : two + 1]
        setting = self._setting(generation, generator, fitness[[one]] >= fitness[[two]])
        crossed = self._chance(generator) < self.cross
        child = own.clone()
        if crossed:
            function = _CROSSOVERS[int(torch.randint(len(_CROSSOVERS), (), generator=generator))]
            first, second = function(own, mate, setting)
            # Of the heuristic crossover the child stands in the place of the worse parent; the other is a copy.
            take_second = (
                bool(setting.first_better) if function is heuristic_crossover else self._chance(generator) < 0.5
            )
            child = self.encoding.settle(second, mate, own, generator) if take_second else self.encoding.settle(
                first, own, mate, generator
            )  # fmt: skip
        if not crossed or self._chance(generator) < self.mutate:
            child = self._mutated(child, setting)
        return child

    def _mutated(self, row: Tensor, setting: Setting) -> Tensor:
        function = _MUTATIONS[int(setting.randint(len(_MUTATIONS)))]
        moved = function(row, setting)
        # A step in a category is a new draw: left to those that move every column, none would be passed on.
        columns = row.shape[1]
        passed_on = self.categories & (setting.rand(1, columns) * columns >= 1)
        return self.encoding.settle(torch.where(passed_on, row, moved), row, None, setting.generator)

    def _unlike(
        self, row: Tensor, known: set[tuple[float, ...]], generation: int, generator: torch.Generator
    ) -> Tensor:
        """The row, mutated until it is no point of `known`, where that can be done."""
        setting = self._setting(generation, generator)
        for _ in range(_TRIES):
            if tuple(self.encoding.decode(row)[0].tolist()) not in known:
                break
            row = self.encoding.settle(uniform_mutation(row, setting), row, None, generator)
        return row

    def _setting(self, generation: int, generator: torch.Generator, better: Tensor | None = None) -> Setting:
        # Non-uniform steps shrink with the generations, whatever the budget, which may be raised later.
        progress = generation / (generation + 4)
        return Setting(generator, self.encoding.low, self.encoding.high, progress, better)

    @staticmethod
    def _chance(generator: torch.Generator) -> float:
        return float(torch.rand((), generator=generator))


class Repeatable(BaseSampler):
    """A sampler of Optuna's made anew for each trial, `make(seed)`, with a seed of its own.

    A study that goes on would otherwise draw from the start again, and two processes the same points.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, first: dict[str, Any] | None = None) -> None:
        self.make, self.seed, self.first = make, seed, first
        self.inner = make(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.place = place_of(study.get_trials(deepcopy=False), trial.number)
        self.inner = self.make(mixed(self.seed, self.place) % 2**32)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self.place == 0 and self.first is not None and param_name in self.first:
            return self.first[param_name]
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.inner.after_trial(study, trial, state, values)


def mixed(*words: int) -> int:
    """64 bits that depend on all the words, which are not negative."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])

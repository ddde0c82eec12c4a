"""A run under way: its population, its records, and one step from a generation to the next."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.breeding import breed, breed_in_turn
from torchweld.genetic.encodings import Encoding
from torchweld.genetic.evaluation import Evaluation
from torchweld.genetic.options import Options
from torchweld.genetic.polish import Polish, polish_best
from torchweld.genetic.population import Population, best_first, worst
from torchweld.genetic.result import Best, Result
from torchweld.genetic.setting import Operator, Setting
from torchweld.genetic.state import State, save_state
from torchweld.genetic.termination import Terminate


@dataclass(frozen=True)
class Plan:
    """Everything that stays the same during a run."""

    encoding: Encoding
    options: Options
    terminate: Terminate
    select: Operator
    crossovers: tuple[Operator, ...]
    mutations: tuple[Operator, ...]
    polish: Polish | None

    def settings(self, horizon: int) -> dict[str, Any]:
        """What a resumed run must share with the first one, in words and numbers that JSON holds."""
        operators = (self.select, *self.crossovers, *self.mutations)
        genes = getattr(self.encoding, "genes", self.encoding.variables)
        return {
            "bounds": str(genes),
            "encoding": self.encoding.kind,
            "columns": len(self.encoding.low),
            "population": self.options.population,
            "horizon": horizon,
            "dtype": str(self.options.dtype),
            "epsilon": self.options.epsilon,
            "compat": self.options.compat,
            "operators": [
                f"{o.name} times={o.times} chance={o.chance} {dict(sorted(o.parameters.items()))}" for o in operators
            ],
            "polish": None if self.polish is None else [self.polish.best, self.polish.every],
        }


class Run:
    """The moving parts of `ga`. All randomness comes from one generator, drawn here and in the operators only."""

    population: Population  # of the last whole generation; a step writes to its rows only once it is done with them
    best: int  # its best individual

    def __init__(self, plan: Plan, evaluation: Evaluation, seed: int) -> None:
        self.plan, self.evaluation = plan, evaluation
        self.generator = torch.Generator(plan.options.device).manual_seed(seed)
        self.generator_before = self.generator.get_state()
        self.horizon = plan.options.horizon or plan.terminate.generations or 100
        self.generation = -1  # nothing evaluated yet
        self.improved_at = self.gradient_calls = 0
        self.history: list[list[float]] = []
        self.trace: list[list[float]] = []
        self.began = time.monotonic()
        self.without_elite: Population | None = None
        # rows of generations gone by, written to again: fresh memory costs a page fault every 4 KiB
        self.free_rows: tuple[Tensor, Tensor] | None = None

    def begin(self, start: State | Population | Tensor | None) -> None:
        """The first population evaluated, or a saved state taken up."""
        if isinstance(start, State):
            self._take_up(start)
            if self.generation >= 0:
                return
            start = None
        first = self._first_population(start)
        self._finish(replace(first, rows=first.rows.detach().clone()))  # an evaluation may keep what it was handed

    def _first_population(self, start: Population | Tensor | None) -> Population:
        encoding, size = self.plan.encoding, self.plan.options.population
        if start is None:
            return self.evaluation(encoding.random(size, self.generator))
        if not isinstance(start, Population):
            solutions = torch.as_tensor(start, device=encoding.low.device)
            if solutions.ndim != 2 or solutions.shape[1] != encoding.variables:
                raise InputError(f"start must be (K, {encoding.variables}) solutions, not {tuple(solutions.shape)}")
            start = self.evaluation(_inside(encoding.encode(solutions), encoding))
        _inside(start.rows, encoding)
        missing = size - len(start)
        if missing > 0:
            start = _joined(start, self.evaluation(encoding.random(missing, self.generator)))
        return start[best_first(start, size)]

    def _take_up(self, state: State) -> None:
        if self.plan.options.horizon is None:  # a longer run must not change the steps of the one it goes on with
            self.horizon = state.settings["horizon"]
        mine = self.plan.settings(self.horizon)
        differing = [name for name in mine if mine[name] != state.settings.get(name)]
        if differing:
            name = differing[0]
            raise InputError(
                f"this run differs from the saved one in {', '.join(differing)}: {mine[name]} against "
                f"{state.settings.get(name)}; give the same arguments, or start from state.population"
            )
        self.population = replace(state.population, rows=state.population.rows.clone())
        self.best = int(best_first(self.population, 1)) if len(self.population) else -1
        self.generator.set_state(state.generator)
        self.generator_before = state.generator
        self.generation, self.improved_at = state.generation, state.improved_at
        self.gradient_calls = state.gradient_calls
        self.history, self.trace = state.history.tolist(), state.trace.tolist()
        self.began = time.monotonic() - state.seconds
        self.evaluation.spent = state.evaluations - state.gradient_calls
        if state.memory is not None and self.evaluation.memory is not None:
            self.evaluation.memory.known.update(state.memory.known)

    @property
    def evaluations(self) -> int:
        return self.evaluation.spent + self.gradient_calls

    def finished(self) -> str | None:
        """The limit that is reached, or None. An infeasible best reaches no target."""
        violation = self.population.violation
        best = self.trace[-1][1] if violation is None or not float(violation[self.best]) else -math.inf
        return self.plan.terminate.reason(
            self.generation, best, self.improved_at, time.monotonic() - self.began, self.evaluations
        )

    def step(self) -> None:
        """From one generation to the next; the best individual of the old one survives in place of the worst."""
        plan, old = self.plan, self.population
        gaot = plan.options.compat == "gaot"
        chosen = plan.select.function(old, len(old), self.generator, **plan.select.parameters)
        if not getattr(plan.select.function, "in_random_order", False):  # breeding pairs neighbours
            chosen = chosen[torch.randperm(len(old), generator=self.generator, device=chosen.device)]
        if self.free_rows is None:
            self.free_rows = torch.empty_like(old.rows), torch.empty_like(old.rows)
        scratch, spare = self.free_rows
        parents = old.copied(chosen, scratch)
        progress = min(1.0, (self.generation + 1) / self.horizon)
        setting = Setting(self.generator, plan.encoding.low, plan.encoding.high, progress, favour_middle=gaot)
        with torch.inference_mode():  # a fifth faster: a generation is a hundred small operations
            brood = (breed_in_turn if gaot else breed)(
                parents, plan.crossovers, plan.mutations, plan.encoding, setting, self._scored, spare
            )
        population = self._scored(brood.population.ordinary(), brood.stale)
        free = [rows for rows in (scratch, spare, old.rows) if rows is not population.rows]
        self.free_rows = free[0], free[1]
        if gaot:
            self.without_elite = population[torch.arange(len(population), device=old.rows.device)]
        self._finish(population.put(worst(population)[None], old.only(self.best)))

    def _scored(self, population: Population, places: Tensor) -> Population:
        """The population with the individuals at `places` (K,) evaluated, in place."""
        if not len(places):
            return population
        with torch.inference_mode(False):  # an evaluation may take gradients
            rows = population.rows.index_select(0, places)
            scored = self.evaluation(rows)
        return population.put(places, scored, rows=scored.rows is not rows)

    def _finish(self, population: Population) -> None:
        """Polish, then make this the last whole generation and record it."""
        polish, generation = self.plan.polish, self.generation + 1
        if polish is not None and generation % polish.every == 0:
            population, calls = polish_best(population, polish, self.evaluation)
            self.gradient_calls += calls
        self.population, self.generation = population, generation
        self.generator_before = self.generator.get_state()
        self.best = best = int(best_first(population, 1))
        top = float(population.fitness[best])
        std, mean = (float(v) for v in torch.std_mean(population.fitness))
        if not math.isfinite(mean):  # penalised individuals are left out of both
            finite = population.fitness[population.fitness.isfinite()]
            std, mean = (float(v) for v in torch.std_mean(finite)) if len(finite) > 1 else (math.nan, top)
        self.trace.append([generation, top, mean, std, self.evaluations])
        if not self.history or abs(top - self.history[-1][-1]) > self.plan.options.epsilon:
            self.improved_at = generation
            self.history.append(self._history_row(best))

    def _history_row(self, best: int) -> list[float]:
        solution = self.plan.encoding.decode(self.population.rows[best : best + 1])[0]
        return [self.generation, *solution.tolist(), float(self.population.fitness[best])]

    def report(self, save: str | os.PathLike[str] | None, callbacks: Sequence[Callable[[State], object]]) -> None:
        """Save and show the generation that was just finished."""
        if save is None and not callbacks:
            return
        state = self.state()
        if save is not None:
            save_state(state, save)
        for callback in callbacks:
            callback(state)

    def state(self) -> State:
        """The last whole generation, with all that was evaluated since remembered and counted."""
        encoding = self.plan.encoding
        nobody = Population(encoding.low.new_empty(0, len(encoding.low)), torch.empty(0))
        return State(
            replace(self.population, rows=self.population.rows.clone()) if self.generation >= 0 else nobody,
            self.generator_before,
            self.generation,
            self.evaluations,
            self.gradient_calls,
            self.improved_at,
            time.monotonic() - self.began,
            torch.tensor(self.history, dtype=torch.float64).view(len(self.history), encoding.variables + 2),
            torch.tensor(self.trace, dtype=torch.float64).view(len(self.trace), 5),
            self.plan.settings(self.horizon),
            self.evaluation.memory,
        )

    def result(self, stopped: str) -> Result:
        """The run as it stands."""
        encoding, population = self.plan.encoding, self.population
        best = self.best
        solution = encoding.decode(population.rows[best : best + 1])[0]
        violation = 0.0 if population.violation is None else float(population.violation[best])
        history = [*self.history, self._history_row(best)]
        trace = torch.tensor(self.trace, dtype=torch.float64)
        if self.plan.options.compat == "gaot":
            trace[-1, 3] = 0.0
            population = self.without_elite or population
        calls = self.gradient_calls
        return Result(
            Best(solution, encoding.values(solution), float(self.population.fitness[best]), violation),
            population,
            encoding.decode(population.rows),
            torch.tensor(history, dtype=torch.float64),
            trace,
            self.evaluations,
            calls,
            self.evaluations + calls * encoding.variables,
            self.generation,
            time.monotonic() - self.began,
            stopped,
        )


def _inside(rows: Tensor, encoding: Encoding) -> Tensor:
    if rows.shape[1:] != encoding.low.shape or not bool(((rows >= encoding.low) & (rows <= encoding.high)).all()):
        raise InputError("the start leaves the bounds: every solution must lie within them")
    return rows


def _joined(first: Population, second: Population) -> Population:
    violation = None
    if first.violation is not None or second.violation is not None:
        parts = [p.violation if p.violation is not None else torch.zeros_like(p.fitness) for p in (first, second)]
        violation = torch.cat(parts)
    return Population(torch.cat([first.rows, second.rows]), torch.cat([first.fitness, second.fitness]), violation)

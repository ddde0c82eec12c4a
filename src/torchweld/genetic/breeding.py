"""One generation: crossovers and mutations on disjoint individuals, in as few batches as that takes.

GAOT applies its operators one after another, each to individuals picked anew, and evaluates every child at once.
Here the operators of a generation share one random order of the population, cut into pieces, so that a whole
generation is one gather, one batch of children and one evaluation. Only when more individuals are asked for than
there are does a further wave begin, with a new order. `breed_in_turn` is GAOT's own way, for `compat="gaot"`.

Letters: N individuals, M of them taken in a wave, L columns of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.encodings import Encoding
from torchweld.genetic.population import Population, better
from torchweld.genetic.setting import Operator, Setting


@dataclass(frozen=True)
class Task:
    """One operator in one generation, and how many individuals it takes (two a pair)."""

    operator: Operator
    crosses: bool
    individuals: int


@dataclass(frozen=True)
class Brood:
    """The population after breeding, before evaluation: individuals at `stale` (S,) carry an outdated fitness."""

    population: Population
    stale: Tensor


def breed(
    parents: Population,
    crossovers: Sequence[Operator],
    mutations: Sequence[Operator],
    encoding: Encoding,
    setting: Setting,
    score: Callable[[Population, Tensor], Population],
) -> Brood:
    """Children in place of their parents; `score(population, places)` evaluates before an operator reads fitness.

    The parents' tensors are written over.
    """
    n = len(parents)
    population = parents
    stale: Tensor | None = None
    for wave in _waves(_tasks(crossovers, mutations, n, setting), n):
        if stale is not None and any(task.operator.reads_fitness for task in wave):
            population, stale = score(population, stale), None
        order = torch.randperm(n, generator=setting.generator, device=parents.fitness.device)
        changed = _apply_wave(population, wave, order, encoding, setting, stale)
        stale = changed if stale is None else _union(stale, changed, n)
    if stale is None:
        stale = torch.empty(0, dtype=torch.long, device=population.fitness.device)
    return Brood(population, stale)


def _tasks(crossovers: Sequence[Operator], mutations: Sequence[Operator], n: int, setting: Setting) -> list[Task]:
    tasks = [Task(op, True, 2 * _count(op, n, setting, pairs=True)) for op in crossovers]
    tasks += [Task(op, False, _count(op, n, setting, pairs=False)) for op in mutations]
    for task in tasks:
        if task.individuals > n:
            raise InputError(
                f"{task.operator.name} wants {task.individuals} individuals a generation of {n}: lower its times"
            )
    return [task for task in tasks if task.individuals]


def _count(operator: Operator, n: int, setting: Setting, pairs: bool) -> int:
    if operator.times is not None:
        return operator.times
    if operator.chance is None or operator.chance == 1.0:
        return n // 2 if pairs else n
    taking_part = int((setting.rand(n) < operator.chance).sum())
    return taking_part // 2 if pairs else taking_part


def _waves(tasks: list[Task], n: int) -> list[list[Task]]:
    waves: list[list[Task]] = []
    room = 0
    for task in tasks:
        if task.individuals > room:
            waves.append([])
            room = n
        waves[-1].append(task)
        room -= task.individuals
    return waves


def _union(first: Tensor, second: Tensor, n: int) -> Tensor:
    either = torch.zeros(n, dtype=torch.bool, device=first.device)
    either[first] = True
    either[second] = True
    return either.nonzero().squeeze(1)


def _apply_wave(
    population: Population,
    wave: list[Task],
    order: Tensor,
    encoding: Encoding,
    setting: Setting,
    stale: Tensor | None,
) -> Tensor:
    """Write the wave's children over their parents; the places of those that equal neither parent (S,).

    A child that equals its mate takes the mate's fitness, so it need not be evaluated, unless that is `stale` (places
    changed by an earlier wave).
    """
    taken = order[: sum(task.individuals for task in wave)]
    before = population.rows[taken]
    children, mates, mate_places = [], [], []
    position = 0
    for task in wave:
        end = position + task.individuals
        piece, places = before[position:end], taken[position:end]
        position = end
        if task.crosses:
            half = task.individuals // 2
            told = setting
            if task.operator.reads_fitness:
                told = replace(setting, first_better=better(population, places[:half], places[half:]))
            child = torch.cat(task.operator.function(piece[:half], piece[half:], told, **task.operator.parameters))
            mate = torch.cat([piece[half:], piece[:half]])
            mates.append(mate)
            mate_places += [places[half:], places[:half]]
        else:
            child = task.operator.function(piece, setting, **task.operator.parameters)
            mate = None
        children.append(encoding.settle(child, piece, mate, setting.generator))
    after = torch.cat(children)
    fresh = (after != before).any(1)
    if mates:
        crossed = torch.cat(mates)
        copied = (after[: len(crossed)] == crossed).all(1)
        if bool(copied.any()):
            sources = torch.cat(mate_places)
            if stale is not None:
                copied &= ~torch.isin(sources, stale)
            population.put(taken[: len(crossed)][copied], population[sources[copied]])
            fresh[: len(crossed)] &= ~copied
    population.rows.index_copy_(0, taken, after)
    return taken[fresh]


def breed_in_turn(
    parents: Population,
    crossovers: Sequence[Operator],
    mutations: Sequence[Operator],
    encoding: Encoding,
    setting: Setting,
    score: Callable[[Population, Tensor], Population],
) -> Brood:
    """GAOT's order of work: one application after another, individuals picked anew (also twice), evaluated at once."""
    n = len(parents)
    population = parents
    for operators, crosses in ((crossovers, True), (mutations, False)):
        for operator in operators:
            for _ in range(_count(operator, n, setting, pairs=crosses)):
                picked = setting.randint(n, 2 if crosses else 1)
                told = replace(setting, first_better=better(population, picked[:1], picked[1:])) if crosses else setting
                before = population.rows[picked]
                parts = [before[:1], before[1:]] if crosses else [before]
                child = operator.function(*parts, told, **operator.parameters)
                after = torch.cat(child) if crosses else child
                after = encoding.settle(after, before, before.flip(0) if crosses else None, setting.generator)
                others = population[picked.flip(0)]
                copied = (after == others.rows).all(1)
                population.rows[picked] = after
                population.put(picked[copied], others[copied])
                population = score(population, picked[~copied & (after != before).any(1)])
    return Brood(population, torch.empty(0, dtype=torch.long, device=population.fitness.device))

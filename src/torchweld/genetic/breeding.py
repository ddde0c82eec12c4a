"""One generation: crossovers and mutations on disjoint individuals, in as few batches as that takes.

GAOT applies its operators one after another, each to individuals picked anew, and evaluates every child at once.
Here the population is in random order and the operators of a generation take one slice of it after another, so that a
whole generation is one batch of children and one evaluation. Only when more individuals are asked for than there are
does a further wave begin, in a new order. `breed_in_turn` is GAOT's own way, for `compat="gaot"`.

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
    out: Tensor | None = None,
) -> Brood:
    """The next generation before its evaluation, in an order of its own; `parents` are in random order.

    `out` (N, L), if given, is memory that the rows may be written to.

    `score(population, places)` evaluates before an operator reads fitness that an earlier wave has outdated.
    """
    n = parents.fitness.shape[0]
    population = parents
    stale = torch.empty(0, dtype=torch.long, device=parents.fitness.device)
    for number, wave in enumerate(waves(crossovers, mutations, n, setting)):
        if stale.shape[0] and any(task.operator.reads_fitness for task in wave):
            population, stale = score(population, stale), stale[:0]
        if number:
            order = torch.randperm(n, generator=setting.generator, device=stale.device)
            population = population[order]
            stale = _marked(n, stale)[order].nonzero().squeeze(1)
        population, changed = _apply_wave(population, wave, encoding, setting, stale, None if number else out)
        stale = _marked(n, stale, changed).nonzero().squeeze(1) if stale.shape[0] else changed
    return Brood(population, stale)


def waves(crossovers: Sequence[Operator], mutations: Sequence[Operator], n: int, setting: Setting) -> list[list[Task]]:
    """The operators of one generation of n, crossovers first, in waves that each take an individual at most once."""
    tasks = [Task(op, True, 2 * _count(op, n, setting, pairs=True)) for op in crossovers]
    tasks += [Task(op, False, _count(op, n, setting, pairs=False)) for op in mutations]
    for task in tasks:
        if task.individuals > n:
            raise InputError(
                f"{task.operator.name} wants {task.individuals} individuals a generation of {n}: lower its times"
            )
    return _packed([task for task in tasks if task.individuals], n)


def _count(operator: Operator, n: int, setting: Setting, pairs: bool) -> int:
    if operator.times is not None:
        return operator.times
    if operator.chance is None or operator.chance == 1.0:
        return n // 2 if pairs else n
    taking_part = int((setting.rand(n) < operator.chance).sum())
    return taking_part // 2 if pairs else taking_part


def _packed(tasks: list[Task], n: int) -> list[list[Task]]:
    packed: list[list[Task]] = []
    room = 0
    for task in tasks:
        if task.individuals > room:
            packed.append([])
            room = n
        packed[-1].append(task)
        room -= task.individuals
    return packed


def _marked(n: int, *places: Tensor) -> Tensor:
    """Bool (n,), True at the places."""
    mask = torch.zeros(n, dtype=torch.bool, device=places[0].device)
    for some in places:
        mask[some] = True
    return mask


def _apply_wave(
    population: Population,
    wave: list[Task],
    encoding: Encoding,
    setting: Setting,
    stale: Tensor,
    out: Tensor | None,
) -> tuple[Population, Tensor]:
    """The wave's children in place of the first individuals, and the places of those that equal no parent (S,).

    A child that equals its mate takes the mate's fitness, so it need not be evaluated, unless that is `stale` (places
    changed by an earlier wave).
    """
    rows, draw = population.rows, setting.generator
    halves = [n for task in wave for n in ([task.individuals // 2] * 2 if task.crosses else [task.individuals])]
    taken = sum(halves)
    pieces = iter(rows.split([*halves, rows.shape[0] - taken]))
    children, mates = [], []
    position = 0
    for task in wave:
        operator, own = task.operator, next(pieces)
        if task.crosses:
            told, mate, half = setting, next(pieces), task.individuals // 2
            if operator.reads_fitness:
                first = torch.arange(position, position + half, device=stale.device)
                told = replace(setting, first_better=better(population, first, first + half))
            one, two = operator.function(own, mate, told, **operator.parameters)
            children += [encoding.settle(one, own, mate, draw), encoding.settle(two, mate, own, draw)]
            mates += [mate, own]
        else:
            children.append(encoding.settle(operator.function(own, setting, **operator.parameters), own, None, draw))
        position += task.individuals
    after = torch.cat([*children, next(pieces)], out=out)
    fresh = _differ(after[:taken], rows[:taken])
    if mates:
        copied = ~_differ(after[: sum(halves[: len(mates)])], torch.cat(mates))
        if bool(copied.any()):
            sources = _swapped(halves[: len(mates)], stale.device)
            if stale.shape[0]:
                copied &= ~_marked(len(population), stale)[sources]
            population.take_values(copied.nonzero().squeeze(1), sources[copied])
            fresh[: len(sources)] &= ~copied
    return replace(population, rows=after), fresh.nonzero().squeeze(1)


def _swapped(halves: list[int], device: torch.device) -> Tensor:
    """The place of each individual's mate, where pairs stand half by half: the second half before the first."""
    parts = torch.arange(sum(halves), device=device).split(halves)
    return torch.cat([part for first, second in zip(parts[::2], parts[1::2], strict=True) for part in (second, first)])


def _differ(first: Tensor, second: Tensor) -> Tensor:
    """Which rows of two (M, L) tensors differ, bool (M,); four times as fast as `(first != second).any(1)`."""
    unequal = torch.empty(first.shape, device=first.device)
    torch.ne(first, second, out=unequal)
    return unequal.mv(unequal.new_ones(first.shape[1])) > 0


def breed_in_turn(
    parents: Population,
    crossovers: Sequence[Operator],
    mutations: Sequence[Operator],
    encoding: Encoding,
    setting: Setting,
    score: Callable[[Population, Tensor], Population],
    out: Tensor | None = None,
) -> Brood:
    """GAOT's order of work: one application after another, individuals picked anew (also twice), evaluated at once."""
    n = parents.fitness.shape[0]
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
                population.put(picked[copied], others[copied.nonzero().squeeze(1)])
                population = score(population, picked[~copied & (after != before).any(1)])
    return Brood(population, torch.empty(0, dtype=torch.long, device=population.fitness.device))

"""A round trip through 52 random points: the GA's permutation operators beside a long 2-opt restart search.

The 2-opt search starts from random tours until its time is up and keeps the shortest. The GA uses its defaults for
permutations (edge recombination, inversion, shift) with a tournament of 3; the rows below put every other crossover in
the place of edge recombination. Exit status 1 where a seed of the defaults is more than 5% longer than the search's.

    OMP_NUM_THREADS=1 python benchmarks/genetic_tsp.py > benchmarks/results/genetic_tsp.md
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from torchweld.genetic import (
    Operator,
    Options,
    Terminate,
    apply,
    cyclic_crossover,
    default_crossovers,
    ga,
    linear_order_crossover,
    order_based_crossover,
    partially_mapped_crossover,
    single_point_crossover,
    tournament,
    uniform_order_crossover,
)

POINTS, SEEDS, POPULATION, GENERATIONS, SEARCH_SECONDS = 52, 10, 1000, 600, 40.0


def distances() -> Tensor:
    points = torch.rand(POINTS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(52))
    return torch.cdist(points, points)


def length(tours: Tensor, table: Tensor) -> Tensor:
    return table[tours, tours.roll(-1, 1)].sum(1)


def two_opt(tour: Tensor, table: Tensor) -> Tensor:
    """The best exchange of two edges, again and again until none shortens the tour."""
    n = len(tour)
    upper = torch.ones(n, n, dtype=torch.bool).triu(1)
    while True:
        ahead = tour.roll(-1)
        edge = table[tour, ahead]
        gain = edge[:, None] + edge[None] - table[tour[:, None], tour[None]] - table[ahead[:, None], ahead[None]]
        best = int(torch.where(upper, gain, -1.0).argmax())
        i, j = divmod(best, n)
        if gain[i, j] <= 1e-12:
            return tour
        tour = torch.cat([tour[: i + 1], tour[i + 1 : j + 1].flip(0), tour[j + 1 :]])


def restart_search(table: Tensor) -> tuple[float, int]:
    generator = torch.Generator().manual_seed(0)
    shortest, restarts, began = float("inf"), 0, time.perf_counter()
    while time.perf_counter() - began < SEARCH_SECONDS:
        tour = two_opt(torch.randperm(POINTS, generator=generator), table)
        shortest, restarts = min(shortest, float(length(tour[None], table))), restarts + 1
    return shortest, restarts


def lengths(table: Tensor, crossovers: tuple[Operator, ...], seeds: int) -> list[float]:
    return [
        -ga(
            POINTS,
            lambda tours: -length(tours, table),
            options=Options(population=POPULATION, remember=False),
            select=Operator(tournament, times=1, parameters={"k": 3}),
            crossovers=crossovers,
            terminate=Terminate(generations=GENERATIONS),
            seed=seed,
        ).best.fitness
        for seed in range(seeds)
    ]


def main() -> int:
    torch.set_num_threads(1)
    table = distances()
    shortest, restarts = restart_search(table)
    print(f"# A round trip through {POINTS} points\n")
    print("`OMP_NUM_THREADS=1 python benchmarks/genetic_tsp.py`\n")
    print(f"2-opt from {restarts} random tours in {SEARCH_SECONDS:.0f} s: {shortest:.5f}.")
    print(f"GA: population {POPULATION}, {GENERATIONS} generations, tournament of 3.\n")
    print("| crossovers | seeds | mean over 2-opt | worst over 2-opt | within 5% | seconds a run |")
    print("| --- | --- | --- | --- | --- | --- |")
    settings = {"edge recombination (default)": (default_crossovers("permutation", POPULATION), SEEDS)}
    for function in (
        order_based_crossover,
        linear_order_crossover,
        partially_mapped_crossover,
        cyclic_crossover,
        uniform_order_crossover,
        single_point_crossover,
    ):
        settings[function.__name__] = ((apply(function, times=round(0.3 * POPULATION)),), 3)
    missed = 0
    for name, (crossovers, seeds) in settings.items():
        began = time.perf_counter()
        excess = [found / shortest - 1 for found in lengths(table, crossovers, seeds)]
        spent = (time.perf_counter() - began) / seeds
        within = sum(e <= 0.05 for e in excess)
        print(
            f"| {name} | {seeds} | {sum(excess) / seeds:+.2%} | {max(excess):+.2%} | {within}/{seeds} | {spent:.1f} |",
            flush=True,
        )
        missed += seeds - within if seeds == SEEDS else 0
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

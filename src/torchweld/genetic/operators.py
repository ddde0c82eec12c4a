"""Default operators for each encoding, GAOT's for floats and bits, and counts that grow with the population.

Those for permutations are ours: on tours, edge recombination beside inversion does best (benchmarks/genetic_tsp.py).
"""

from __future__ import annotations

from torchweld.genetic.crossover import arithmetic_crossover, heuristic_crossover, simple_crossover
from torchweld.genetic.edges import edge_recombination_crossover
from torchweld.genetic.mutation import (
    boundary_mutation,
    flip_mutation,
    multi_nonuniform_mutation,
    nonuniform_mutation,
    uniform_mutation,
)
from torchweld.genetic.order_mutations import inversion_mutation, shift_mutation
from torchweld.genetic.setting import Operator, apply

GAOT_POPULATION = 80


def default_crossovers(kind: str, population: int = GAOT_POPULATION) -> tuple[Operator, ...]:
    """Crossovers for an encoding; counts are those of 80 individuals, scaled to `population`.

    >>> [(o.name, o.times) for o in default_crossovers("float", 800)]
    [('arithmetic_crossover', 20), ('heuristic_crossover', 20), ('simple_crossover', 20)]
    """
    if kind == "float":
        times = _scaled(2, population)
        return (
            apply(arithmetic_crossover, times=times),
            apply(heuristic_crossover, times=times, tries=3),
            apply(simple_crossover, times=times),
        )
    if kind == "binary":
        return (apply(simple_crossover, chance=0.6),)
    return (apply(edge_recombination_crossover, times=_scaled(24, population)),)


def default_mutations(kind: str, population: int = GAOT_POPULATION) -> tuple[Operator, ...]:
    """Mutations for an encoding, counted as in `default_crossovers`.

    >>> [(o.name, o.times) for o in default_mutations("float")][:2]
    [('boundary_mutation', 4), ('multi_nonuniform_mutation', 6)]
    """
    if kind == "float":
        return (
            apply(boundary_mutation, times=_scaled(4, population)),
            apply(multi_nonuniform_mutation, times=_scaled(6, population), b=3.0),
            apply(nonuniform_mutation, times=_scaled(4, population), b=3.0),
            apply(uniform_mutation, times=_scaled(4, population)),
        )
    if kind == "binary":
        return (apply(flip_mutation, chance=1.0, rate=0.05),)
    return (
        apply(inversion_mutation, times=_scaled(16, population)),
        apply(shift_mutation, times=_scaled(8, population)),
    )


def _scaled(count: int, population: int) -> int:
    return max(1, round(count * population / GAOT_POPULATION))

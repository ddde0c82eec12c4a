"""A genetic algorithm on tensors, after the GAOT toolbox: float, binary and permutation encodings; it maximises."""

from torchweld.genetic import plot
from torchweld.genetic.algorithm import ga, initialize
from torchweld.genetic.crossover import arithmetic_crossover, heuristic_crossover, simple_crossover
from torchweld.genetic.edges import edge_recombination_crossover
from torchweld.genetic.encodings import Encoding, encoding_of
from torchweld.genetic.failures import EvaluationFailed, Interrupted
from torchweld.genetic.genes import Bounds, Category, Gene, Integer, Real
from torchweld.genetic.mutation import (
    boundary_mutation,
    flip_mutation,
    multi_nonuniform_mutation,
    nonuniform_mutation,
    uniform_mutation,
)
from torchweld.genetic.one_by_one import OneByOne
from torchweld.genetic.operators import default_crossovers, default_mutations
from torchweld.genetic.options import Options
from torchweld.genetic.order_mutations import (
    adjacent_swap_mutation,
    inversion_mutation,
    shift_mutation,
    swap_mutation,
    three_swap_mutation,
)
from torchweld.genetic.orders import (
    cyclic_crossover,
    linear_order_crossover,
    order_based_crossover,
    partially_mapped_crossover,
    single_point_crossover,
    uniform_order_crossover,
)
from torchweld.genetic.polish import Polish, Polished
from torchweld.genetic.population import Evaluated, Population, best_first
from torchweld.genetic.progress import ProgressBar
from torchweld.genetic.result import Best, Result
from torchweld.genetic.selection import norm_geometric, roulette, tournament
from torchweld.genetic.setting import Operator, Setting, apply
from torchweld.genetic.state import State, load_state, save_state
from torchweld.genetic.termination import Terminate

__all__ = [
    "Best",
    "Bounds",
    "Category",
    "Encoding",
    "Evaluated",
    "EvaluationFailed",
    "Gene",
    "Integer",
    "Interrupted",
    "OneByOne",
    "Operator",
    "Options",
    "Polish",
    "Polished",
    "Population",
    "ProgressBar",
    "Real",
    "Result",
    "Setting",
    "State",
    "Terminate",
    "adjacent_swap_mutation",
    "apply",
    "arithmetic_crossover",
    "best_first",
    "boundary_mutation",
    "cyclic_crossover",
    "default_crossovers",
    "default_mutations",
    "edge_recombination_crossover",
    "encoding_of",
    "flip_mutation",
    "ga",
    "heuristic_crossover",
    "initialize",
    "inversion_mutation",
    "linear_order_crossover",
    "load_state",
    "multi_nonuniform_mutation",
    "nonuniform_mutation",
    "norm_geometric",
    "order_based_crossover",
    "partially_mapped_crossover",
    "plot",
    "roulette",
    "save_state",
    "shift_mutation",
    "simple_crossover",
    "single_point_crossover",
    "swap_mutation",
    "three_swap_mutation",
    "tournament",
    "uniform_mutation",
    "uniform_order_crossover",
]

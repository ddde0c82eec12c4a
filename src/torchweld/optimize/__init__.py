"""Classical minimisation: methods and line searches, what critical points and convexity are, pictures of both."""

from torchweld.optimize.convergence import Rate, bowl, convergence
from torchweld.optimize.convexity import (
    Ball,
    Convexity,
    HalfSpaces,
    Quadratic,
    Witness,
    convexity,
    epigraph,
    level_set,
    set_convexity,
)
from torchweld.optimize.critical import Critical, classify, gradients_by_depth
from torchweld.optimize.descent import exponential, piecewise, polynomial
from torchweld.optimize.minimizing import METHODS, Counts, Result, Trajectory, minimize
from torchweld.optimize.problems import PROBLEMS, Problem, problem
from torchweld.optimize.surface import Surface, error_surface

__all__ = [
    "METHODS",
    "PROBLEMS",
    "Ball",
    "Convexity",
    "Counts",
    "Critical",
    "HalfSpaces",
    "Problem",
    "Quadratic",
    "Rate",
    "Result",
    "Surface",
    "Trajectory",
    "Witness",
    "bowl",
    "classify",
    "convergence",
    "convexity",
    "epigraph",
    "error_surface",
    "exponential",
    "gradients_by_depth",
    "level_set",
    "minimize",
    "piecewise",
    "polynomial",
    "problem",
    "set_convexity",
]

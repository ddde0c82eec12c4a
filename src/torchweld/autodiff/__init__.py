"""Automatic differentiation you can see: dual numbers and a tape over one table of primitives."""

from torchweld.autodiff.checking import CheckReport, check
from torchweld.autodiff.derivatives import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from torchweld.autodiff.drawing import draw, svg
from torchweld.autodiff.expression import Expression, assignments, parse
from torchweld.autodiff.operators import OPERATORS, PRIMITIVES
from torchweld.autodiff.tables import tables
from torchweld.autodiff.tracing import Trace, trace

__all__ = [
    "OPERATORS",
    "PRIMITIVES",
    "CheckReport",
    "Expression",
    "Trace",
    "assignments",
    "check",
    "draw",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "parse",
    "svg",
    "tables",
    "trace",
    "value_and_grad",
    "vjp",
]

"""Operators read as algebra: for each node, the local laws by which its value follows from its operands."""

from torchweld.fusion.lift.affine import AFFINE
from torchweld.fusion.lift.constants import constants_of
from torchweld.fusion.lift.local import Apply, LocalLaw, NoCandidate, Recipes, Same, arguments
from torchweld.fusion.lift.nodes import local_laws
from torchweld.fusion.lift.views import SPLITS, VIEWS, slice_of

__all__ = [
    "AFFINE",
    "SPLITS",
    "VIEWS",
    "Apply",
    "LocalLaw",
    "NoCandidate",
    "Recipes",
    "Same",
    "arguments",
    "constants_of",
    "local_laws",
    "slice_of",
]

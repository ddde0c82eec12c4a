"""The local laws of each node of a captured graph."""

from __future__ import annotations

from torch.fx import Node

from torchweld.core import Refusal
from torchweld.fusion.capture import Captured
from torchweld.fusion.lift.affine import AFFINE
from torchweld.fusion.lift.local import LocalLaw, Recipes
from torchweld.fusion.lift.shuffle import shuffle_of
from torchweld.fusion.lift.views import VIEWS
from torchweld.fusion.sizes import dtype_of, shape_of


def local_laws(captured: Captured, constants: Recipes) -> tuple[dict[Node, list[LocalLaw]], dict[Node, str]]:
    """Laws for the nodes that have any, and the reason for those that refuse (a pooling with a changing divisor)."""
    laws: dict[Node, list[LocalLaw]] = {}
    refused: dict[Node, str] = {}
    for node in captured.graph.nodes:
        if node.op != "call_function" or node in captured.pinned or node in constants:
            continue
        dtype = dtype_of(node)
        if shape_of(node) is None or dtype is None or not dtype.is_floating_point:
            continue
        found: list[LocalLaw] = []
        if node.target in VIEWS:
            found += VIEWS[node.target](node)
            if (shuffle := shuffle_of(node, captured.hints)) is not None:
                found.append(shuffle)
        if node.target in AFFINE:
            try:
                found += AFFINE[node.target](node, constants)
            except Refusal as no:
                refused[node] = no.reason
        if any(o in captured.pinned or o in constants for law in found for o in law.operands):
            continue
        if found:
            laws[node] = found
    return laws, refused

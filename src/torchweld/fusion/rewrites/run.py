"""Applies the rewrites to a captured graph: each matches a node, says no with a reason, or replaces it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from torch.fx import Node

from torchweld.core import Refusal
from torchweld.fusion.capture import Captured, copied
from torchweld.fusion.lift import constants_of
from torchweld.fusion.names import module_path
from torchweld.fusion.report import Weld
from torchweld.fusion.rewrites import attention, causal, norm_affine, stacked

REWRITES: tuple[ModuleType, ...] = (attention, causal, stacked, norm_affine)


@dataclass(frozen=True)
class Rewritten:
    """The graph after the rewrites, what was rewritten, and the reasons of those that were refused."""

    captured: Captured
    welds: tuple[Weld, ...]
    refused: Mapping[Node, str]


def rewrite(captured: Captured) -> Rewritten:
    """A copy of the captured graph, rewritten wherever a rewrite matches and its conditions hold."""
    captured = copied(captured)
    constants = constants_of(captured)
    welds: list[Weld] = []
    refused: dict[Node, str] = {}
    for rule in REWRITES:
        for node in list(captured.graph.nodes):
            if node in captured.pinned or node in constants:
                continue
            try:
                found = rule.match(node)
            except Refusal as no:
                refused[node] = no.reason
                continue
            if found is None:
                continue
            refusal: Refusal | None = rule.check(found, constants, captured.state)
            if refusal is not None:
                refused[node] = refusal.reason
                continue
            rule.apply(captured.graph, found)
            welds.append(Weld(module_path(node) or node.name, (module_path(node) or node.name,), (rule.NAME,)))
    if welds:
        captured.graph.eliminate_dead_code()
    return Rewritten(captured, tuple(welds), refused)

"""Why merges that were candidates were not made: a law refused, or the result would have taken longer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.fx import Node

from torchweld.fusion.analyse import Analysis
from torchweld.fusion.names import module_path
from torchweld.fusion.plan import Plan
from torchweld.fusion.report import Declined

aten = torch.ops.aten


def declined(analysis: Analysis, plan: Plan, unlifted: Mapping[Node, str]) -> tuple[Declined, ...]:
    """Refusals at values that the plan makes, and merges that the cost model turned down."""
    found: dict[Declined, None] = {}
    for node, reason in unlifted.items():
        found[Declined(place(node), reason)] = None
    for node, cut in plan.chosen.items():
        if (kept := _kept_norm(node, analysis)) is not None:
            found[Declined(place(node), kept)] = None
        boundaries = [leaf.value for leaf in cut.leaves if analysis.is_affine(leaf.value)]
        if not boundaries and len(cut.leaves) == len(cut.expression.terms if cut.expression else cut.leaves):
            continue  # merged all the way down
        for reason in analysis.refusals.get(node, ()):
            found[Declined(place(node), reason)] = None
        for value in boundaries:
            without = [c for c in analysis.cuts[node] if all(leaf.value is not value for leaf in c.leaves)]
            if without:
                best = min(without, key=lambda c: c.cost)
                now = cut.cost + plan.chosen[value].cost / max(len(value.users), 1)
                if best.cost > now:
                    found[
                        Declined(
                            place(node),
                            f"taking in {place(value)} would take longer: "
                            f"about {best.cost * 1e6:.0f} us instead of {now * 1e6:.0f} us",
                        )
                    ] = None
    return tuple(found)


def _kept_norm(node: Node, analysis: Analysis) -> str | None:
    """Why a batch norm is still a scale and shift of its own, where nothing affine comes before it or after."""
    if node.target is not aten.batch_norm.default:
        return None
    before = node.all_input_nodes[0]
    if analysis.is_affine(before) or any(analysis.is_affine(user) for user in node.users):
        return None  # those who could have merged it say why not
    what = "the model's input" if before.op == "placeholder" else f"{place(before)}, which is no affine map"
    return f"it stays a scale and shift: no affine map reads it, and it reads {what}"


def place(node: Node) -> str:
    """Where a node is, for people: its module's path and its operator."""
    operator = getattr(node.target, "__name__", str(node.target)).split(".")[0]
    path = module_path(node)
    return f"{path} ({operator})" if path else operator

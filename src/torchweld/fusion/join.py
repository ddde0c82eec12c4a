"""Convolutions or linears that read one value, alike but for their channels, become one with a slice for each.

`[A; B] x = [A x; B x]`: exact always. It pays where each alone is small: one launch, and the input is read once (the
1x1 branches of an Inception block, the projections of queries, keys and values). The plan is made first; joins are
laid over it where the cost model sees a gain.
"""

from __future__ import annotations

from dataclasses import replace

from torch.fx import Node

from torchweld.fusion.analyse import Analysis, Cut
from torchweld.fusion.cost import Costs
from torchweld.fusion.expression import Expression, Term
from torchweld.fusion.plan import Join, Member, Plan
from torchweld.fusion.sizes import dtype_of, shape_of
from torchweld.maps import Recipe

LEAST_GAIN = 0.05  # below, what reads the slices may lose more


def joined(plan: Plan, analysis: Analysis, costs: Costs) -> Plan:
    """The plan with its joins; a value that joins is made by its expression and no longer as it was written."""
    groups: dict[object, list[tuple[Node, Cut, Term]]] = {}
    for node, cut in plan.chosen.items():
        spelled = cut if cut.expression is not None else _spelled_out(cut, analysis.cuts[node])
        e = spelled.expression if spelled is not None else None
        if spelled is None or e is None or e.axis is None or any(t.rows != e.channels for t in e.terms):
            continue
        for t in e.terms:
            if _joinable(t):
                groups.setdefault(_kind(t, e, node), []).append((node, spelled, t))
    chosen = dict(plan.chosen)
    joins: dict[tuple[Node, Term], Join] = {}
    for group in groups.values():
        if len(group) < 2 or len({node for node, _, _ in group}) < len(group) or not _pays(group, costs):
            continue
        members: list[Member] = []
        for node, cut, t in group:
            assert cut.expression is not None
            start = members[-1].stop if members else 0
            members.append(Member(node, t, bias_of(cut.expression, t), start))
            chosen[node] = cut
        join = Join(tuple(members))
        joins.update({(m.node, m.term): join for m in members})
    return replace(plan, chosen=chosen, joins=joins, apart=plan.chosen)


def bias_of(e: Expression, t: Term) -> Recipe | None:
    """The part of the expression's bias that a whole term carries: all of it if it is the first that can."""
    first = next((s for s in e.terms if s.rows == e.channels and s.map is not None and not s.map.is_identity), None)
    return e.bias if t is first else None


def _spelled_out(native: Cut, cuts: list[Cut]) -> Cut | None:
    """The cut that says in algebra what the operator as it was written does."""
    same = (c for c in cuts if c.expression is not None and c.leaves == native.leaves)
    return next((c for c in same if c.expression is not None and len(c.expression.terms) == 1), None)


def _joinable(t: Term) -> bool:
    g = t.map.geometry if t.map is not None else None
    return g is not None and g.groups == 1 and not g.transposed and g.in_channels > 1


def _kind(t: Term, e: Expression, node: Node) -> tuple[object, ...]:
    assert t.map is not None
    g = replace(t.map.geometry, out_channels=0)
    return t.leaf, e.axis, g, len(shape_of(node) or ()), dtype_of(node)


def _pays(group: list[tuple[Node, Cut, Term]], costs: Costs) -> bool:
    node, cut, first = group[0]
    assert first.map is not None
    assert cut.expression is not None
    assert cut.expression.axis is not None
    axis = cut.expression.axis
    apart = sum(costs.term(t, axis, n) for n, _, t in group)
    geometry = replace(first.map.geometry, out_channels=sum(t.rows for _, _, t in group))
    whole = replace(first, map=replace(first.map, geometry=geometry))
    return costs.term(whole, axis, node) < (1 - LEAST_GAIN) * apart

"""Abstract interpretation: for every affine value, the few best ways ("cuts") to have it as a sum of maps.

One pass forward. A value's cuts follow from its operands' by its local laws; an operand stands either for itself, as a
leaf, or for one of its own cuts. Kept are the cheapest by area flow (a leaf's cost shared among its readers), the
cheapest that reaches down to non-affine leaves only, and the value as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from torch.fx import Node

from torchweld.core import Refusal
from torchweld.fusion.capture import Captured
from torchweld.fusion.cost import Costs
from torchweld.fusion.expression import Expression, Leaf, Term, bare, merged, ranges
from torchweld.fusion.lift import VIEWS, Apply, LocalLaw, NoCandidate, Same
from torchweld.fusion.sizes import Shape, shape_of

KEPT = 6  # cuts of a value
WIDEST = 12  # operand combinations kept while an operator with many operands is read


@dataclass(frozen=True, eq=False)
class Cut:
    """One way to have a value. `native`: the operator as it was; its expression is None where it has no single one."""

    expression: Expression | None
    leaves: tuple[Leaf, ...]
    cost: float
    flow: float
    native: bool = False


@dataclass(frozen=True)
class Analysis:
    """Cuts of each affine value, and the merges that a law refused, by the node where it was asked."""

    cuts: Mapping[Node, list[Cut]]
    refusals: Mapping[Node, tuple[str, ...]]

    def is_affine(self, node: Node) -> bool:
        return node in self.cuts


def analyse(captured: Captured, laws: Mapping[Node, list[LocalLaw]], costs: Costs) -> Analysis:
    """Cuts for every node that has local laws."""
    return _Pass(captured, laws, costs).run()


def may_be_leaf(node: Node) -> bool:
    """Views are taken of leaves, so they are none themselves: they would crowd out better cuts."""
    return node.target not in VIEWS


class _Pass:
    def __init__(self, captured: Captured, laws: Mapping[Node, list[LocalLaw]], costs: Costs) -> None:
        self.captured, self.laws, self.costs = captured, laws, costs
        self.cuts: dict[Node, list[Cut]] = {}
        self.refusals: dict[Node, dict[str, None]] = {}

    def run(self) -> Analysis:
        for node in self.captured.graph.nodes:
            if node in self.laws:
                self.cuts[node] = self._kept(node, list(self._all(node)))
        return Analysis(self.cuts, {n: tuple(reasons) for n, reasons in self.refusals.items()})

    def _all(self, node: Node) -> Iterator[Cut]:
        shape = shape_of(node)
        assert shape is not None
        for law in self.laws[node]:
            for given in self._combinations(law.operands):
                try:
                    e = self._simplest(law.result(node, shape, given), node)
                except NoCandidate:
                    continue
                except Refusal as no:
                    self.refusals.setdefault(node, {})[no.reason] = None
                    continue
                if not _realisable(e, shape):
                    continue
                if law.name not in ("view", "identity"):
                    e = Expression(e.terms, e.axis, e.channels, e.bias, e.laws | {(law.name, node)})
                cost = self.costs.of(e, node)
                yield Cut(e, e.leaves, cost, cost + sum(map(self._leaf_flow, e.leaves)))
        if may_be_leaf(node):
            yield self._native(node, shape)

    def _native(self, node: Node, shape: Shape) -> Cut:
        """The operator as it was written, on its operands."""
        law = self.laws[node][0]
        operands = tuple(_leaf(o) for o in law.operands)
        try:
            e = law.result(node, shape, tuple(map(bare, operands)))
            cost = self.costs.of(e, node)
        except Refusal:  # it has laws, but not on its operands as they stand
            cost = 0.0
            if isinstance(law, Apply):  # of a width that only this map fixes
                e = Expression((Term(operands[0], law.map),), law.axis, law.map.geometry.out_channels)
                cost = self.costs.of(e, node)
        if isinstance(law, Same):
            cost += self.costs.machine.launch_seconds  # the operand itself costs nothing
        leaves = tuple(dict.fromkeys(operands))
        flow = cost + sum(self._leaf_flow(leaf) for leaf in leaves)
        return Cut(None, leaves, cost, flow, native=True)

    def _combinations(self, operands: tuple[Node, ...]) -> list[tuple[Expression, ...]]:
        """Choices for the operands together, the cheapest by flow where there are many."""
        beams: list[tuple[float, tuple[Expression, ...]]] = [(0.0, ())]
        for o in operands:
            options = self._options(o)
            beams = [(f + g, (*chosen, e)) for f, chosen in beams for g, e in options]
            if len(operands) > 2 and len(beams) > WIDEST:
                beams = sorted(beams, key=lambda b: b[0])[:WIDEST]
        return [chosen for _, chosen in beams]

    def _options(self, operand: Node) -> list[tuple[float, Expression]]:
        own = [(c.flow, c.expression) for c in self.cuts.get(operand, ()) if c.expression is not None]
        if operand not in self.cuts or may_be_leaf(operand) or self._better_mapped(operand):
            own.append((self._leaf_flow(_leaf(operand)), bare(_leaf(operand))))
        return own

    def _better_mapped(self, view: Node) -> bool:
        """Whether the cheapest way to a view's value has maps after the view (a convolution of what was pooled)."""
        best = self.cuts[view][0].expression
        return best is not None and any(t.map is not None and not t.map.is_identity for t in best.terms)

    def _leaf_flow(self, leaf: Leaf) -> float:
        chain = sum(self.costs.view(link) for link in leaf.links)
        if leaf.value not in self.cuts:
            return chain
        best = min(c.flow for c in self.cuts[leaf.value])
        return chain + best / max(len(leaf.value.users), 1)

    def _simplest(self, e: Expression, node: Node) -> Expression:
        """Terms that read one leaf are merged as long as that is exact and costs less."""
        if e.axis is None or len(e.terms) == len(e.leaves):
            return e
        cost = self.costs.of(e, node)
        improved = True
        while improved:
            improved = False
            for i, j in combinations(range(len(e.terms)), 2):
                if e.terms[i].leaf != e.terms[j].leaf:
                    continue
                try:
                    candidate = merged(e, i, j)
                except Refusal as no:
                    self.refusals.setdefault(node, {})[no.reason] = None
                    continue
                if (less := self.costs.of(candidate, node)) < cost:
                    e, cost, improved = candidate, less, True
                    break
        return e

    def _kept(self, node: Node, cuts: list[Cut]) -> list[Cut]:
        best: dict[object, Cut] = {}
        for cut in sorted(cuts, key=lambda c: (c.flow, not c.native)):
            key = (cut.native, cut.leaves, len(cut.expression.terms) if cut.expression else 0)
            best.setdefault(key, cut)
        ranked = list(best.values())
        kept = ranked[:KEPT]
        deepest = [c for c in ranked if not any(leaf.value in self.cuts for leaf in c.leaves)]
        kept += [c for c in (deepest[:1] + [c for c in ranked if c.native]) if c not in kept]
        return kept


def _leaf(node: Node) -> Leaf:
    return Leaf(node, shape_of(node) or ())


def _realisable(e: Expression, shape: Shape) -> bool:
    """Whether the field's modules can compute it: channel ranges that tile, maps on an axis that a module acts on."""
    if e.axis is None:
        return True
    if ranges(e) is None:
        return False
    last = len(shape) - 1
    for t in e.terms:
        assert t.map is not None
        g = t.map.geometry
        on_last = e.axis == last and g.pointwise and g.groups == 1
        as_image = e.axis in (0, 1) and 1 <= last - e.axis <= 3
        if not (g.pointwise and g.per_channel) and not on_last and not as_image:
            return False
    return True

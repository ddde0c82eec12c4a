"""The plan: for each value that must exist, the cut by which it is made, so that the whole costs least.

Values that non-affine nodes read are the roots. A first choice by area flow; then each value in turn takes the cut
that makes the whole cheapest as things stand (exact area: what is used twice is paid once); then elimination moves: all
readers of a value turn to cuts that do without it, together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch.fx import Graph, Node

from torchweld.fusion.analyse import Analysis, Cut
from torchweld.fusion.cost import Costs
from torchweld.fusion.expression import Leaf
from torchweld.fusion.plan import Plan

PASSES = 3


def cover(graph: Graph, analysis: Analysis, costs: Costs) -> Plan:
    """Chooses a cut for every affine value that the graph's other nodes need."""
    return _Cover(graph, analysis, costs).run()


def roots_of(graph: Graph, analysis: Analysis) -> list[Node]:
    """Affine values that the output or a non-affine node reads."""
    needed = {o for n in graph.nodes if not analysis.is_affine(n) for o in n.all_input_nodes}
    return [n for n in graph.nodes if n in needed and analysis.is_affine(n)]


def as_written(analysis: Analysis) -> Plan:
    """Every value by its own operator: the captured graph itself, as a plan."""
    chosen = {
        n: next((c for c in cuts if c.native), None)
        or next(c for c in cuts if c.expression and c.expression.axis is None)
        for n, cuts in analysis.cuts.items()
    }
    return Plan(chosen, 0.0)


class _Cover:
    def __init__(self, graph: Graph, analysis: Analysis, costs: Costs) -> None:
        self.analysis, self.costs = analysis, costs
        self.order = {n: i for i, n in enumerate(graph.nodes)}
        self.roots = roots_of(graph, analysis)
        self.choice = {n: min(cuts, key=lambda c: c.flow) for n, cuts in analysis.cuts.items()}
        self.uses: dict[object, int] = {}

    def run(self) -> Plan:
        for root in self.roots:
            self._take(root)
        for _ in range(PASSES):
            if not (self._refine() | self._eliminate()):
                break
        chosen = {n: self.choice[n] for n in self.analysis.cuts if self.uses.get(n)}
        return Plan(chosen, self._total(chosen))

    def _take(self, node: Node) -> float:
        """One more reader of a value: what it costs, with all that it newly needs."""
        self.uses[node] = self.uses.get(node, 0) + 1
        if self.uses[node] > 1 or not self.analysis.is_affine(node):
            return 0.0
        return self.choice[node].cost + self._take_all(self.choice[node].leaves)

    def _take_all(self, leaves: Iterable[Leaf]) -> float:
        seconds = 0.0
        for leaf in leaves:
            for link in leaf.links:
                self.uses[link] = self.uses.get(link, 0) + 1
                if self.uses[link] == 1:
                    seconds += self.costs.view(link)
            seconds += self._take(leaf.value)
        return seconds

    def _drop(self, node: Node) -> float:
        """One reader less: what is saved."""
        self.uses[node] -= 1
        if self.uses[node] or not self.analysis.is_affine(node):
            return 0.0
        return self.choice[node].cost + self._drop_all(self.choice[node].leaves)

    def _drop_all(self, leaves: Iterable[Leaf]) -> float:
        seconds = 0.0
        for leaf in leaves:
            for link in leaf.links:
                self.uses[link] -= 1
                if not self.uses[link]:
                    seconds += self.costs.view(link)
            seconds += self._drop(leaf.value)
        return seconds

    def _switch(self, node: Node, cut: Cut) -> float:
        """Another cut for a value in use: the change of the total."""
        gained = self._take_all(cut.leaves) + cut.cost
        gained -= self._drop_all(self.choice[node].leaves) + self.choice[node].cost
        self.choice[node] = cut
        return gained

    def _refine(self) -> bool:
        changed = False
        for node in self.analysis.cuts:
            if not self.uses.get(node):
                continue
            before = self.choice[node]
            best, best_change = before, -1e-12
            for cut in self.analysis.cuts[node]:
                if cut is before:
                    continue
                change = self._switch(node, cut)
                self._switch(node, before)
                if change < best_change:
                    best, best_change = cut, change
            if best is not before:
                self._switch(node, best)
                changed = True
        return changed

    def _eliminate(self) -> bool:
        """Single moves get stuck where several readers share a value that none of them alone can free."""
        changed = False
        roots = set(self.roots)
        for node in reversed(list(self.analysis.cuts)):
            if not self.uses.get(node) or node in roots:
                continue
            readers = [n for n in self.analysis.cuts if self.uses.get(n) and _reads(self.choice[n], node)]
            without = {n: [c for c in self.analysis.cuts[n] if not _reads(c, node)] for n in readers}
            if len(readers) < 2 or not all(without.values()):
                continue
            before = {n: self.choice[n] for n in readers}
            change = sum(self._switch(n, min(without[n], key=lambda c: c.flow)) for n in readers)
            if change < -1e-12:
                changed = True
            else:
                for n in reversed(readers):
                    self._switch(n, before[n])
        return changed

    def _total(self, chosen: Mapping[Node, Cut]) -> float:
        links = {link for cut in chosen.values() for leaf in cut.leaves for link in leaf.links}
        return sum(c.cost for c in chosen.values()) + sum(self.costs.view(link) for link in links)


def _reads(cut: Cut, node: Node) -> bool:
    return any(leaf.value is node for leaf in cut.leaves)

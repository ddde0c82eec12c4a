"""Where the boxes of a graph go: layer under layer, few crossings, straight lines.

After Sugiyama, Tagawa and Toda 1981: layers by longest path, long edges cut by invisible boxes, order by barycentres,
then places within a layer by least squares that keep order and distance (isotonic regression, so exactly solved).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchweld.report.graph import DrawnGraph

BOX_HEIGHT, LAYER_GAP, BOX_GAP = 24.0, 16.0, 18.0
_LETTER, _MARGIN, _SWEEPS = 6.9, 22.0, 12
_THREAD = 10.0  # the width kept free for an edge that passes by


@dataclass(frozen=True)
class Placed:
    """Centres and widths of boxes in pixels, edges as chains of points, and the whole picture's size."""

    centres: Mapping[str, tuple[float, float]]
    widths: Mapping[str, float]
    edges: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


def place(graph: DrawnGraph, beside: tuple[DrawnGraph, Placed] | None = None) -> Placed:
    """Places a graph. `beside`: another, already placed; boxes for the same modules are put at the same height.

    >>> from torchweld.report.graph import DrawnNode
    >>> boxes = tuple(DrawnNode(name, "other", name, "", (), False) for name in "abc")
    >>> placed = place(DrawnGraph(boxes, (("a", "b"), ("b", "c"))))
    >>> [placed.centres[name][1] for name in "abc"]
    [12.0, 52.0, 92.0]
    """
    widths = {node.name: _MARGIN + _LETTER * len(node.label) for node in graph.nodes}
    depth = _depths(graph)
    chains, layers = _with_threads(graph, depth)
    widths_all = {name: widths.get(name, _THREAD) for layer in layers for name in layer}
    links = [pair for chain in chains for pair in itertools.pairwise(chain)]
    above, below = _neighbours(links)
    _order(layers, above, below)
    across = _across(layers, above, below, widths_all)
    heights = _heights(graph, layers, depth, beside)
    left = min((across[n] - widths_all[n] / 2 for n in across), default=0.0)
    right = max((across[n] + widths_all[n] / 2 for n in across), default=0.0)
    level = {name: i for i, layer in enumerate(layers) for name in layer}
    spot = {name: (across[name] - left, heights[level[name]]) for name in across}
    return Placed(
        {name: spot[name] for name in widths},
        widths,
        tuple(tuple(spot[name] for name in chain) for chain in chains),
        right - left,
        max(heights, default=0.0) + BOX_HEIGHT / 2,
    )


def _depths(graph: DrawnGraph) -> dict[str, int]:
    depth = {node.name: 0 for node in graph.nodes}
    into: dict[str, list[str]] = {name: [] for name in depth}
    for source, target in graph.edges:
        into[target].append(source)
    for node in graph.nodes:  # in topological order
        depth[node.name] = 1 + max((depth[source] for source in into[node.name]), default=-1)
    return depth


def _with_threads(graph: DrawnGraph, depth: Mapping[str, int]) -> tuple[list[list[str]], list[list[str]]]:
    """Edges as chains through each layer, and the layers with the invisible boxes of long edges."""
    layers: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for name, level in depth.items():
        layers[level].append(name)
    chains = []
    for i, (source, target) in enumerate(graph.edges):
        chain = [source]
        for level in range(depth[source] + 1, depth[target]):
            chain.append(f"{i}:{level}")
            layers[level].append(chain[-1])
        chains.append([*chain, target])
    return chains, layers


def _neighbours(links: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for source, target in links:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    return above, below


def _order(layers: list[list[str]], above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    """Sorts each layer by the mean place of its neighbours, down and up in turns; the best order seen is kept."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for i in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            other = {name: j for j, name in enumerate(layers[i - 1 if down else i + 1])}
            centres = {}
            for j, name in enumerate(layers[i]):
                spots = [other[n] for n in near.get(name, ())]
                centres[name] = sum(spots) / len(spots) if spots else j
            layers[i].sort(key=centres.__getitem__)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _crossings(layers: Sequence[Sequence[str]], below: Mapping[str, list[str]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(layers):
        spot = {name: j for j, name in enumerate(lower)}
        ends = [sorted(spot[n] for n in below.get(name, ())) for name in upper]
        seen: list[int] = []
        for group in ends:
            count += sum(1 for end in group for before in seen if before > end)
            seen += group
    return count


def _across(
    layers: list[list[str]],
    above: Mapping[str, list[str]],
    below: Mapping[str, list[str]],
    widths: Mapping[str, float],
) -> dict[str, float]:
    """Horizontal centres: each as near the mean of its neighbours' as its own neighbours in the layer allow."""
    across: dict[str, float] = {}
    for layer in layers:
        across |= zip(layer, _apart([0.0] * len(layer), _distances(layer, widths)), strict=True)
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = []
            for name in layer:
                near = (above if down else below).get(name) or [name]
                wanted.append(sum(across[n] for n in near) / len(near))
            across |= zip(layer, _apart(wanted, _distances(layer, widths)), strict=True)
    return across


def _distances(layer: Sequence[str], widths: Mapping[str, float]) -> list[float]:
    return [(widths[a] + widths[b]) / 2 + BOX_GAP for a, b in itertools.pairwise(layer)]


def _apart(wanted: Sequence[float], distances: Sequence[float]) -> list[float]:
    """The places nearest to `wanted`, in squares, of which each is at least its distance beyond the one before."""
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, int]] = []  # mean and size of runs that touch
    for want, offset in zip(wanted, offsets, strict=False):
        mean, size = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]


def _heights(
    graph: DrawnGraph,
    layers: Sequence[Sequence[str]],
    depth: Mapping[str, int],
    beside: tuple[DrawnGraph, Placed] | None,
) -> list[float]:
    step = BOX_HEIGHT + LAYER_GAP
    plain = [BOX_HEIGHT / 2 + step * i for i in range(len(layers))]
    if beside is None or not layers:
        return plain
    other, placed = beside
    places: dict[str, list[float]] = {}
    for node in other.nodes:
        places.setdefault(node.where or node.kind, []).append(placed.centres[node.name][1])
    wanted: list[list[float]] = [[] for _ in layers]
    for node in graph.nodes:
        keys = node.sources or ((node.kind,) if node.kind in ("input", "output") else ())
        spots = [y for key in keys for y in places.get(key, ())]
        if spots:
            wanted[depth[node.name]].append(sum(spots) / len(spots))
    targets = [sum(w) / len(w) if w else None for w in wanted]
    filled: list[float] = []
    for target in targets:
        filled.append(target if target is not None else (filled[-1] + step if filled else BOX_HEIGHT / 2))
    aligned = _apart(filled, [step] * (len(layers) - 1))
    top = min(0.0, aligned[0] - BOX_HEIGHT / 2)
    return [y - top for y in aligned]

"""A trace as a drawn graph in SVG: values as boxes in layers, left to right, each with primal, tangents and adjoint."""

from __future__ import annotations

import os
from html import escape
from itertools import pairwise

from torchweld.autodiff.tables import shown
from torchweld.autodiff.tracing import Step, Trace
from torchweld.core import written_whole

_WAYPOINT = (0.0, 10.0)
_LINE, _GAP_X, _GAP_Y, _MARGIN, _CHARACTER, _HEAD = 17, 56, 22, 24, 7.3, 64
_COLOURS = {"ink": "#1f2933", "input": "#e3f0fb", "inner": "#ffffff", "output": "#fdeedb", "edge": "#8a97a5",
            "tangent": "#1769aa", "adjoint": "#b04a12"}  # fmt: skip


def svg(trace: Trace, digits: int = 4) -> str:
    """The graph of `trace` as the text of an SVG picture."""
    texts = {s.name: _lines(s, trace, digits) for s in trace.steps}
    sizes = {n: (max(len(t) for t, _ in ls) * _CHARACTER + 22, len(ls) * _LINE + 14.0) for n, ls in texts.items()}
    layers, routes = _layers(trace)
    x, boxes = float(_MARGIN), {}
    tallest = max(sum(sizes.get(n, _WAYPOINT)[1] + _GAP_Y for n in layer) for layer in layers)
    for layer in layers:
        column = max(sizes.get(n, _WAYPOINT)[0] for n in layer)
        y = _HEAD + (tallest - sum(sizes.get(n, _WAYPOINT)[1] + _GAP_Y for n in layer)) / 2
        for name in layer:
            width, height = sizes.get(name, (column, _WAYPOINT[1]))
            boxes[name] = (x + (column - width) / 2, y, width, height)
            y += height + _GAP_Y
        x += column + _GAP_X
    width, height = x - _GAP_X + _MARGIN, _HEAD + tallest + _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12">',
            f'<rect width="100%" height="100%" fill="#f7f9fb"/>{_legend()}',
            *(_edge([boxes[n] for n in route]) for route in routes),
            *(_box(s, trace, texts[s.name], boxes[s.name]) for s in trace.steps),
            "</svg>\n",
        ]
    )


def draw(trace: Trace, target: str | os.PathLike[str], digits: int = 4) -> None:
    """Write the picture of `trace` to the SVG file `target`."""
    with written_whole(target) as path:
        path.write_text(svg(trace, digits), encoding="utf-8")


def _lines(step: Step, trace: Trace, digits: int) -> list[tuple[str, str]]:
    """Text and colour of each line in a value's box."""
    head = step.name if step.operation == "input" else f"{step.name} = {step.operation}"
    tangents = [
        (f"d/d{key} {shown(step.tangents[key], digits)}" if key not in ("ones", "direction")
         else f"tangent {shown(step.tangents[key], digits)}", "tangent")
        for key in trace.directions
    ]  # fmt: skip
    return [(head, "ink"), (shown(step.primal, digits), "ink"), *tangents,
            (f"adjoint {shown(step.adjoint, digits)}", "adjoint")]  # fmt: skip


def _layers(trace: Trace) -> tuple[list[list[str]], list[list[str]]]:
    """Names by layer and the route of each edge, from its source through waypoints in the layers it passes.

    A value's layer is its longest path from an input; a layer is ordered by its sources' mean position.
    """
    depth: dict[str, int] = {}
    for s in trace.steps:
        depth[s.name] = 1 + max((depth[i] for i in s.inputs), default=-1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    sources: dict[str, list[str]] = {}
    routes = []
    for s in trace.steps:
        layers[depth[s.name]].append(s.name)
        sources.setdefault(s.name, [])
        for source in dict.fromkeys(s.inputs):
            route = [source]
            for level in range(depth[source] + 1, depth[s.name]):
                waypoint = f"{source} to {s.name} at {level}"
                layers[level].append(waypoint)
                sources[waypoint] = [route[-1]]
                route.append(waypoint)
            sources[s.name].append(route[-1])
            routes.append([*route, s.name])
    rank: dict[str, float] = {}
    for layer in layers:
        layer.sort(key=lambda n: sum(rank[i] for i in sources[n]) / len(sources[n]) if sources[n] else 0.0)
        rank.update({name: (i + 0.5) / len(layer) for i, name in enumerate(layer)})
    return layers, routes


_Box = tuple[float, float, float, float]  # left, top, width, height


def _edge(boxes: list[_Box]) -> str:
    path = ""
    for (left, top, width, height), (x2, top2, _, height2) in pairwise(boxes):
        x1, y1, y2 = left + width, top + height / 2, top2 + height2 / 2
        bend = max((x2 - x1) / 2, 20)
        path += f"{'L' if path else 'M'}{x1:.1f},{y1:.1f} "
        path += f"C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f} "
    return (
        f'<path d="{path}" fill="none" stroke="{_COLOURS["edge"]}" stroke-width="1.5"/>'
        f'<path d="M{x2:.1f},{y2:.1f} l-8,-4 v8 z" fill="{_COLOURS["edge"]}"/>'
    )


def _box(step: Step, trace: Trace, lines: list[tuple[str, str]], box: _Box) -> str:
    x, y, width, height = box
    kind = "input" if step.operation == "input" else "output" if step is trace.steps[-1] else "inner"
    rect = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{_COLOURS[kind]}" '
        f'stroke="{_COLOURS["ink"]}" stroke-width="1"/>'
    )
    texts = [
        f'<text x="{x + 11:.1f}" y="{y + 19 + i * _LINE:.1f}" fill="{_COLOURS[colour]}"'
        f"{' font-weight=' + chr(34) + 'bold' + chr(34) if i == 0 else ''}>{escape(text)}</text>"
        for i, (text, colour) in enumerate(lines)
    ]
    return rect + "".join(texts)


def _legend() -> str:
    parts = (("value", "ink"), ("forward: tangent", "tangent"), ("reverse: adjoint of the result", "adjoint"))
    spans = "".join(
        f'<tspan fill="{_COLOURS[c]}" dx="{0 if i == 0 else 22}">{escape(t)}</tspan>' for i, (t, c) in enumerate(parts)
    )
    return f'<text x="{_MARGIN}" y="34">{spans}</text>'

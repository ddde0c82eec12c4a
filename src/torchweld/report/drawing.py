"""A placed graph as SVG; colours come from the page's style sheet, by the kind of box."""

from __future__ import annotations

from html import escape

from torchweld.report.graph import DrawnGraph
from torchweld.report.layout import BOX_HEIGHT, Placed

_EDGE = 8.0


def svg(graph: DrawnGraph, placed: Placed, name: str) -> str:
    """The picture; `name` is read out by screen readers. Boxes carry the modules they stand for in `data-sources`.

    >>> from torchweld.report.layout import place
    >>> empty = DrawnGraph((), ())
    >>> svg(empty, place(empty), "nothing").startswith('<svg')
    True
    """
    width, height = placed.width + 2 * _EDGE, placed.height + 2 * _EDGE
    parts = [
        f'<svg class="graph" role="img" aria-label="{escape(name)}" xmlns="http://www.w3.org/2000/svg" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="{-_EDGE} {-_EDGE} {width:.1f} {height:.1f}">'
    ]
    parts += [f'<path class="edge" d="{_path(points)}"/>' for points in placed.edges]
    for node in graph.nodes:
        x, y = placed.centres[node.name]
        w = placed.widths[node.name]
        title = f"{node.where or node.name}" + (
            f" replaces {', '.join(s for s in node.sources if s != node.where)}" if node.welded else ""
        )
        parts.append(
            f'<g class="box {node.kind}{" welded" if node.welded else ""}" '
            f'data-sources="{escape(" ".join(node.sources))}"><title>{escape(title)}</title>'
            f'<rect x="{x - w / 2:.1f}" y="{y - BOX_HEIGHT / 2:.1f}" width="{w:.1f}" height="{BOX_HEIGHT}" rx="5"/>'
            f'<text x="{x:.1f}" y="{y + 4:.1f}">{escape(node.label)}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _path(points: tuple[tuple[float, float], ...]) -> str:
    """From box to box, sideways only between layers, so that a long edge passes boxes straight."""
    (x, y), *others = points
    y += BOX_HEIGHT / 2
    path = f"M{x:.1f} {y:.1f}"
    for next_x, centre in others:
        next_y = centre - BOX_HEIGHT / 2
        middle = (y + next_y) / 2
        path += f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, centre + BOX_HEIGHT / 2
        if (next_x, centre) != points[-1]:
            path += f"V{y:.1f}"
    return path

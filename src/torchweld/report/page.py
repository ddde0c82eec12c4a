"""`report.json`'s content as one self-contained HTML page, which needs neither network nor server.

Each section appears if its part of the content is there: `training`, `stages`, `fusion`, `graphs`, `benchmark`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from torchweld.core import written_whole
from torchweld.deploy import StageSetting
from torchweld.report import figures
from torchweld.report.drawing import svg
from torchweld.report.graph import DrawnGraph, DrawnNode
from torchweld.report.layout import place


def write_page(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes the page, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(render(content), encoding="utf-8")


def render(content: Mapping[str, Any]) -> str:
    """The page as text. `content` is what `report.json` holds.

    >>> "<title>nothing yet</title>" in render({"title": "nothing yet"})
    True
    """
    environment = Environment(
        loader=PackageLoader("torchweld.report", "page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"error": _error, "count": _count, "ms": _ms, "threads": _threads, "setting": _setting}
    style, script = (_text(name) for name in ("page.css", "page.js"))
    plots = _figures(content)
    drawings = _drawings(content["graphs"]) if "graphs" in content else {}
    return environment.get_template("page.html").render(
        content=content,
        tiles=_tiles(content),
        drawings=drawings,
        figures=Markup(_for_script(plots)),
        plotly=Markup(get_plotlyjs() if plots else ""),
        style=Markup(style),
        script=Markup(script),
    )


def _figures(content: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, go.Figure] = {}
    if "training" in content:
        history = content["training"]["history"]
        made |= {"losses": figures.losses(history), "accuracies": figures.accuracies(history)}
    if "stages" in content:
        made["stages"] = figures.stage_bars(content["stages"]["rows"])
    if "benchmark" in content:
        made["latency"] = figures.latency_bars(content["benchmark"]["timings"])
    return {name: json.loads(figure.to_json()) for name, figure in made.items()}


def _drawings(graphs: Mapping[str, Any]) -> dict[str, Markup]:
    """Both graphs, the second beside the first: what was welded stands at the height of what it was welded from."""
    before, after = (_graph(graphs[name]) for name in ("before", "after"))
    placed = place(before)
    return {
        "before": Markup(svg(before, placed, "the network before welding")),
        "after": Markup(svg(after, place(after, beside=(before, placed)), "the network after welding")),
    }


def _graph(data: Mapping[str, Any]) -> DrawnGraph:
    nodes = tuple(DrawnNode(**{**node, "sources": tuple(node["sources"])}) for node in data["nodes"])
    return DrawnGraph(nodes, tuple((source, target) for source, target in data["edges"]))


def _tiles(content: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The figures to see first: value, what it is, what it is to be compared with."""
    tiles = []
    if content.get("training"):
        last = content["training"]["history"][-1]
        tiles.append((f"{last['held_out_accuracy']:.1%}", "right, held out", f"after {last['epoch']} epochs"))
    if content.get("fusion"):
        before, after = content["fusion"]["before"], content["fusion"]["after"]
        certificate = content["fusion"]["certificate"]
        tiles.append(
            (f"{before['convs']} → {after['convs']}", "convolutions", f"norms {before['norms']} → {after['norms']}")
        )
        tiles.append(
            (_error(certificate["twin_error"]), "error of the algebra", f"bound {_error(certificate['twin_bound'])}")
        )
    if content.get("benchmark") and content["benchmark"]["timings"]:
        best = max(content["benchmark"]["timings"], key=lambda timing: timing["speedup"])
        tiles.append(
            (f"×{best['speedup']:.2f}", "faster", f"{best['engine']}, {_threads(content['benchmark']['threads'])}")
        )
    return tiles


def _text(name: str) -> str:
    return resources.files("torchweld.report").joinpath("page", name).read_text(encoding="utf-8")


def _for_script(data: Any) -> str:
    """JSON that may stand inside a script element, whatever names it holds."""
    return json.dumps(data).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _setting(value: Mapping[str, Any]) -> str:
    return str(StageSetting(**value))


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")


def _count(value: float) -> str:
    """12,345 in full; from a million on in three digits with a unit."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"

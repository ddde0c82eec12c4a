"""Plotly figures of what `report.json` holds. Paper and text have no colour here: the page gives them theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from torchweld.deploy import StageSetting

NATIVE, THREE, WELDED = "#7f8ea3", "#4c8bd6", "#e8702a"
_HEIGHT = 300


def losses(history: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Mean cross-entropy by epoch, on a logarithmic axis, in training and held out."""
    return _curves(history, ("train_loss", "held_out_loss"), "loss (nats, log scale)", log=True)


def accuracies(history: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Share of right answers by epoch, in training and held out."""
    figure = _curves(history, ("train_accuracy", "held_out_accuracy"), "right answers", log=False)
    lowest = min((min(r["train_accuracy"], r["held_out_accuracy"]) for r in history[1:]), default=0.0)
    figure.update_yaxes(tickformat=".0%", range=[max(0.0, lowest - 0.03), 1.005])
    return figure


def stage_bars(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Times of the three stages, relative to the native block's, for each setting."""
    names = [str(StageSetting(**row["setting"])) for row in rows]
    figure = go.Figure()
    for key, label, colour in (
        ("native_ms", "native", NATIVE),
        ("three_ms", "three convs", THREE),
        ("one_ms", "one conv", WELDED),
    ):
        share = [row[key] / row["native_ms"] for row in rows]
        text = [f"{row[key]:.2f} ms" for row in rows]
        figure.add_bar(
            x=names, y=share, name=label, marker_color=colour, text=text, textposition="none",
            hovertemplate="%{text}<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.update_yaxes(title="time, native = 1")
    return _finished(figure)


def latency_bars(timings: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Median latency of native and fused for each engine, with quartiles."""
    figure = go.Figure()
    engines = [timing["engine"] for timing in timings]
    for form, colour in (("native", NATIVE), ("fused", WELDED)):
        measured = [timing[form] for timing in timings]
        medians = [m["median_ms"] for m in measured]
        figure.add_bar(
            x=engines, y=medians, name=form, marker_color=colour,
            error_y={
                "type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": "#9aa3af",
                "array": [m["three_quarters_ms"] - m["median_ms"] for m in measured],
                "arrayminus": [m["median_ms"] - m["quarter_ms"] for m in measured],
            },
            hovertemplate="%{y:.3f} ms<extra>" + form + "</extra>",
        )  # fmt: skip
    figure.update_yaxes(title="median ms", rangemode="tozero")
    return _finished(figure)


def _curves(history: Sequence[Mapping[str, Any]], keys: tuple[str, str], title: str, log: bool) -> go.Figure:
    figure = go.Figure()
    epochs = [record["epoch"] for record in history]
    for key, name, colour in zip(keys, ("training", "held out"), (NATIVE, WELDED), strict=True):
        values = [record[key] for record in history]
        figure.add_scatter(x=epochs, y=values, name=name, mode="lines+markers", line_color=colour, marker_size=5)
    figure.update_yaxes(title=title, type="log" if log else "linear", dtick=1 if log else None)
    figure.update_xaxes(title="epoch")
    return _finished(figure)


def _finished(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        template="none", height=_HEIGHT, margin={"l": 62, "r": 16, "t": 30, "b": 46}, bargap=0.35, bargroupgap=0.08,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.14},
    )  # fmt: skip
    figure.update_xaxes(showgrid=False, zeroline=False, automargin=True)
    figure.update_yaxes(zeroline=False, automargin=True)
    return figure

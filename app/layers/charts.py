"""Draw charts of one quantized layer. Pure: values in, Plotly figures out."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from app.look.charts import DASHES, MARGIN, SYMBOLS, colours, ink
from quant.analysis.anatomy import Side
from quant.analysis.sqnr_by_width import SqnrByWidth


def spread(side: Side, label: str, dark: bool) -> go.Figure:
    """Count values before and after quantization, with the quantizer's staircase over them."""
    blue, red, *_ = colours(dark)
    figure = go.Figure([_bars("before", side, blue, 0.5), _bars("after", side, red, 0.75)])
    stairs = go.Scatter(
        name="quantizer",
        x=side.x,
        y=side.stairs,
        yaxis="y2",
        mode="lines",
        line={"color": ink(dark), "width": 1.5, "shape": "hv"},
        hovertemplate="%{x:.3g} becomes %{y:.3g}<extra></extra>",
    )
    figure.add_trace(stairs)
    right = {"overlaying": "y", "side": "right", "showgrid": False, "zeroline": False}
    figure.update_layout(
        height=300,
        margin=MARGIN,
        barmode="overlay",
        bargap=0,
        legend={"orientation": "h", "y": 1.15},
        yaxis={"type": "log", "title": "values", "dtick": 1, "exponentformat": "power"},
        yaxis2={"title": "becomes", "tickmode": "auto", "nticks": 6, **right},
    )
    figure.update_xaxes(title=f"{label}, in steps" if side.in_steps else label)
    return figure


def _bars(name: str, side: Side, colour: str, opacity: float) -> go.Bar:
    counts = getattr(side, name)
    return go.Bar(
        name=name,
        x=(side.edges[:-1] + side.edges[1:]) / 2,
        y=np.where(counts > 0, counts, np.nan),
        marker={"color": colour, "line": {"width": 0}},
        opacity=opacity,
        hovertemplate=f"{name} %{{x:.3g}}<br>%{{y:,}} values<extra></extra>",
    )


def by_width(sqnr: SqnrByWidth, name: str, labels: tuple[str, str, str], dark: bool) -> go.Figure:
    """Plot one layer's SQNR over the widths: its weights alone, its input alone, both."""
    figure, errors = go.Figure(), sqnr.errors[sqnr.names.index(name)]
    for number, (label, row) in enumerate(zip(labels, errors, strict=True)):
        colour = colours(dark)[number]
        line = go.Scatter(
            name=label,
            x=sqnr.widths,
            y=np.where(np.isfinite(row), row, np.nan),
            mode="lines+markers",
            line={"color": colour, "dash": DASHES[number]},
            marker={"symbol": SYMBOLS[number], "size": 8},
            hovertemplate="%{x} bits: %{y:.1f} dB<extra>" + label + "</extra>",
        )
        figure.add_trace(line)
    figure.update_layout(height=300, margin=MARGIN, legend={"orientation": "h", "y": 1.15})
    figure.update_yaxes(title="SQNR (dB)")
    figure.update_xaxes(title="bits", dtick=1)
    return figure

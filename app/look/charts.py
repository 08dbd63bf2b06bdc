"""Colours, symbols and words that all charts share. Pure.

Plotly draws what is built anew each time. Where only the table changes, a chart is Vega-Lite,
written by `altair_charts`, and the browser redraws it in place. The bars that follow the budget
slider are the slider's own drawing.
"""

import numpy as np
import plotly.graph_objects as go

from app.look import units
from app.text import for_chart
from lrp.engine.layers import Layer
from quant.report.drawing.colours import DARK, INK, LIGHT
from quant.report.layers import KINDS

LIGHT_KINDS, DARK_KINDS = ["#0072b2", "#d55e00", "#009e73"], ["#56b4e9", "#e8743b", "#2bbf93"]
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
CHART_CONFIG = {"displaylogo": False, "showSendToCloud": False}
MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


def layer_facts(layer: Layer) -> str:
    """Return in words what a layer is, and what it has and does."""
    weights = f"{units.large(layer.parameters)} weights, " if layer.parameters else ""
    kind = KINDS[layer.kind].capitalize()
    return f"{kind}, {weights}{units.large(layer.macs)} multiply-adds an image."


def colours(dark: bool) -> tuple[str, ...]:
    """Return the page's categories, told apart by every eye."""
    return DARK if dark else LIGHT


def line(
    number: int, name: str, x: np.ndarray, y: np.ndarray, hover: str, dark: bool
) -> go.Scatter:
    """Draw a line with marks, told from others of a chart by its number."""
    palette, name = colours(dark), for_chart(name)
    return go.Scatter(
        name=name,
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": palette[number % len(palette)], "dash": DASHES[number % len(DASHES)]},
        marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 7},
        hovertemplate=f"{hover}<extra>{name}</extra>",
    )


def ink(dark: bool) -> str:
    """Return the colour of lines and text."""
    return INK[dark]

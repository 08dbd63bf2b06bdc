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

KINDS = {"linear": "linear layer", "matmul": "attention product", "conv2d": "convolution"}
# Cividis, cut where it would melt into the page: ordered for every kind of colour vision.
LIGHT_BITS = ["#00224e", "#26416e", "#4f576c", "#737475", "#989067", "#bfab54", "#dcc437"]
DARK_BITS = ["#3f5a8c", "#5a6684", "#757779", "#928c73", "#b4a369", "#d6bc55", "#fee838"]
LIGHT_KINDS, DARK_KINDS = ["#0072b2", "#d55e00", "#009e73"], ["#56b4e9", "#e8743b", "#2bbf93"]
# Okabe and Ito's colours as in the theme; dashes and symbols differ too, for every eye.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b8609a", "#b87a00", "#3596d4", "#5c6673")
DARK = ("#56b4e9", "#e8743b", "#2bbf93", "#cc79a7", "#e69f00", "#f0e442", "#9aa5b1")
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
    return "#e6ebf2" if dark else "#1b2430"

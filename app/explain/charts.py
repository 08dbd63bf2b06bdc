"""Draw charts of one image's relevance. Pure: values in, Plotly figures out."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.explain.conservation import Conservation
from app.look.charts import MARGIN, colours, line
from app.work.explanations import Curves
from lrp.engine.names import number_of

MANY = 10  # numbers on an axis
FOR_AGAINST = {True: ("#e08a75", "#6db1dd"), False: ("#c4513f", "#2f7fb8")}  # by dark


def histogram(values: np.ndarray, unit: str, dark: bool, bins: int = 41) -> go.Figure:
    """Count relevance values, on a logarithmic scale: most are next to nothing."""
    peak = float(np.abs(values).max()) or 1.0
    counts, edges = np.histogram(values, bins=bins, range=(-peak, peak))
    middles = (edges[:-1] + edges[1:]) / 2
    support, against = FOR_AGAINST[dark]
    figure = go.Figure(
        go.Bar(
            x=middles,
            y=counts,
            marker_color=[support if middle > 0 else against for middle in middles],
            hovertemplate=f"relevance %{{x:.2g}}<br>%{{y:,}} {unit}<extra></extra>",
        )
    )
    figure.update_layout(height=260, bargap=0.05, margin=MARGIN)
    figure.update_yaxes(type="log", title=unit, dtick=1)
    figure.update_xaxes(title="relevance")
    return figure


def remaining(found: Conservation, chosen: str, dark: bool) -> go.Figure:
    """Plot what is left of the relevance, from the pixels on the left to the class."""
    places = list(reversed(found.left))
    heights = [100 * found.left[place] for place in places]
    # Of many blocks not all have room for their number; the ends always have.
    step = -(-len(places) // MANY)
    shown = [*places[:-step:step], places[-1]]
    colour = colours(dark)[0]
    sizes = [13 if place == chosen else 7 for place in places]
    figure = go.Figure(
        go.Scatter(
            x=places,
            y=heights,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": sizes, "color": colour},
            hovertemplate="%{x}<br>%{y:.1f} % of the start<extra></extra>",
        )
    )
    figure.add_hline(y=100, line={"width": 1, "dash": "dot"}, opacity=0.5)
    figure.update_layout(height=300, margin=MARGIN)
    figure.update_yaxes(title="% of the start", rangemode="tozero")
    figure.update_xaxes(
        ticktext=[number_of(place) or place for place in shown],
        tickvals=shown,
        tickangle=0,
        tickfont={"size": 11},
        title="input of block",
    )
    return figure


def deletion(curves: Mapping[str, Curves], dark: bool) -> go.Figure:
    """Plot the class's probability as cells go: most relevant first beside least relevant first."""
    titles = ("most relevant deleted first", "least relevant deleted first")
    figure = make_subplots(
        cols=2, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04
    )
    for number, (name, found) in enumerate(curves.items()):
        for column, heights in enumerate((found.morf, found.lerf), 1):
            hover = "%{y:.1f} % at %{x:.0f} % deleted"
            curve = line(number, name, 100 * found.deleted, 100 * heights, hover, dark)
            curve.update(legendgroup=name, showlegend=column == 1)
            figure.add_trace(curve, row=1, col=column)
    figure.update_layout(
        height=360, margin={**MARGIN, "t": 30}, legend={"orientation": "h", "y": -0.25}
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title="probability of the class (%)", col=1)
    figure.update_xaxes(title="deleted (%)")
    return figure

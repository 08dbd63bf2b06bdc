"""Draw charts of quantized layers. Pure: values in, Plotly figures or Vega-Lite out.

A Vega-Lite specification is the same for every table, so that a moving slider redraws at once.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.look.altair_charts import (
    CHARTS_KEPT,
    ROWS,
    SWATCHES,
    figures,
    outline,
    over_blocks,
    pickable,
    specification,
)
from app.look.charts import DARK_KINDS, LIGHT_KINDS, MARGIN, colours, ink, line
from lrp.engine.layers import Layer
from lrp.engine.names import is_sum
from quant.analysis.anatomy import Histogram
from quant.analysis.clipping import LIMITS, Clipping
from quant.analysis.layer_errors import SqnrByWidth
from quant.report.drawing.colours import DARK_BITS, LIGHT_BITS

SUM, NORM = "residual sum", "LayerNorm output"
TOP, BOTTOM = 50.0, 5.0  # dB, where the strip's colours end


def spread(side: Histogram, label: str, dark: bool) -> go.Figure:
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
    figure.update_xaxes(title=f"{label}, in {side.unit}" if side.unit else label)
    return figure


def _bars(name: str, side: Histogram, colour: str, opacity: float) -> go.Bar:
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
        shown = np.where(np.isfinite(row), row, np.nan)
        hover = "%{x} bits: %{y:.1f} dB"
        figure.add_trace(line(number, label, np.array(sqnr.widths), shown, hover, dark))
    figure.update_layout(height=300, margin=MARGIN, legend={"orientation": "h", "y": 1.15})
    figure.update_yaxes(title="SQNR (dB)")
    figure.update_xaxes(title="bits", dtick=1)
    return figure


def strip_table(
    layers: Sequence[Layer], sqnr: SqnrByWidth, kind: int, chosen: str | None
) -> pd.DataFrame:
    """Return one row a layer and width; what is beyond the colours is drawn as their ends."""
    where = {name: i for i, name in enumerate(sqnr.names)}
    rows = [
        {
            "layer": layer.name,
            "bits": width,
            "SQNR": float(np.clip(error, BOTTOM, TOP)),
            "left": place,
            "right": place + 1,
            "low": width - 0.5,
            "high": width + 0.5,
            "chosen": layer.name == chosen,
        }
        for place, layer in enumerate(layers)
        for width, error in zip(sqnr.widths, sqnr.errors[where[layer.name], kind], strict=True)
    ]
    return pd.DataFrame(rows)


@lru_cache(CHARTS_KEPT)
def strip_spec(layers: tuple[Layer, ...], dark: bool) -> dict[str, Any]:
    """Specify a heatmap of SQNR by layer and width; a click chooses a layer."""
    palette = DARK_BITS if dark else LIGHT_BITS
    domain = np.linspace(BOTTOM, TOP, len(palette)).tolist()
    legend = alt.Legend(title="SQNR (dB)", orient="right", gradientLength=160)
    widths = alt.Axis(title="bits", values=list(range(2, 9)), grid=False, ticks=False)
    cells = (
        pickable(layers)
        .mark_rect(cursor="pointer", stroke=ink(dark))
        .encode(
            y=alt.Y("low:Q", axis=widths).scale(domain=[1.5, 8.5], nice=False, zero=False),
            y2="high",
            color=alt.Color("SQNR:Q", legend=legend).scale(
                domain=domain, range=palette, clamp=True, interpolate="rgb"
            ),
            strokeWidth=outline(1.5),
            tooltip=["layer:N", "bits:Q", *figures(".1f", "SQNR")],
        )
    )
    return over_blocks(layers, [cells], 230, dark)


def stream_table(errors: Mapping[str, float], bits: int) -> pd.DataFrame:
    """Return one row a residual sum or LayerNorm output, with its SQNR in dB."""
    return pd.DataFrame(
        {
            "name": list(errors),
            "kind": [SUM if is_sum(name) else NORM for name in errors],
            "bits": bits,
            "SQNR": list(errors.values()),
            "left": [place + 0.1 for place in range(len(errors))],
            "right": [place + 0.9 for place in range(len(errors))],
        }
    )


@lru_cache(CHARTS_KEPT)
def stream_spec(count: int, dark: bool) -> dict[str, Any]:
    """Specify bars of the SQNR of so many residual sums and LayerNorm outputs."""
    axis = alt.Axis(title="in the order they run", ticks=False, labels=False, grid=False)
    kinds = alt.Scale(domain=[SUM, NORM], range=(DARK_KINDS if dark else LIGHT_KINDS)[:2])
    bars = ROWS.mark_bar().encode(
        x=alt.X("left:Q", axis=axis).scale(domain=[0, count], nice=False),
        x2="right",
        y=alt.Y("SQNR:Q").axis(title="SQNR (dB)", tickCount=5),
        y2=alt.datum(0),
        color=alt.Color("kind:N", legend=SWATCHES, scale=kinds),
        tooltip=["name:N", "kind:N", "bits:Q", *figures(".1f", "SQNR")],
    )
    return specification(alt.layer(bars, height=200))


def range_table(found: Clipping, limit: float) -> pd.DataFrame:
    """Return one row a channel, by the width of its quantizer: its range and what is covered."""
    low, high, changed = found.covered(limit)
    order = np.argsort(found.channels.scale.numpy(), kind="stable")
    return pd.DataFrame(
        {
            "channel": order,
            "place": np.arange(len(order)),
            "low": found.low[order],
            "high": found.high[order],
            "covered from": low[order],
            "covered to": high[order],
            "clipping": np.where(changed[order], "touched", "untouched"),
        }
    )


@lru_cache(CHARTS_KEPT)
def range_spec(channels: int, dark: bool) -> dict[str, Any]:
    """Specify bars of each channel's range, with what the quantizer covers of those touched."""
    thick = max(1.0, min(6.0, 560 / max(1, channels)))
    axis = alt.Axis(title="channels, the narrowest first", grid=False, tickCount=6)
    places = ROWS.encode(x=alt.X("place:Q", axis=axis).scale(domain=[-1, channels], nice=False))
    ranges = places.mark_rule(strokeWidth=thick).encode(
        y=alt.Y("low:Q").axis(title="value", tickCount=6),
        y2="high",
        color=alt.Color("clipping:N")
        .scale(domain=["untouched", "touched"], range=colours(dark)[:2])
        .legend(orient="top", title=None, symbolStrokeWidth=4),
        tooltip=figures(".3~g", "channel", "low", "high", "covered from", "covered to"),
    )
    ends = places.transform_filter("datum.clipping == 'touched'")
    ends = ends.mark_tick(thickness=2, size=max(4.0, thick), color=ink(dark))
    marks = [ranges, ends.encode(y="covered from:Q"), ends.encode(y="covered to:Q")]
    return specification(alt.layer(*marks, height=280))


def limit_table(found: Clipping, limit: float) -> pd.DataFrame:
    """Return one row a threshold, and one a way to do without."""
    here = found.at(limit)
    rows = [
        {"way": "clipped", "K": k, "SQNR": e, "touched": t, "here": i == here}
        for i, (k, e, t) in enumerate(zip(LIMITS, found.errors, found.touched, strict=True))
    ]
    others = (
        ("one range", found.off),
        ("a range each", found.plain),
        ("the preset's way", found.own),
    )
    ends = [
        {"way": name, "K": k, "SQNR": error, "touched": 0, "here": False}
        for name, error in others
        for k in (LIMITS[0], LIMITS[-1])
    ]
    table = pd.DataFrame(rows + ends)
    return table[np.isfinite(table["SQNR"])]


@lru_cache(CHARTS_KEPT)
def limit_spec(dark: bool) -> dict[str, Any]:
    """Specify the error over the threshold, with a mark at the chosen one."""
    ways = ["clipped", "one range", "a range each", "the preset's way"]
    dashes = [[1, 0], [2, 2], [6, 3], [10, 3, 2, 3]]
    legend = alt.Legend(orient="top", title=None, columns=2)
    places = ROWS.encode(
        x=alt.X("K:Q", title="threshold K (standard deviations)"),
        y=alt.Y("SQNR:Q").axis(title="SQNR of the output (dB)", tickCount=6).scale(zero=False),
        tooltip=["way:N", *figures(".3~g", "K", "SQNR", "touched")],
    )
    line = places.mark_line(strokeWidth=2, tooltip=True).encode(
        color=alt.Color("way:N", legend=legend).scale(
            domain=ways, range=[colours(dark)[i] for i in (1, 6, 0, 2)]
        ),
        strokeDash=alt.StrokeDash("way:N", legend=legend).scale(domain=ways, range=dashes),
    )
    dot = places.transform_filter("datum.here").mark_point(filled=True, size=130, color=ink(dark))
    return specification(alt.layer(line, dot, height=280))

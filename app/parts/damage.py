"""What each layer of an allocation adds to the divergence from float: parts that add up."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from app.look.altair_charts import runs_of
from app.look.appearance import dark
from app.look.charts import CHART_CONFIG, MARGIN, colours, ink
from app.parts.job_panel import offered
from app.parts.numbers import as_numbers, csv_button
from app.text import Markdown, escape, for_chart
from app.work.layer_analyses import damage_of
from lrp.engine.names import block_of
from quant.analysis.damage import Damage
from quant.experiments.calibrating import Calibrating
from quant.primitives.bits import Allocation, quantized

WHY = (
    "The divergence of these bits from float is shared out among the layers, weights and inputs "
    "apart, so that the parts add up to what is measured. It takes the model a few dozen times as "
    "long as answering the images that calibrate."
)


def show(calibrating: Calibrating, allocation: Allocation) -> None:
    """Show the parts of an allocation's damage, or offer to find them."""
    if not quantized(allocation):
        st.caption("All layers are in float: no damage is done.")
        return
    wanted = damage_of(calibrating, allocation)
    found = offered(wanted, "Share out the damage of these bits", by_itself=False, why=WHY)
    if found is None:
        return
    rows = table(found)
    st.caption(escape(sentence(found)))
    alt = "what each layer adds to the divergence from float, and their sum so far"
    st.plotly_chart(chart(found, dark()), config=CHART_CONFIG, alt=alt)
    box = as_numbers({"damage by layer, in thousandths of a nat": rows})
    csv_button(box, rows, "damage.csv", "Download as CSV")


def sentence(found: Damage) -> Markdown:
    """Return in words what the whole is, and which layers add most of it."""
    both = found.weight + found.activation
    first = np.argsort(-both)[:3]
    most = ", ".join(found.names[row] for row in first)
    return Markdown(
        "These bits cost {:.1f} thousandths of a nat on the {} images that calibrate, and the "
        "layers' parts add up to {:.1f}: {:.1f} by weights, {:.1f} by inputs. Most is added by "
        "**{}**, together {:.0f} %. A part below zero undoes what other layers do."
    ).format(
        1e3 * found.measured,
        found.images,
        1e3 * found.total,
        1e3 * float(found.weight.sum()),
        1e3 * float(found.activation.sum()),
        most,
        100 * float(both[first].sum()) / found.total if found.total else 0.0,
    )


def table(found: Damage) -> pd.DataFrame:
    """Return one row a layer in the order they run, in thousandths of a nat."""
    both = 1e3 * (found.weight + found.activation)
    return pd.DataFrame(
        {
            "layer": found.names,
            "weights": (1e3 * found.weight).round(3),
            "inputs": (1e3 * found.activation).round(3),
            "both": both.round(3),
            "so far": both.cumsum().round(3),
        }
    )


def chart(found: Damage, dark: bool) -> go.Figure:
    """Draw both parts of each layer; below them their sum so far, and what is measured."""
    rows, figure = table(found), make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    names = [for_chart(name) for name in found.names]
    for side, colour in zip(("weights", "inputs"), colours(dark), strict=False):
        hover = "%{x}<br>%{y:.2f} thousandths of a nat"
        bars = go.Bar(name=side, x=names, y=rows[side], marker_color=colour, hovertemplate=hover)
        figure.add_trace(bars, row=1, col=1)
    line = {"color": ink(dark), "width": 1.5, "shape": "hv"}
    hover = "%{x}<br>so far %{y:.2f}<extra></extra>"
    so_far = go.Scatter(name="sum so far", x=names, y=rows["so far"], line=line, fill="tozeroy")
    so_far.update(mode="lines", fillcolor="rgba(128, 128, 128, 0.2)", hovertemplate=hover)
    figure.add_trace(so_far, row=2, col=1)
    whole = 1e3 * found.measured
    dots = {"line_dash": "dot", "line_color": ink(dark)}
    figure.add_hline(whole, row=2, annotation_text=f"measured {whole:.1f}", **dots)
    figure.update_layout(
        height=420, margin=MARGIN, barmode="relative", legend={"orientation": "h", "y": 1.12}
    )
    figure.update_yaxes(title="nat / 1000", row=1)
    figure.update_yaxes(title="sum so far", rangemode="tozero", row=2)
    runs = [run for run in runs_of(map(block_of, found.names)) if run[0]]
    middles = [names[(first + last) // 2] for _, first, last in runs]
    figure.update_xaxes(tickvals=middles, ticktext=[block for block, _, _ in runs])
    figure.update_xaxes(title="block", tickangle=0, row=2)
    return figure

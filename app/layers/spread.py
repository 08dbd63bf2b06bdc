"""One layer's operands before and after their quantizers."""

import numpy as np
import pandas as pd
import streamlit as st

from app.layers import charts as layer_charts
from app.look import charts, units
from app.look.appearance import dark
from app.parts.numbers import as_numbers
from app.text import Markdown, escape
from lrp.engine.layers import Layer
from quant.analysis.anatomy import Anatomy, Histogram

TURNED = {
    "Rotation": "as the quantizer sees it: rotated, so that no channel stands out",
    "Stream": "as the quantizer sees it: rotated with the residual stream, so that no channel "
    "stands out",
    "Restoration": "as the LayerNorm gives it",
    "Rescaling": "as the quantizer sees it: every channel shifted and scaled",
    "Equalisation": "as the quantizer sees it: mixed and scaled, so that pixels share one range",
    "": "as it comes",
}
UNITS = {
    "": "",
    "steps": " Values are counted in steps of their own channel or head, each of which has its own "
    "grid.",
    "sizes": " Values are counted in root mean squares of their own token, which are found as it "
    "runs.",
}
OTHERWISE = "as the quantizer sees it: transformed"
FACTORS = {
    "matmul1": ("queries", "keys"),
    "matmul2": ("attention probabilities", "values"),
}


def names(layer: Layer) -> tuple[str, str]:
    """Return what a layer multiplies: two factors, or its input by its weights."""
    other = ("first factor", "second factor")
    return FACTORS.get(layer.role, other) if layer.kind == "matmul" else ("input", "weights")


def show(layer: Layer, found: Anatomy) -> None:
    """Show both operands side by side."""
    st.subheader("Before and after")
    labels = names(layer)
    for column, side, label in zip(st.columns(2, gap="medium"), found.sides, labels, strict=True):
        with column:
            st.caption(escape(sentence(label, side, found.turned if label == "input" else None)))
            figure = layer_charts.spread(side, label, dark())
            alt = f"{label} before and after quantization, with the staircase between"
            st.plotly_chart(figure, config=charts.CHART_CONFIG, alt=alt)
    sides = zip(labels, found.sides, strict=True)
    as_numbers({f"histogram of {label}": table(side) for label, side in sides})


def sentence(label: str, side: Histogram, turned: str | None) -> Markdown:
    """Return in words what an operand's histogram shows."""
    way = "" if turned is None else f", {TURNED.get(turned, OTHERWISE)}"
    lost = (
        f"{max(0.01, 100 * side.clipped):.2f} % of them lie beyond the grid and make "
        f"{units.share(side.clipping, 0)} of the squared error; the rest of it is rounding"
        if side.clipped
        else "none lies beyond the grid, so all error is rounding"
    )
    moved = (
        f" {units.share(side.moved, 0)} do not go to the nearest level, so that their errors "
        "cancel in the output."
        if side.moved >= 0.005
        else ""
    )
    rest = f"{way}: every value goes to one of {side.levels} levels "
    rest += f"(SQNR {units.decibels(side.error)}); {lost}.{moved}{UNITS[side.unit]}"
    return units.unbroken(Markdown("**{}**{}").format(label.capitalize(), rest))


def table(side: Histogram) -> pd.DataFrame:
    """Return one row a bin that holds a value, and what its middle becomes."""
    middles = (side.edges[:-1] + side.edges[1:]) / 2
    rows = pd.DataFrame(
        {
            "from": side.edges[:-1],
            "to": side.edges[1:],
            "values before": side.before,
            "values after": side.after,
            "the middle becomes": side.stairs[np.searchsorted(side.x, middles)],
        }
    )
    return rows[(rows["values before"] > 0) | (rows["values after"] > 0)]

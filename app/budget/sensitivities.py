"""Sensitivities: how far each layer's bits move the model's answer."""

import pandas as pd
import streamlit as st

from app.look import altair_charts
from app.look.appearance import dark
from app.parts.choice import one_of
from app.parts.numbers import as_numbers, csv_button
from app.state import budget
from app.state.selection import Selected
from app.text import Markdown
from app.work import models
from quant.analysis.sensitivity import Sensitivity
from quant.primitives.bits import MENU
from quant.primitives.formats import label


def show(selected: Selected, sensitivity: Sensitivity) -> None:
    """Show every layer's sensitivity at one width, and all widths as a table."""
    width = one_of(
        "At",
        sensitivity.widths,
        budget.SENSED_WIDTH,
        default=4 if 4 in sensitivity.widths else sensitivity.widths[0],
        titled=True,
        format_func=lambda width: f"{width} bit" if width in MENU else label(width),
    )
    rows = table(sensitivity, width)
    most = rows.loc[rows["weights"].add(rows["activations"]).idxmax(), "layer"]
    total = float(rows["weights"].sum() + rows["activations"].sum())
    st.caption(
        Markdown(
            "By how much, in thousandths of a nat, the answer diverges when one layer's weights or "
            "its input have {} bits and all else is in float; {} on {} calibration images. "
            "Together {:.0f}; **{}** is the most sensitive."
        ).format(label(width), sensitivity.how, sensitivity.images, total, most)
    )
    layers = models.layers_of(selected.loaded)
    st.vega_lite_chart(
        altair_charts.sensitivity_table(layers, rows),
        altair_charts.sensitivity_spec(layers, dark()),
        alt=f"sensitivity by layer, highest for {most}",
    )
    box = as_numbers({"sensitivity by layer": rows})
    csv_button(box, every(sensitivity), "sensitivity.csv", "All widths as CSV")


def table(sensitivity: Sensitivity, width: int) -> pd.DataFrame:
    """Return one row a layer, in thousandths of a nat."""
    column = sensitivity.widths.index(width)
    return pd.DataFrame(
        {
            "layer": sensitivity.names,
            "weights": (1e3 * sensitivity.weight[:, column]).round(3),
            "activations": (1e3 * sensitivity.activation[:, column]).round(3),
        }
    )


def every(sensitivity: Sensitivity) -> pd.DataFrame:
    """Return one row a layer with all widths, in nats."""
    columns: dict[str, object] = {"layer": sensitivity.names}
    for index, width in enumerate(sensitivity.widths):
        columns[f"weights {label(width)}"] = sensitivity.weight[:, index]
        columns[f"activations {label(width)}"] = sensitivity.activation[:, index]
    return pd.DataFrame(columns)

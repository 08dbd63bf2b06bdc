"""Choose a layer by name, on any page."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.look.altair_charts import PICK
from app.state import selection
from lrp.engine.layers import Layer


def pick(layers: Sequence[Layer], first: Layer) -> Layer:
    """Let the user choose one of `layers`, which is then the chosen one on every page."""
    names, chosen = [each.name for each in layers], selection.LAYER.get()
    name = st.selectbox(
        "Layer",
        names,
        key=selection.LAYER.widget,
        on_change=selection.LAYER.follow(chosen if chosen in names else first.name),
        help="Type to search. `matmul1` is query times key, `matmul2` attention times value.",
    )
    return layers[names.index(name)]


def pick_in_chart(key: str) -> None:
    """Choose the layer that was clicked in the chart of this key, if one was."""
    picked = st.session_state[key].selection.get(PICK)
    if picked:
        selection.LAYER.set(picked[0]["layer"])

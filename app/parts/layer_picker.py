"""Choose a layer by name, on any page."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.state import selection
from lrp.engine.layers import Layer


def pick(layers: Sequence[Layer], first: Layer) -> Layer:
    """Let the user choose one of `layers`, which is then the chosen one on every page."""
    names = [each.name for each in layers]
    chosen = selection.layer() or ""
    st.session_state[selection.LAYER_CHOICE] = chosen if chosen in names else first.name

    def heard() -> None:
        selection.choose_layer(st.session_state[selection.LAYER_CHOICE])

    name = st.selectbox(
        "Layer",
        names,
        key=selection.LAYER_CHOICE,
        on_change=heard,
        help="Type to search. `matmul1` is query times key, `matmul2` attention times value.",
    )
    return layers[names.index(name)]

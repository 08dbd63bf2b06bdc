"""The address shows what was chosen, so that a link opens the same view."""

from __future__ import annotations

import streamlit as st

from app import budget_state, quantizer_state, run_state, state


def show() -> None:
    """Put what was chosen into the address: ids and widths, never a picture."""
    average = state.budget()
    shown = {
        state.IMAGE_PARAMETER: state.image(),
        state.TARGET_PARAMETER: state.target(),
        state.RIVAL_PARAMETER: state.rival(),
        state.DEPTH_PARAMETER: state.depth(),
        state.LAYER_PARAMETER: state.layer(),
        state.BITS_PARAMETER: None if average == state.DEFAULT_BITS else f"{average:g}",
        **quantizer_state.in_address(),
        **budget_state.in_address(),
        **run_state.in_address(),
    }
    for name, value in shown.items():
        text = None if value is None else str(value)
        if text is None and name in st.query_params:
            del st.query_params[name]
        elif text is not None and st.query_params.get(name) != text:
            st.query_params[name] = text

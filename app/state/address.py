"""The address shows what was chosen, so that a link opens the same view."""

from __future__ import annotations

import streamlit as st

from app.state import budget, quantizer, runs, selection


def show() -> None:
    """Put what was chosen into the address: ids and widths, never a picture."""
    average = selection.budget()
    shown = {
        selection.IMAGE_PARAMETER: selection.image(),
        selection.TARGET_PARAMETER: selection.target(),
        selection.RIVAL_PARAMETER: selection.rival(),
        selection.DEPTH_PARAMETER: selection.depth(),
        selection.LAYER_PARAMETER: selection.layer(),
        selection.BITS_PARAMETER: None if average == selection.DEFAULT_BITS else f"{average:g}",
        **quantizer.in_address(),
        **budget.in_address(),
        **runs.in_address(),
    }
    for name, value in shown.items():
        text = None if value is None else str(value)
        if text is None and name in st.query_params:
            del st.query_params[name]
        elif text is not None and st.query_params.get(name) != text:
            st.query_params[name] = text

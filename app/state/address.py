"""The address shows what was chosen, so that a link opens the same view."""

from typing import Any

import streamlit as st

from app.state import budget, quantizer, runs, selection
from app.state.entry import Linked

# Ids and widths, never a picture. Some widgets put theirs into the address by themselves.
ENTRIES: tuple[Linked[Any], ...] = (
    *(selection.IMAGE, selection.TARGET, selection.RIVAL, selection.DEPTH, selection.LAYER),
    *(budget.BITS, quantizer.PRESET, quantizer.WEIGHT, quantizer.ACTIVATION),
    *(budget.OBJECTIVE, budget.UNIT, budget.WIDTHS, budget.TIED, runs.RUN),
)


def show() -> None:
    """Put what was chosen into the address."""
    for entry in ENTRIES:
        text = entry.text()
        if text is None:
            st.query_params.pop(entry.parameter, None)
        elif st.query_params.get(entry.parameter) != text:
            st.query_params[entry.parameter] = text

"""The address shows what was chosen, so that a link opens the same view."""

from typing import Any

import streamlit as st

from app.state import budget, quantizer, runs, selection
from app.state.entry import MISREAD, Linked
from app.text import escape, short

# Ids and widths, never a picture. Some widgets put theirs into the address by themselves.
ENTRIES: tuple[Linked[Any], ...] = (
    *(selection.IMAGE, selection.TARGET, selection.RIVAL, selection.DEPTH, selection.LAYER),
    *(budget.TARGET, budget.BITS, quantizer.PRESET, quantizer.STREAM),
    *(quantizer.WEIGHT, quantizer.ACTIVATION),
    *(budget.OBJECTIVE, budget.UNIT, budget.WIDTHS, budget.TIED, runs.RUN),
)


def read() -> None:
    """Read the link that opened the page, and say what of it means nothing."""
    for entry in ENTRIES:
        entry.get()
    for parameter, text in MISREAD.pop().items():
        said = f"{parameter}={short(text)}"
        st.toast(
            escape(f"The link says {said}, which means nothing: it is left out."),
            icon=":material/link_off:",
            duration="long",
        )


def show() -> None:
    """Put what was chosen into the address."""
    for entry in ENTRIES:
        text = entry.text()
        if text is None:
            st.query_params.pop(entry.parameter, None)
        elif st.query_params.get(entry.parameter) != text:
            st.query_params[entry.parameter] = text

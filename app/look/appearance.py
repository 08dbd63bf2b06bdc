"""Ask the browser how the page looks."""

from __future__ import annotations

import streamlit as st


def dark() -> bool:
    """Return whether the page is dark."""
    return st.context.theme.type == "dark"

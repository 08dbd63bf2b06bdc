"""How the page looks in the browser."""

from __future__ import annotations

import streamlit as st


def dark() -> bool:
    """Return whether the page is dark."""
    return st.context.theme.type == "dark"

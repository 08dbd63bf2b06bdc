"""How the page looks in the browser."""

import streamlit as st


def dark() -> bool:
    """Return whether the page is dark."""
    return st.context.theme.type == "dark"

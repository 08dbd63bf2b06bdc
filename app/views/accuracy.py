"""The page that measures what a budget costs in accuracy."""

from __future__ import annotations

import streamlit as st

from app import state
from app.panels import measurement, results


def main() -> None:
    st.header("What does it cost in accuracy?")
    selected = state.current()
    if selected is None:
        st.info("Choose a model in the sidebar.")
        return
    if selected.images is None:
        st.info("Accuracy needs labelled images: give an image folder in the sidebar.")
        return
    measurement.show(selected)
    results.show(selected)


if __name__ == "__main__":
    main()

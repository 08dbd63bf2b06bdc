"""The page that spends bits where they matter."""

from __future__ import annotations

import streamlit as st

from app import state
from app.panels import allocation, scores


def main() -> None:
    st.header("Spend bits where they matter")
    selected = state.current()
    if selected is None:
        st.info("Choose a model in the sidebar.")
        return
    if selected.images is None:
        st.info("Scores need images: give an image folder in the sidebar, under your own model.")
        return
    scoring = scores.settings(selected)
    found = scores.obtain(selected, scoring)
    if found is None:
        return
    scores.show(selected, found)
    st.fragment(allocation.show)(selected, scoring, found)


if __name__ == "__main__":
    main()

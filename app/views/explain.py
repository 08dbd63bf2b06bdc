"""The page that shows where a decision comes from."""

from __future__ import annotations

import streamlit as st
from PIL.Image import Image

from app import gallery, state
from app.panels import depth, heatmap, layer_detail
from app.question import ask
from app.sidebar import Selected


def main() -> None:
    st.header("Where does the decision come from?")
    selected = state.current()
    if selected is None:
        st.info("Choose a model in the sidebar.")
        return
    chosen = gallery.choose(selected.loaded, selected.images)
    if chosen is None:
        st.info("Upload a picture to see what the model makes of it.")
        return
    try:
        explain(selected, chosen)
    except (ValueError, NotImplementedError) as error:
        st.error(f"This model cannot be explained on this picture: {error}")


def explain(selected: Selected, picture: Image) -> None:
    controls, maps = st.columns([0.8, 3], gap="medium")
    with maps:
        toolbar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with toolbar:
        question = ask(selected, picture)
    with controls:
        target = heatmap.target(question)
        rival = heatmap.rival(question, target)
    with toolbar:
        place = heatmap.depth(question, target)
    with maps:
        st.fragment(heatmap.show)(question, target, rival, place, controls)
        heatmap.numbers(question)
    depth.show(question, target)
    layer_detail.show(question, target)


if __name__ == "__main__":
    main()

"""The page that shows where a decision comes from."""

from __future__ import annotations

import streamlit as st
from PIL.Image import Image

from app import gallery, state
from app.panels import depth, heatmap, layer_detail
from app.question import ask
from app.sidebar import Selected
from assets.data import has_digits
from lrp.interpreter import UnsupportedOperation


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
        shown = gallery.digits_in(state.image()) if has_digits(selected.loaded) else ()
        explain(selected, chosen, shown)
    except UnsupportedOperation as error:
        st.error(f"This model cannot be explained: {error}. Use a ViT, DeiT or Swin of timm.")
    except ValueError as error:
        st.error(f"This picture cannot be explained: {error}.")


def explain(selected: Selected, picture: Image, shown: tuple[int, ...]) -> None:
    controls, maps = st.columns([0.8, 3], gap="medium")
    with maps:
        toolbar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with toolbar:
        question = ask(selected, picture, shown)
    with controls:
        target = heatmap.target(question)
        rival = heatmap.rival(question, target)
    with toolbar:
        place = heatmap.depth(question, target)
    with maps:
        st.caption(
            f"The model's best guess is **{question.names[question.top[0]]}**. Red speaks for the "
            "class asked about, blue against it; grey hardly matters."
        )
        st.fragment(heatmap.show)(question, target, rival, place, controls)
        heatmap.numbers(question)
    depth.show(question, target)
    layer_detail.show(question, target)


if __name__ == "__main__":
    main()

"""The page that shows where a decision comes from."""

import streamlit as st

from app.explain import controls, depth, heatmap, layer_detail, methods, question
from app.parts import gallery
from app.parts.choice import one_of
from app.parts.gallery import Labelled
from app.state import selection
from app.state.selection import DEPTH_VIEW, MAP_VIEW, METHODS_VIEW, Selected
from app.text import escape
from lrp.engine.interpreter import UnsupportedOperation
from lrp.methods.catalogue import DEFAULT

VIEWS = (MAP_VIEW, METHODS_VIEW, DEPTH_VIEW)


def main() -> None:
    st.header("Where does the decision come from?")
    selected = selection.CURRENT.get()
    if selected is None:
        st.info("Choose a model in the sidebar.")
        return
    image = gallery.choose(selected.loaded, selected.images)
    if image is None:
        st.info("Upload or paste a picture to see what the model makes of it.")
        return
    view = one_of("View", VIEWS, selection.VIEW, linked=True)
    try:
        explain(selected, image, view)
    except UnsupportedOperation as error:
        st.error(
            escape(f"This model cannot be explained: {error}. Use a ViT, DeiT or Swin of timm.")
        )
    except ValueError as error:
        st.error(escape(f"This picture cannot be explained: {error}."))


def explain(selected: Selected, image: Labelled, view: str) -> None:
    """Show the choices on the left, the answer on the right."""
    left, right = st.columns([0.8, 3], gap="medium")
    with left:
        classes = st.container()
        method = _method(selected, view)
    with right:
        asked = question.ask(selected, image, method)
    with classes:
        target = controls.target(asked)
    if view == METHODS_VIEW:
        with right:
            methods.show(asked, target)
        return
    if asked.has_depth:
        with right:
            asked.relevance(target)  # a wait is shown here, not among the controls
    if view == DEPTH_VIEW:
        above = right.container()
        layer = layer_detail.show(asked, target)  # first: its box says which block is marked
        with above:
            depth.show(asked, target, layer)
        return
    with classes:
        rival = controls.rival(asked, target)
    with left:
        place = controls.depth(asked)
    with right:
        st.fragment(heatmap.show)(asked, target, rival, place)


def _method(selected: Selected, view: str) -> str:
    """Return the method that the view is read by: of attention maps there is no depth."""
    if view == METHODS_VIEW:
        return DEFAULT
    offered = question.offered(selected) if view == MAP_VIEW else list(question.RULES)
    return controls.method(offered)


if __name__ == "__main__":
    main()

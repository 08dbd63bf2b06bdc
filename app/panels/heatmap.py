"""The picture, what the model makes of it, and where that comes from."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from PIL.Image import Image
from streamlit.delta_generator import DeltaGenerator

from app import heatmaps, pictures, state
from app.question import ATTRIBUTION, Question
from lrp.heatmap import PIXELS, default_depth, depths


def target(question: Question) -> int:
    """Let the user choose the class to explain from the most likely ones."""
    asked = state.target()
    options = list(question.top)
    if asked is not None and asked < len(question.names) and asked not in options:
        options.append(asked)
    st.session_state[state.TARGET_CHOICE] = asked if asked in options else options[0]
    return st.radio(
        "Explain class",
        options,
        key=state.TARGET_CHOICE,
        format_func=lambda k: f"{question.names[k]}: {question.probability(k)}",
        on_change=_heard,
        help="The model's most likely classes, with their probabilities. Asking about another "
        "class needs no new forward pass.",
    )


def _heard() -> None:
    state.choose_target(st.session_state[state.TARGET_CHOICE])


def rival(question: Question, chosen: int) -> int:
    """Let the user choose a class to compare with."""
    options = [k for k in question.top if k != chosen]
    if st.session_state.get(state.COMPARE) not in options:
        other = [k for k in question.shown if k != chosen]  # of two digits, the other one
        st.session_state[state.COMPARE] = (other or options)[0]
    return st.selectbox(
        "Compare with",
        options,
        key=state.COMPARE,
        format_func=question.names.__getitem__,
        help="The same picture, asked about another class.",
    )


def depth(question: Question, chosen: int) -> str:
    """Let the user choose where in the model the map is read."""
    found = question.relevance(chosen)
    options = list(depths(question.trace, found))
    first = options.index(default_depth(question.trace, found))
    return st.selectbox(
        "Read the map at",
        options,
        index=first,
        key=state.DEPTH,
        bind="query-params",
        disabled=question.method == ATTRIBUTION,
        help="The tokens entering a block, or the pixels. Early blocks give the most faithful "
        "maps; pixels are finer and noisier.",
    )


def show(question: Question, chosen: int, other: int, place: str, controls: DeltaGenerator) -> None:
    """Show the picture beside the maps of two classes. Reruns alone when its look changes."""
    slots = st.columns(3)
    with controls:
        opacity, smooth = _look()
    shown = _pictures(question, (chosen, other), place, opacity, smooth)
    for slot, (caption, picture) in zip(slots, shown.items(), strict=True):
        slot.image(picture, caption=caption, width="stretch", alt=caption.replace("*", ""))
    _legend(shown)


def _pictures(
    question: Question, classes: tuple[int, int], place: str, opacity: float, smooth: bool
) -> dict[str, Image]:
    """Return the picture and the maps of two classes over it, by caption."""
    seen = pictures.enlarge(question.prepared.seen)
    shown = {"what the model sees": seen}
    for index in classes:
        values = pictures.scale(question.heatmap(index, place), _quantile(place))
        caption = f"relevance for **{question.names[index]}**"
        shown[caption] = pictures.overlay(seen, values, opacity, smooth)
    return shown


def _quantile(place: str) -> float:
    return heatmaps.PIXEL_QUANTILE if place == PIXELS else 1.0


def _look() -> tuple[float, bool]:
    opacity = st.slider(
        "Opacity",
        0.0,
        1.0,
        0.85,
        0.05,
        key=state.OPACITY,
        persist_state="session",
        help="How strongly the map covers the picture.",
    )
    smooth = st.toggle(
        "Smooth",
        value=True,
        key=state.SMOOTH,
        persist_state="session",
        help="Off: one square a patch, which is all the model resolves.",
    )
    return opacity, smooth


def _legend(shown: dict[str, Image]) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.download_button(
            "Pictures as PNG",
            lambda: pictures.png(pictures.side_by_side(list(shown.values()))),
            "relevance.png",
            "image/png",
            icon=":material/download:",
            on_click="ignore",
        )
        with st.container(
            horizontal=True, vertical_alignment="center", width="content", gap="small"
        ):
            st.caption("against the class", width="content")
            st.image(pictures.legend(), width=180, alt="colour scale from blue over white to red")
            st.caption("for the class", width="content")


def numbers(question: Question) -> None:
    """Tabulate the most likely classes."""
    with st.expander("The same as numbers", icon=":material/table_rows:"):
        top = question.top
        logits = question.trace.logits[0].detach().cpu()
        table = pd.DataFrame(
            {
                "class": [question.names[k] for k in top],
                "probability": [100 * float(question.probabilities[k]) for k in top],
                "logit": [float(logits[k]) for k in top],
            }
        )
        config = {
            "probability": st.column_config.NumberColumn(format="%.2f %%"),
            "logit": st.column_config.NumberColumn(format="%.3f"),
        }
        st.dataframe(table, hide_index=True, column_config=config, alt="most likely classes")

"""What is asked: which class, against which other one, by which method, read where."""

from collections.abc import Sequence

import streamlit as st

from app.explain import question
from app.explain.question import Question
from app.look import units
from app.state import selection
from app.text import escape
from lrp.maps.heatmap import default_depth, depths
from lrp.methods.catalogue import METHODS

METHOD_HELP = (
    "AttnLRP: relevance of this image's decision; the default. With gamma, what speaks for the "
    "class is favoured. LRP-QViT: the rules behind the contribution scores. The others are maps of "
    "attention, for models with a class token or average pooling. The view *Methods* compares them."
)


def method(options: Sequence[str]) -> str:
    """Let the user choose the method that the map is read by."""
    selection.offer(selection.RULES, options)
    return st.selectbox(
        "Method",
        options,
        key=selection.RULES,
        bind="query-params",
        format_func=question.label,
        help=METHOD_HELP,
    )


def target(asked: Question) -> int:
    """Let the user choose the class to explain from the most likely ones."""
    wanted, options = selection.TARGET.get(), list(asked.top)
    if wanted is not None and wanted < len(asked.names) and wanted not in options:
        options.append(wanted)
    return st.radio(
        "Explain class",
        options,
        key=selection.TARGET.widget,
        format_func=lambda k: escape(units.unbroken(f"{asked.names[k]}: {asked.probability(k)}")),
        on_change=selection.TARGET.follow(wanted if wanted in options else options[0]),
        help="The model's most likely classes, with their probabilities. Asking about another "
        "class needs no new forward pass.",
    )


def rival(asked: Question, chosen: int) -> int:
    """Let the user choose a class to compare with."""
    wanted, options = selection.RIVAL.get(), [k for k in asked.top if k != chosen]
    if wanted is not None and wanted < len(asked.names) and wanted not in (*options, chosen):
        options.append(wanted)
    likeliest = [k for k in asked.masks if k != chosen] or options  # of two digits, the other one
    return st.selectbox(
        "Compare with",
        options,
        key=selection.RIVAL.widget,
        format_func=asked.names.__getitem__,
        on_change=selection.RIVAL.follow(wanted if wanted in options else likeliest[0]),
        help="The same picture, asked about another class.",
    )


def depth(asked: Question) -> str:
    """Let the user choose where in the model the map is read."""
    if not asked.has_depth:
        st.caption(escape(METHODS[asked.method].what))
        return ""
    options, place = list(depths(asked.trace)), selection.DEPTH.get()
    return st.selectbox(
        "Read the map at",
        options,
        key=selection.DEPTH.widget,
        on_change=selection.DEPTH.follow(place if place in options else default_depth(asked.trace)),
        help="The tokens entering a block, or the pixels. Early blocks give the most faithful maps "
        "of DeiT-Tiny; on small models the pixels are as good. They are finer and noisier.",
    )

"""One layer in detail: its map, its attention heads, the spread of its relevance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from app import charts, compute, heatmaps, pictures, state, units
from app.appearance import dark
from app.question import Question
from lrp.layers import Layer
from lrp.scores import image_scores

MAX_HEADS = 24


def show(question: Question, chosen: int) -> None:
    """Show the layer chosen here; it is the chosen layer on every page."""
    layers = compute.layers_of(question.selected.loaded)
    st.subheader("One layer in detail")
    scores = image_scores(question.relevance(chosen))[0].tolist()
    left, middle, right = st.columns([1, 1, 1.6], gap="medium")
    with left:
        layer = _choose(layers)
        _facts(layer, layers, scores)
    found = heatmaps.detail(question.trace, question.relevance(chosen), layer)
    with middle:
        _place(question, found, layer)
    with right:
        st.caption("How the layer's relevance is spread: most values are next to nothing.")
        figure = charts.histogram(found.values, dark())
        st.plotly_chart(
            figure, config=charts.CHART_CONFIG, alt=f"histogram of relevance in {layer.name}"
        )
    if found.heads:
        _heads(found.heads)
    _numbers(layers, scores)


def _choose(layers: tuple[Layer, ...]) -> Layer:
    names = [layer.name for layer in layers]
    products = [i for i, layer in enumerate(layers) if layer.role == "matmul2"]
    name = st.selectbox(
        "Layer",
        names,
        index=products[len(products) // 2] if products else 0,
        key=state.LAYER,
        bind="query-params",
        help="Type to search. `matmul1` is query times key, `matmul2` attention times value.",
    )
    return layers[names.index(name)]


def _facts(layer: Layer, layers: tuple[Layer, ...], scores: list[float]) -> None:
    score = scores[layers.index(layer)]
    place = 1 + sum(other > score for other in scores)
    parameters = f"{units.parameters(layer.parameters)} weights, " if layer.parameters else ""
    st.markdown(
        f"{charts.KINDS[layer.kind].capitalize()}, {parameters}"
        f"{units.operations(layer.macs)} multiply-adds an image.\n\n"
        f"It carries **{units.share(score, 2)}** of the layers' positive relevance for this "
        f"class: number {place} of {len(layers)}."
    )


def _place(question: Question, found: heatmaps.LayerDetail, layer: Layer) -> None:
    if found.place is None:
        st.caption("This layer sees pooled features: its relevance has no place in the image.")
        return
    base = pictures.enlarge(question.prepared.seen, 320)
    quantile = heatmaps.PIXEL_QUANTILE if layer.kind == "conv2d" else 1.0
    picture = pictures.overlay(base, pictures.scale(found.place, quantile), 0.9)
    st.image(picture, caption=WHAT[layer.kind], width="stretch", alt=f"map of {layer.name}")


WHAT = {
    "linear": "relevance of the layer's input tokens",
    "matmul": "relevance of its keys or values, all heads",
    "conv2d": "relevance of the pixels",
}


def _heads(heads: tuple[np.ndarray, ...]) -> None:
    st.caption(
        "Relevance of the attention map, head by head: a row is the token that looks, a column "
        "the token looked at. One square-root scale for all heads."
    )
    peak = max(float(np.abs(head).max()) for head in heads) or 1.0
    with st.grid(min(COLUMNS, max(4, len(heads))), min_column_width=110):
        for number, head in enumerate(heads[:MAX_HEADS]):
            picture = pictures.heat(np.sign(head) * np.sqrt(np.abs(head) / peak), 224)
            total = float(np.abs(head).sum())
            caption = f"head {number} (Σ|R| {total:.3g})"
            st.image(picture, caption, "stretch", output_format="PNG", alt=caption)


COLUMNS = 6


def _numbers(layers: tuple[Layer, ...], scores: list[float]) -> None:
    with st.expander("All layers as numbers", icon=":material/table_rows:"):
        table = pd.DataFrame(
            {
                "layer": [layer.name for layer in layers],
                "kind": [charts.KINDS[layer.kind] for layer in layers],
                "share of relevance": [100 * score for score in scores],
                "weights": [layer.parameters for layer in layers],
                "multiply-adds": [layer.macs for layer in layers],
            }
        )
        config = {"share of relevance": st.column_config.NumberColumn(format="%.2f %%")}
        st.dataframe(table, hide_index=True, column_config=config, alt="relevance by layer")
        st.download_button(
            "Download as CSV", table.to_csv(index=False), "layers.csv", icon=":material/download:"
        )

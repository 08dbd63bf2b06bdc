"""One layer in detail: its map, its attention heads, the spread of its relevance."""

import numpy as np
import pandas as pd
import streamlit as st

from app.explain import charts as relevance_charts
from app.explain.question import Question
from app.look import charts, heatmaps, units
from app.look.appearance import dark
from app.parts.choice import a_layer, one_of
from app.parts.numbers import as_numbers, csv_button
from app.state import selection
from app.text import Markdown, escape
from app.work import models
from lrp.engine.layers import Layer
from lrp.maps.pictures import enlarge, heat, overlay
from lrp.propagation.scores import image_scores

MAX_HEADS = 24
COLUMNS = 6
IMAGE, MATRIX = "In the image", "As attention"
WHAT = {
    "linear": "relevance of the layer's input tokens",
    "matmul": "relevance of its keys or values, all heads",
    "conv2d": "relevance of the pixels",
}


def show(asked: Question, chosen: int) -> Layer:
    """Show the layer chosen here, which is the chosen one on every page; return it."""
    layers = models.layers_of(asked.selected.loaded)
    found = asked.relevance(chosen)
    st.subheader("One layer in detail")
    scores = image_scores(found)[0].tolist()
    left, middle, right = st.columns([1, 1, 1.6], gap="medium")
    with left:
        products = [layer for layer in layers if layer.role == "matmul2"]
        layer = a_layer(layers, products[len(products) // 2] if products else layers[0])
        _facts(layer, layers, scores)
    seen = heatmaps.detail(asked.trace, found, layer)
    with middle:
        _place(asked, seen, layer)
    with right:
        _spread(seen, layer)
    if seen.heads or seen.attention:
        _heads(asked, seen)
    _numbers(layers, scores)
    return layer


def _facts(layer: Layer, layers: tuple[Layer, ...], scores: list[float]) -> None:
    score = scores[layers.index(layer)]
    place = 1 + sum(other > score for other in scores)
    st.markdown(
        Markdown(
            "{}\n\nIt carries **{}** of the layers' positive relevance for this class: "
            "number {} of {}."
        ).format(charts.layer_facts(layer), units.share(score, 2), place, len(layers))
    )
    st.page_link(
        "app/views/layers.py",
        label="What quantization does to it",
        icon=":material/arrow_forward:",
        query_params={selection.LAYER.parameter: layer.name},
    )


def _place(asked: Question, seen: heatmaps.LayerDetail, layer: Layer) -> None:
    if seen.place is None:
        st.caption("This layer sees pooled features: its relevance has no place in the image.")
        return
    base = enlarge(asked.prepared.seen, 320)
    picture = overlay(base, heatmaps.scaled(seen.place), 0.9)
    st.image(picture, caption=escape(WHAT[layer.kind]), width="stretch", alt=f"map of {layer.name}")


def _spread(seen: heatmaps.LayerDetail, layer: Layer) -> None:
    held = units.share(heatmaps.concentration(np.abs(seen.tokens)), 0)
    st.caption(
        escape(
            f"Relevance of its {units.count(len(seen.tokens))} {seen.unit}: the strongest tenth "
            f"holds {held} of all magnitude."
        )
    )
    figure = relevance_charts.histogram(seen.tokens, seen.unit, dark())
    alt = f"histogram of relevance of {seen.unit} in {layer.name}"
    st.plotly_chart(figure, config=charts.CHART_CONFIG, alt=alt)


def _heads(asked: Question, seen: heatmaps.LayerDetail) -> None:
    shown = _way(seen)
    maps = seen.attention if shown == MATRIX else seen.heads
    peak = max(float(np.abs(head).max()) for head in maps) or 1.0
    base = enlarge(asked.prepared.seen, 224)
    with st.grid(min(COLUMNS, max(4, len(maps))), min_column_width=110):
        for number, head in enumerate(maps[:MAX_HEADS]):
            if shown == MATRIX:
                picture = heat(np.sign(head) * np.sqrt(np.abs(head) / peak), 224)
            else:
                picture = overlay(base, head / peak, 0.9)
            caption = f"head {number}: {head.sum():+.3g}".replace("-", "−")
            st.image(picture, escape(caption), "stretch", output_format="PNG", alt=caption)


def _way(seen: heatmaps.LayerDetail) -> str:
    """Let the user choose how heads are shown, and show what is seen."""
    ways = [w for w, maps in ((IMAGE, seen.heads), (MATRIX, seen.attention)) if maps]
    selection.offer(selection.HEADS, ways)
    shown = one_of("Head by head", ways, selection.HEADS, linked=True, titled=True)
    st.caption(
        "A row is the token that looks, a column the token looked at; one square-root scale for "
        "all heads."
        if shown == MATRIX
        else "Where the relevance of each head lies that it hands to its keys or values; one scale "
        "for all heads, so that weak ones are pale. The number is the sum."
    )
    return shown


def _numbers(layers: tuple[Layer, ...], scores: list[float]) -> None:
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
    box = as_numbers({"relevance by layer": table}, config, "All layers as numbers")
    csv_button(box, table, "layers.csv", "Download as CSV")

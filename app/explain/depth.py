"""How relevance gathers as it passes through the model: one small map a block."""

import numpy as np
import pandas as pd
import streamlit as st

from app.components.thumbnails import Thumbnail, thumbnails
from app.explain import charts, conservation
from app.explain.conservation import Conservation
from app.explain.heatmap import map_table
from app.explain.question import Question
from app.look import heatmaps, pictures, units
from app.look.appearance import dark
from app.look.charts import CHART_CONFIG
from app.parts.numbers import as_numbers
from app.state import selection
from app.text import Markdown
from app.work import models
from lrp.engine.layers import Layer
from lrp.engine.names import number_of
from lrp.maps.heatmap import PIXELS
from lrp.maps.pictures import enlarge, overlay

WIDTH = 78  # pixels at least
WHY = "A constant, such as a bias, answers for part of what it joins; that goes no further."


def show(asked: Question, chosen: int, layer: Layer) -> None:
    """Show the map of every block's input tokens, and what is left of the relevance there.

    The block of the chosen layer is marked; a click chooses its like in another block.
    """
    found = asked.relevance(chosen)
    maps = heatmaps.through_depth(asked.trace, found)
    kept = conservation.conservation(asked.trace, found)
    layers = models.layers_of(asked.selected.loaded)
    marked = PIXELS if layer == layers[0] else layer.block  # the depth that the layer belongs to
    sentence = units.unbroken(conservation.sentence(kept))
    st.caption(
        Markdown(
            "What the pixels and the tokens entering each block say for **{}**, each map on its "
            "own scale, with the share of the relevance that is left there. Click one to look "
            "into its block, on every page.\n\n{} {}"
        ).format(asked.names[chosen], sentence, WHY)
    )

    def choose(depth: str) -> None:
        selection.DEPTH.set(depth)
        selection.LAYER.set(counterpart(layers, layer, depth))

    left, right = st.columns([1.25, 1], gap="medium")
    with left:
        items = _thumbnails(asked, maps, kept)
        thumbnails(
            "Maps through depth", items, marked, selection.BLOCKS, choose, WIDTH, wrapped=True
        )
    with right:
        figure = charts.remaining(kept, marked, dark())
        st.plotly_chart(
            figure, config=CHART_CONFIG, alt="share of the relevance left at each depth"
        )
    by_depth = map_table(maps, "tokens entering")
    as_numbers({"maps by depth": by_depth, "relevance lost between depths": step_table(kept)})


def _thumbnails(
    asked: Question, maps: dict[str, np.ndarray], kept: Conservation
) -> list[Thumbnail]:
    base = enlarge(asked.prepared.seen, 2 * WIDTH)
    return [
        Thumbnail(
            name,
            f"{number_of(name) or name}: {units.share(kept.left[name], 0)}",
            pictures.data_url(overlay(base, heatmaps.scaled(values), 0.9)),
        )
        for name, values in maps.items()
    ]


def counterpart(layers: tuple[Layer, ...], layer: Layer, depth: str) -> str | None:
    """Return which layer plays the part of `layer` at another depth, or its attention's name."""
    if depth == PIXELS:
        return layers[0].name
    inside = {other.role: other.name for other in layers if other.block == depth}
    return inside.get(layer.role) or inside.get("matmul2") or next(iter(inside.values()), None)


def step_table(kept: Conservation) -> pd.DataFrame:
    """Return one row a step: what is left below it, and what it lost to which part."""
    rows = [
        {
            "down to": step.lower,
            "left (%)": round(100 * kept.left[step.lower], 1),
            "lost (points)": round(100 * step.lost, 1),
            **{f"to {part}": round(100 * lost, 1) for part, lost in step.parts.items()},
        }
        for step in kept.steps
    ]
    return pd.DataFrame(rows)

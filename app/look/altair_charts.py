"""Specify charts that are redrawn in place, such as bars of a model's layers. Pure.

Tables and Vega-Lite specifications come out. A specification is the same for every table, so the
browser moves the marks instead of building the chart anew. Altair takes a tenth of a second to
write one: the last few are kept.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from app.look.charts import DARK_KINDS, LIGHT_KINDS, ink
from lrp.engine.layers import Layer
from lrp.engine.names import number_of
from quant.report.layers import KINDS

PICK = "pick"  # the name of the selection of a layer by click
CHARTS_KEPT = 8  # specifications of each kind: some models, light and dark
ROWS = alt.Chart(alt.NamedData("source"))  # as Streamlit names the table that a chart is given
SWATCHES = alt.Legend(orient="top", title=None, offset=0, symbolStrokeWidth=0)
alt.data_transformers.consolidate_datasets = False  # what is not the table stays in its mark


def layer_table(layers: Sequence[Layer], chosen: str | None) -> pd.DataFrame:
    """Return one row a layer: where it stands in the chart, its name, and whether it is chosen."""
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "kind": [KINDS.get(layer.kind, layer.kind) for layer in layers],
            "chosen": [layer.name == chosen for layer in layers],
            "left": [i + 0.1 for i in range(len(layers))],
            "middle": [i + 0.5 for i in range(len(layers))],
            "right": [i + 0.9 for i in range(len(layers))],
        }
    )


def score_table(
    layers: Sequence[Layer],
    mean: Mapping[str, float],
    deviation: Mapping[str, float],
    chosen: str | None = None,
) -> pd.DataFrame:
    """Add each layer's score and its spread, in percent of all relevance."""
    table = layer_table(layers, chosen)
    table["score"] = [100 * mean[name] for name in table["layer"]]
    spread = np.array([100 * deviation[name] for name in table["layer"]])
    table["low"] = np.maximum(0, table["score"] - spread)
    table["high"] = table["score"] + spread
    table["sd"] = spread
    return table


def sensitivity_table(layers: Sequence[Layer], rows: pd.DataFrame) -> pd.DataFrame:
    """Lay weights and activations of each layer out as two bars, one upon the other."""
    table = layer_table(layers, None)
    sides = (("weights", 0.0), ("activations", rows["weights"]))
    return pd.concat(
        table.assign(what=side, loss=rows[side], below=below, above=below + rows[side])
        for side, below in sides
    )


def blocks_of(layers: Sequence[Layer]) -> list[tuple[str, int, int]]:
    """Return the runs of layers of one block: (label, first, one past the last)."""
    return runs_of(layer.block for layer in layers)


def runs_of(blocks: Iterable[str]) -> list[tuple[str, int, int]]:
    """Return the same of layers whose blocks have these names."""
    runs, first = [], 0
    for label, inside in groupby(map(number_of, blocks)):
        last = first + len(list(inside))
        runs.append((label, first, last))
        first = last
    return runs


@lru_cache(CHARTS_KEPT)
def score_spec(layers: tuple[Layer, ...], dark: bool) -> dict[str, Any]:
    """Specify bars of the scores with error bars, by kind of layer."""
    kinds = [KINDS[k] for k in KINDS if any(layer.kind == k for layer in layers)]
    colours = (DARK_KINDS if dark else LIGHT_KINDS)[: len(kinds)]
    bars = pickable(layers).mark_bar(cornerRadiusEnd=2, stroke=ink(dark), cursor="pointer")
    bars = bars.encode(
        y=_height("score", "share of relevance (%)"),
        y2=alt.datum(0),
        strokeWidth=outline(2),
        color=alt.Color("kind:N", legend=SWATCHES).scale(domain=kinds, range=colours),
        tooltip=["layer:N", "kind:N", *figures(".2f", "score", "sd")],
    )
    errors = ROWS.mark_rule(opacity=0.75, color=ink(dark))
    errors = errors.encode(x="middle:Q", y="low:Q", y2="high")
    return over_blocks(layers, [bars, errors], 240, dark)


@lru_cache(CHARTS_KEPT)
def sensitivity_spec(layers: tuple[Layer, ...], dark: bool) -> dict[str, Any]:
    """Specify bars of sensitivities, weights below and activations on top."""
    colours = (DARK_KINDS if dark else LIGHT_KINDS)[:2]
    sides = alt.Scale(domain=["weights", "activations"], range=colours)
    bars = side_by_side(layers).mark_bar()
    bars = bars.encode(
        y=_height("above", "divergence (0.001 nats)"),
        y2="below",
        color=alt.Color("what:N", legend=SWATCHES, scale=sides),
        tooltip=["layer:N", "what:N", *figures(".3f", "loss")],
    )
    return over_blocks(layers, [bars], 240, dark)


def _height(field: str, title: str) -> alt.Y:
    # One extent for all charts, so that a layer's bars stand above one another.
    axis = alt.Axis(title=title, minExtent=40, maxExtent=40, tickCount=5)
    return alt.Y(f"{field}:Q", axis=axis).scale(nice=True)


def figures(form: str, *fields: str) -> list[alt.Tooltip]:
    """Return numbers for a tooltip, each written in one form."""
    return [alt.Tooltip(f"{field}:Q", format=form) for field in fields]


def outline(width: float) -> Any:
    """Return the line around marks: of the chosen layer's only."""
    return alt.when("datum.chosen").then(alt.value(width)).otherwise(alt.value(0))


def side_by_side(layers: Sequence[Layer]) -> alt.Chart:
    """Place marks side by side, with the blocks' numbers as the axis."""
    middles = {(first + last) / 2: label for label, first, last in blocks_of(layers)}
    labels = json.dumps({f"{middle:g}": label for middle, label in middles.items()})
    axis = alt.Axis(
        values=list(middles),
        labelExpr=f"{labels}[datum.value]",
        ticks=False,
        grid=False,
        title="block",
    )
    left = alt.X("left:Q", axis=axis).scale(domain=[0, len(layers)], nice=False)
    return ROWS.encode(x=left, x2="right")


def pickable(layers: Sequence[Layer]) -> alt.Chart:
    """Place marks side by side, where a click chooses a layer."""
    pick = alt.selection_point(name=PICK, fields=["layer"])
    return side_by_side(layers).add_params(pick)


def over_blocks(
    layers: Sequence[Layer], marks: Sequence[alt.Chart], height: int, dark: bool
) -> dict[str, Any]:
    """Lay marks over thin lines between blocks."""
    edges = alt.InlineData([{"edge": first} for _, first, _ in blocks_of(layers)[1:]])
    lines = alt.Chart(edges).mark_rule(strokeDash=[2, 3], opacity=0.3, color=ink(dark))
    return specification(alt.layer(*marks, lines.encode(x="edge:Q"), height=height))


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return what the browser draws a table by; sizes that are not given are the page's."""
    return {key: value for key, value in chart.to_dict().items() if key != "config"}

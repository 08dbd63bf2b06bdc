"""Draw charts of two runs compared. Pure: values in, tables and Vega-Lite specifications out."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from app.look.altair_charts import (
    CHARTS_KEPT,
    ROWS,
    figures,
    layer_table,
    over_blocks,
    side_by_side,
    specification,
)
from app.look.charts import colours, ink
from app.runs.pair import BOTH, FIRST, NEITHER, ONLY_ONE, ONLY_OTHER, SECOND, RunComparison
from lrp.engine.layers import Layer
from quant.evaluation.comparison import ClassAccuracy
from quant.primitives.bits import MENU, Allocation, LayerBits
from quant.report.drawing.colours import DARK_BITS, LIGHT_BITS

WEIGHTS, ACTIVATIONS = "Weights", "Activations"
TALL = 9.5  # where the axis of bits ends on either side
MOST_CLASSES = 20  # in the chart; the table has all
FAINT = 0.4  # opacity of layers with the same bits on both sides
# Heights include axes and legends.
OUTCOME_HEIGHT, BITS_HEIGHT, CLASS_HEIGHT, CLASS_MARGIN = 92, 300, 25, 84


def outcome_table(comparison: RunComparison) -> pd.DataFrame:
    """Return how many images each outcome has, in the order of the bar."""
    counts = comparison.outcomes
    return pd.DataFrame(
        {
            "outcome": list(counts),
            "order": range(len(counts)),
            "images": list(counts.values()),
            "share": [count / comparison.images for count in counts.values()],
        }
    )


@lru_cache(CHARTS_KEPT)
def outcome_spec(dark: bool) -> dict[str, Any]:
    """Specify one bar of all images, by who is right."""
    one, other, *_ = colours(dark)
    right, wrong = ("#5a6675", "#39424e") if dark else ("#b3bcc8", "#dde2e9")
    bar = ROWS.mark_bar(stroke="#11161d" if dark else "#ffffff", strokeWidth=1).encode(
        x=alt.X("images:Q", stack="zero", axis=None).scale(nice=False),
        order="order:O",
        color=alt.Color("outcome:N")
        .scale(domain=[BOTH, ONLY_ONE, ONLY_OTHER, NEITHER], range=[right, one, other, wrong])
        .legend(orient="top", title=None, offset=4, symbolStrokeWidth=0),
        tooltip=["outcome:N", *figures(",", "images"), *figures(".1%", "share")],
    )
    return specification(bar.properties(height=OUTCOME_HEIGHT))


def bits_table(
    layers: Sequence[Layer], one: Allocation | None, other: Allocation | None, of: str
) -> pd.DataFrame:
    """Return one row a layer and side that is quantized: A's bits upwards, B's downwards."""
    places, parts = layer_table(layers, None), []
    for mark, allocation, up in ((FIRST, one, 1), (SECOND, other, -1)):
        if allocation is None:
            continue
        rows = places[places["layer"].isin(list(allocation))].copy()
        rows["bits"] = [bits_of(allocation[layer], of) for layer in rows["layer"]]
        rows["side"] = mark
        rows["end"] = up * rows["bits"]
        rows["print"] = up * (rows["bits"] + 0.75)
        parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    return table.assign(same=table.duplicated(["layer", "bits"], keep=False))


def bits_of(bits: LayerBits, of: str) -> int:
    """Return the bits of a layer's weights or of its activations."""
    return bits.weight if of == WEIGHTS else bits.activation


@lru_cache(CHARTS_KEPT)
def bits_spec(layers: tuple[Layer, ...], sides: tuple[str, ...], dark: bool) -> dict[str, Any]:
    """Specify bars of A's bits above the line and of B's below it, the numbers printed.

    Args:
        sides: those that are quantized.
    """
    axis = alt.Axis(
        title="B ↓    bits    ↑ A" if len(sides) > 1 else f"bits of {sides[0]}",
        values=[-8, -6, -4, -2, 0, 2, 4, 6, 8],
        labelExpr="abs(datum.value)",
        minExtent=40,
        maxExtent=40,
    )
    ends = [-TALL if SECOND in sides else 0, TALL if FIRST in sides else 0]
    palette = alt.Scale(domain=list(MENU), range=DARK_BITS if dark else LIGHT_BITS)
    fading = alt.when("datum.same").then(alt.value(FAINT)).otherwise(alt.value(1))
    bars = (
        side_by_side(layers)
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            y=alt.Y("end:Q", axis=axis).scale(domain=ends, nice=False),
            y2=alt.datum(0),
            color=alt.Color("bits:O", scale=palette, legend=None),
            opacity=fading,
            tooltip=["layer:N", "kind:N", "side:N", "bits:N"],
        )
    )
    numbers = ROWS.mark_text(fontSize=12 if len(layers) < 60 else 9, color=ink(dark))
    numbers = numbers.encode(x="middle:Q", y="print:Q", text="bits:N", opacity=fading)
    line = alt.Chart(alt.InlineData([{}])).mark_rule(color=ink(dark), opacity=0.6)
    marks = [bars, numbers, line.encode(y=alt.datum(0))]
    return over_blocks(layers, marks, BITS_HEIGHT * (1 + len(sides)) // 3, dark)


def class_table(classes: Sequence[ClassAccuracy], names: Sequence[str]) -> pd.DataFrame:
    """Return one row a class, the most changed first; accuracies in percent."""
    rows = [
        {
            "class": names[c.label] if c.label < len(names) else f"class {c.label}",
            "images": c.images,
            "A": 100 * c.top1,
            "B": 100 * (c.other or 0.0),
            "change": 100 * ((c.other or 0.0) - c.top1),
        }
        for c in classes
    ]
    return pd.DataFrame(rows).sort_values("change", key=abs, ascending=False, kind="stable")


def class_points(table: pd.DataFrame) -> pd.DataFrame:
    """Return A's and B's accuracy in the most changed classes, one row a point."""
    shown = table.head(MOST_CLASSES)
    long = shown.melt(["class", "images", "change"], ["A", "B"], "side", "accuracy")
    return long.assign(order=long["class"].map({c: i for i, c in enumerate(shown["class"])}))


@lru_cache(CHARTS_KEPT)
def class_spec(count: int, dark: bool) -> dict[str, Any]:
    """Specify a line from A's to B's accuracy for each of `count` classes."""
    axis = alt.Axis(labelOverlap=False, grid=True, gridOpacity=0.3)
    places = ROWS.encode(
        x=alt.X("accuracy:Q", title="top-1 within the class (%)").scale(zero=False, nice=True),
        y=alt.Y("class:N", sort=alt.EncodingSortField("order"), title=None, axis=axis),
    )
    lines = places.mark_line(strokeWidth=2, opacity=0.5, color=ink(dark)).encode(detail="class:N")
    sides = [FIRST, SECOND]
    points = places.mark_point(filled=True, size=90, opacity=1).encode(
        color=alt.Color("side:N")
        .scale(domain=sides, range=colours(dark)[:2])
        .legend(orient="top", title=None),
        shape=alt.Shape("side:N").scale(domain=sides, range=["circle", "diamond"]),
        tooltip=["class:N", "side:N", *figures(".1f", "accuracy"), *figures("+.1f", "change"),
                 "images:Q"],
    )  # fmt: skip
    return specification(alt.layer(lines, points, height=CLASS_MARGIN + CLASS_HEIGHT * count))

"""Draw charts of two runs compared. Pure: values in, tables and Vega-Lite specifications out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from app.look.charts import DARK, DARK_BITS, LIGHT, LIGHT_BITS, ink, layer_table, span, spec
from app.runs.pair import BOTH, FIRST, NEITHER, ONLY_ONE, ONLY_OTHER, SECOND, Comparison
from lrp.engine.layers import Layer
from quant.evaluation.comparison import ClassAccuracy
from quant.primitives.bits import MENU, Allocation

WEIGHTS, ACTIVATIONS = "Weights", "Activations"
TALL = 9.5  # where the axis of bits ends on either side
MOST_CLASSES = 20  # in the chart; the table has all
FAINT = 0.4  # opacity of layers with the same bits on both sides
# Heights are of all there is, with axes and legends.
OUTCOME_HEIGHT, BITS_HEIGHT, CLASS_HEIGHT, CLASS_MARGIN = 92, 300, 25, 84


def side_colours(dark: bool) -> tuple[str, str]:
    """Return the colours of A and B."""
    blue, red, *_ = DARK if dark else LIGHT
    return blue, red


def outcome_table(found: Comparison) -> pd.DataFrame:
    """Return how many images each outcome has, in the order of the bar."""
    counts = found.outcomes
    return pd.DataFrame(
        {
            "outcome": list(counts),
            "order": range(len(counts)),
            "images": list(counts.values()),
            "share": [count / found.images for count in counts.values()],
        }
    )


def outcome_spec(dark: bool) -> dict[str, Any]:
    """Specify one bar of all images, by who is right."""
    one, other = side_colours(dark)
    shades = ("#5a6675", "#39424e") if dark else ("#b3bcc8", "#dde2e9")
    domain, colours = [BOTH, ONLY_ONE, ONLY_OTHER, NEITHER], [shades[0], one, other, shades[1]]
    return {
        "height": OUTCOME_HEIGHT,
        "mark": {"type": "bar", "stroke": "#11161d" if dark else "#ffffff", "strokeWidth": 1},
        "encoding": {
            "x": {
                "field": "images",
                "type": "quantitative",
                "stack": "zero",
                "axis": None,
                "scale": {"nice": False},
            },
            "order": {"field": "order"},
            "color": {
                "field": "outcome",
                "type": "nominal",
                "scale": {"domain": domain, "range": colours},
                "legend": {"orient": "top", "title": None, "offset": 4, "symbolStrokeWidth": 0},
            },
            "tooltip": [
                {"field": "outcome", "type": "nominal"},
                {"field": "images", "type": "quantitative", "format": ","},
                {"field": "share", "type": "quantitative", "format": ".1%"},
            ],
        },
    }


def bits_table(
    layers: Sequence[Layer], one: Allocation | None, other: Allocation | None, of: str
) -> pd.DataFrame:
    """Return one row a layer and side that is quantized: A's bits upwards, B's downwards."""
    places, parts = layer_table(layers, None), []
    for mark, allocation, up in ((FIRST, one, 1), (SECOND, other, -1)):
        if allocation is None:
            continue
        rows = places[places["layer"].isin(list(allocation))].copy()
        rows["bits"] = [bits_of(allocation, layer, of) for layer in rows["layer"]]
        rows["side"] = mark
        rows["end"] = up * rows["bits"]
        rows["print"] = up * (rows["bits"] + 0.75)
        rows["same"] = [
            one is not None
            and other is not None
            and bits_of(one, layer, of) == bits_of(other, layer, of)
            for layer in rows["layer"]
        ]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def bits_of(allocation: Allocation, layer: str, of: str) -> int | None:
    """Return a layer's bits of weights or activations; None where it stays in float."""
    bits = allocation.get(layer)
    if bits is None:
        return None
    return bits.weight if of == WEIGHTS else bits.activation


def bits_spec(layers: Sequence[Layer], sides: Sequence[str], dark: bool) -> dict[str, Any]:
    """Specify bars of A's bits above the line and of B's below it, the numbers printed.

    Args:
        sides: those that are quantized.
    """
    scale = {"domain": list(MENU), "range": DARK_BITS if dark else LIGHT_BITS}
    axis = {
        "title": "B ↓    bits    ↑ A" if len(sides) > 1 else f"bits of {sides[0]}",
        "values": [-8, -6, -4, -2, 0, 2, 4, 6, 8],
        "labelExpr": "abs(datum.value)",
        "minExtent": 40,
        "maxExtent": 40,
    }
    ends = [-TALL if SECOND in sides else 0, TALL if FIRST in sides else 0]
    height = {"domain": ends, "nice": False}
    fading = {"condition": {"test": "datum.same", "value": FAINT}, "value": 1}
    bars = {
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            **span(layers),
            "y": {"field": "end", "type": "quantitative", "axis": axis, "scale": height},
            "y2": {"datum": 0},
            "color": {"field": "bits", "type": "ordinal", "scale": scale, "legend": None},
            "opacity": fading,
            "tooltip": [
                {"field": field, "type": "nominal"} for field in ("layer", "kind", "side", "bits")
            ],
        },
    }
    numbers = {
        "mark": {"type": "text", "fontSize": 12 if len(layers) < 60 else 9, "color": ink(dark)},
        "encoding": {
            "x": {"field": "middle", "type": "quantitative"},
            "y": {"field": "print", "type": "quantitative"},
            "text": {"field": "bits"},
            "opacity": fading,
        },
    }
    line = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": ink(dark), "opacity": 0.6},
        "encoding": {"y": {"datum": 0}},
    }
    return spec(layers, [bars, numbers, line], BITS_HEIGHT * (1 + len(sides)) // 3, dark)


def class_table(classes: Sequence[ClassAccuracy], names: Sequence[str]) -> pd.DataFrame:
    """Return one row a class, the most changed first; accuracies in percent."""
    rows = [
        {
            "class": names[found.label] if found.label < len(names) else f"class {found.label}",
            "images": found.images,
            "A": 100 * found.top1,
            "B": 100 * (found.other or 0.0),
            "change": 100 * ((found.other or 0.0) - found.top1),
        }
        for found in classes
    ]
    return pd.DataFrame(rows).sort_values("change", key=abs, ascending=False, kind="stable")


def class_points(table: pd.DataFrame) -> pd.DataFrame:
    """Return A's and B's accuracy in the most changed classes, one row a point."""
    shown = table.head(MOST_CLASSES)
    long = shown.melt(["class", "images", "change"], ["A", "B"], "side", "accuracy")
    return long.assign(order=long["class"].map({c: i for i, c in enumerate(shown["class"])}))


_CLASS_PLACES: dict[str, Any] = {
    "x": {
        "field": "accuracy",
        "type": "quantitative",
        "title": "top-1 within the class (%)",
        "scale": {"zero": False, "nice": True},
    },
    "y": {
        "field": "class",
        "type": "nominal",
        "sort": {"field": "order"},
        "title": None,
        "axis": {"labelOverlap": False, "grid": True, "gridOpacity": 0.3},
    },
}

_CLASS_TOLD = [
    {"field": "class", "type": "nominal"},
    {"field": "side", "type": "nominal"},
    {"field": "accuracy", "type": "quantitative", "format": ".1f"},
    {"field": "change", "type": "quantitative", "format": "+.1f"},
    {"field": "images", "type": "quantitative"},
]


def class_spec(count: int, dark: bool) -> dict[str, Any]:
    """Specify a line from A's to B's accuracy for each of `count` classes."""
    colours = {"domain": [FIRST, SECOND], "range": list(side_colours(dark))}
    shapes = {"domain": [FIRST, SECOND], "range": ["circle", "diamond"]}
    legend = {"orient": "top", "title": None}
    lines = {
        "mark": {"type": "line", "strokeWidth": 2, "opacity": 0.5, "color": ink(dark)},
        "encoding": {**_CLASS_PLACES, "detail": {"field": "class"}},
    }
    points = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {
            **_CLASS_PLACES,
            "color": {"field": "side", "scale": colours, "legend": legend},
            "shape": {"field": "side", "scale": shapes},
            "tooltip": _CLASS_TOLD,
        },
    }
    return {"height": CLASS_MARGIN + CLASS_HEIGHT * count, "layer": [lines, points]}

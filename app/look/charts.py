"""Draw charts. Pure: values in, Plotly figures or Vega-Lite specifications out.

Charts that follow the budget are Vega-Lite: their specification is the same for every budget, so
the browser moves the bars instead of building the chart anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lrp.engine.layers import Layer

KINDS = {"linear": "linear layer", "matmul": "attention product", "conv2d": "convolution"}
# Cividis, cut where it would melt into the page: ordered for every kind of colour vision.
LIGHT_BITS = ["#00224e", "#26416e", "#4f576c", "#737475", "#989067", "#bfab54", "#dcc437"]
DARK_BITS = ["#3f5a8c", "#5a6684", "#757779", "#928c73", "#b4a369", "#d6bc55", "#fee838"]
LIGHT_KINDS, DARK_KINDS = ["#0072b2", "#d55e00", "#009e73"], ["#56b4e9", "#e8743b", "#2bbf93"]
# Okabe and Ito's colours as in the theme; dashes and symbols differ too, for every eye.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b8609a", "#b87a00", "#3596d4", "#5c6673")
DARK = ("#56b4e9", "#e8743b", "#2bbf93", "#cc79a7", "#e69f00", "#f0e442", "#9aa5b1")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
MANY_LAYERS = 90  # above this the printed numbers get smaller
QUANTITY, NOMINAL = "quantitative", "nominal"  # what Vega-Lite calls kinds of fields
PICK = "pick"  # the name of the selection of a layer by click
CHART_CONFIG = {"displaylogo": False, "showSendToCloud": False}
MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


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
    parts = []
    for side in ("weights", "activations"):
        part = table.assign(what=side, loss=rows[side], above=rows[side])
        part["below"] = 0.0 if side == "weights" else rows["weights"]
        part["above"] = part["below"] + rows[side]
        parts.append(part)
    return pd.concat(parts)


def blocks_of(layers: Sequence[Layer]) -> list[tuple[str, int, int]]:
    """Return the runs of layers of one block: (label, first, one past the last)."""
    runs: list[tuple[str, int, int]] = []
    for index, layer in enumerate(layers):
        label = short_block(layer.block)
        if runs and runs[-1][0] == label:
            runs[-1] = (label, runs[-1][1], index + 1)
        else:
            runs.append((label, index, index + 1))
    return runs


def short_block(block: str) -> str:
    """Say a block's name shortly: "layers.1.blocks.0" -> "1.0"; no block is ""."""
    return ".".join(part for part in block.split(".") if part.isdigit())


def score_spec(layers: Sequence[Layer], dark: bool) -> dict[str, Any]:
    """Specify bars of the scores with error bars, by kind of layer."""
    kinds = [KINDS[k] for k in KINDS if any(layer.kind == k for layer in layers)]
    colours = (DARK_KINDS if dark else LIGHT_KINDS)[: len(kinds)]
    scale = {"domain": kinds, "range": colours}
    legend = {"orient": "top", "title": None, "offset": 0, "symbolStrokeWidth": 0}
    bars = {
        "params": [{"name": PICK, "select": {"type": "point", "fields": ["layer"]}}],
        "mark": {"type": "bar", "cornerRadiusEnd": 2, "stroke": ink(dark), "cursor": "pointer"},
        "encoding": {
            **span(layers),
            "strokeWidth": _outline("datum.chosen"),
            **_height("score", "share of relevance (%)", {"nice": True}),
            "color": {"field": "kind", "type": "nominal", "scale": scale, "legend": legend},
            "tooltip": _tooltip("layer", "kind", score=".2f", sd=".2f"),
        },
    }
    errors = {
        "mark": {"type": "rule", "opacity": 0.75, "color": ink(dark)},
        "encoding": {
            "x": {"field": "middle", "type": "quantitative"},
            "y": {"field": "low", "type": "quantitative"},
            "y2": {"field": "high"},
        },
    }
    return spec(layers, [bars, errors], 240, dark)


def sensitivity_spec(layers: Sequence[Layer], dark: bool) -> dict[str, Any]:
    """Specify bars of sensitivities, weights below and activations on top."""
    scale = {
        "domain": ["weights", "activations"],
        "range": (DARK_KINDS if dark else LIGHT_KINDS)[:2],
    }
    legend = {"orient": "top", "title": None, "offset": 0, "symbolStrokeWidth": 0}
    height = _height("above", "divergence (0.001 nats)", {"nice": True})
    bars = {
        "mark": {"type": "bar"},
        "encoding": {
            **span(layers),
            **height,
            "y2": {"field": "below"},
            "color": {"field": "what", "type": "nominal", "scale": scale, "legend": legend},
            "tooltip": _tooltip("layer", "what", loss=".3f"),
        },
    }
    return spec(layers, [bars], 240, dark)


def _outline(test: str) -> dict[str, Any]:
    return {"condition": {"test": test, "value": 2}, "value": 0}


def colours(dark: bool) -> tuple[str, ...]:
    """Return the page's categories, told apart by every eye."""
    return DARK if dark else LIGHT


def ink(dark: bool) -> str:
    """Return the colour of lines and text."""
    return "#e6ebf2" if dark else "#1b2430"


def span(layers: Sequence[Layer]) -> dict[str, Any]:
    """Place bars side by side, with the blocks' numbers as the axis."""
    middles = {(first + last) / 2: label for label, first, last in blocks_of(layers)}
    labels = json.dumps({f"{middle:g}": label for middle, label in middles.items()})
    axis = {
        "values": list(middles),
        "labelExpr": f"{labels}[datum.value]",
        "ticks": False,
        "grid": False,
        "title": "block",
    }
    scale = {"domain": [0, len(layers)], "nice": False}
    return {
        "x": {"field": "left", "type": "quantitative", "axis": axis, "scale": scale},
        "x2": {"field": "right"},
    }


def _height(field: str, title: str, scale: dict[str, Any]) -> dict[str, Any]:
    # One extent for all charts, so that a layer's bars stand above one another.
    axis = {"title": title, "minExtent": 40, "maxExtent": 40, "tickCount": 5}
    return {
        "y": {"field": field, "type": "quantitative", "axis": axis, "scale": scale},
        "y2": {"datum": 0},
    }


def _tooltip(*fields: str, **formats: str) -> list[dict[str, str]]:
    plain = [{"field": name, "type": "nominal"} for name in fields]
    numbers = [{"field": n, "type": "quantitative", "format": f} for n, f in formats.items()]
    return plain + numbers


def spec(
    layers: Sequence[Layer], marks: list[dict[str, Any]], height: int, dark: bool
) -> dict[str, Any]:
    """Lay marks over thin lines between blocks."""
    edges = [{"edge": first} for _, first, _ in blocks_of(layers)[1:]]
    lines = {
        "data": {"values": edges},
        "mark": {"type": "rule", "strokeDash": [2, 3], "opacity": 0.3, "color": ink(dark)},
        "encoding": {"x": {"field": "edge", "type": "quantitative"}},
    }
    return {"height": height, "layer": [*marks, lines]}

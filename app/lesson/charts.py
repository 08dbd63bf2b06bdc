"""Draw the lesson: a number line under its grid, and the error over the range. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from app.lesson.levels import SHARES, Lesson, lesson
from app.look.charts import NOMINAL, QUANTITY, colours, ink

KINDS = ("rounded", "clipped")
PARTS = ("rounding", "clipping", "total")


def line_table(found: Lesson) -> pd.DataFrame:
    """Return one row a number, from where it stands to its level; and one a level."""
    numbers = pd.DataFrame(
        {
            "kind": "number",
            "number": found.values,
            "becomes": found.quantized,
            "error": found.quantized - found.values,
            "what": np.where(found.clipped, KINDS[1], KINDS[0]),
        }
    )
    levels = pd.DataFrame({"kind": "level", "number": found.levels, "becomes": found.levels})
    levels["integer"] = range(len(levels))
    return pd.concat([numbers, levels], ignore_index=True)


def line_spec(low: float, high: float, dark: bool) -> dict[str, Any]:
    """Specify the number line over [low, high]: numbers above, levels below, a line between."""
    margin = 0.08 * (high - low)
    scale = {"domain": [low - margin, high + margin], "nice": False, "zero": False}
    axis = {"title": "numbers above, the grid's levels below", "grid": False}
    place = {"type": QUANTITY, "scale": scale, "axis": axis}
    return {"height": 190, "layer": [*_numbers(place, dark), _levels(place, dark)]}


_HEIGHT = {"type": QUANTITY, "scale": {"domain": [-0.25, 1.25]}, "axis": None}


def _numbers(place: dict[str, Any], dark: bool) -> list[dict[str, Any]]:
    blue, red, *_ = colours(dark)
    domain = list(KINDS)
    colour = {
        "field": "what",
        "type": NOMINAL,
        "scale": {"domain": domain, "range": [blue, red]},
        "legend": {"orient": "top", "title": None, "symbolStrokeWidth": 0},
    }
    common = {"x": {**place, "field": "number"}, "y": {"datum": 1, **_HEIGHT}, "color": colour}
    shape = {**colour, "scale": {"domain": domain, "range": ["circle", "diamond"]}}
    only = [{"filter": "datum.kind == 'number'"}]
    return [
        {
            "transform": only,
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {**common, "x2": {"field": "becomes"}, "y2": {"datum": 0}},
        },
        {
            "transform": only,
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {
                **common,
                "shape": shape,
                "tooltip": _tooltip("number", "becomes", "error"),
            },
        },
    ]


def _levels(place: dict[str, Any], dark: bool) -> dict[str, Any]:
    return {
        "transform": [{"filter": "datum.kind == 'level'"}],
        "mark": {"type": "tick", "thickness": 2, "size": 26, "color": ink(dark)},
        "encoding": {
            "x": {**place, "field": "becomes"},
            "y": {"datum": 0, **_HEIGHT},
            "tooltip": _tooltip("integer", "becomes"),
        },
    }


def _tooltip(*fields: str) -> list[dict[str, str]]:
    return [{"field": name, "type": QUANTITY, "format": ".3~g"} for name in fields]


def error_table(numbers: tuple[float, ...], bits: int, share: float) -> pd.DataFrame:
    """Return the parts of the error, as root mean squares, at every range."""
    rows = []
    for each in SHARES:
        found = lesson(numbers, bits, each)
        for part in PARTS:
            error = getattr(found, part) ** 0.5
            rows.append({"range": 100 * each, "part": part, "error": error, "here": each == share})
    return pd.DataFrame(rows)


def error_spec(dark: bool) -> dict[str, Any]:
    """Specify the error over the range, with dots at the chosen one."""
    blue, red, green, *_ = colours(dark)
    x = {"field": "range", "type": QUANTITY, "axis": {"title": "range covered (%)"}}
    y = {"field": "error", "type": QUANTITY, "axis": {"title": "error (root mean square)"}}
    palette = {"domain": list(PARTS), "range": [blue, red, green]}
    legend = {"orient": "top", "title": None}
    colour = {"field": "part", "type": NOMINAL, "scale": palette, "legend": legend}
    dash = {"domain": list(PARTS), "range": [[6, 3], [2, 2], [1, 0]]}
    tooltip = [
        {"field": "part", "type": NOMINAL},
        {"field": "range", "type": QUANTITY},
        {"field": "error", "type": QUANTITY, "format": ".3~g"},
    ]
    lines = {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": x,
            "y": y,
            "color": colour,
            "strokeDash": {"field": "part", "type": NOMINAL, "scale": dash, "legend": legend},
            "tooltip": tooltip,
        },
    }
    dots = {
        "transform": [{"filter": "datum.here"}],
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
    }
    return {"height": 240, "layer": [lines, dots]}

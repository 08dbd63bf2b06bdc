"""Draw the channels behind a LayerNorm and what clipping does to them. Pure.

Each specification is the same for every threshold, so that a moving slider redraws at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from app.look.charts import NOMINAL, QUANTITY, colours, ink
from quant.analysis.clipping import LIMITS, Clipping


def range_table(found: Clipping, limit: float) -> pd.DataFrame:
    """Return one row a channel, by the width of its quantizer: its range and what is covered."""
    low, high, changed = found.kept(limit)
    order = np.argsort(found.channels.scale.numpy(), kind="stable")
    return pd.DataFrame(
        {
            "channel": order,
            "place": np.arange(len(order)),
            "low": found.low[order],
            "high": found.high[order],
            "covered from": low[order],
            "covered to": high[order],
            "clipping": np.where(changed[order], "touched", "untouched"),
        }
    )


def range_spec(channels: int, dark: bool) -> dict[str, Any]:
    """Specify bars of each channel's range, with what the quantizer covers of those touched."""
    blue, red, *_ = colours(dark)
    scale = {"domain": ["untouched", "touched"], "range": [blue, red]}
    x = {
        "field": "place",
        "type": QUANTITY,
        "scale": {"domain": [-1, channels], "nice": False},
        "axis": {"title": "channels, the narrowest first", "grid": False, "tickCount": 6},
    }
    fields = ("channel", "low", "high", "covered from", "covered to")
    thick = max(1.0, min(6.0, 560 / max(1, channels)))
    ranges = {
        "mark": {"type": "rule", "strokeWidth": thick},
        "encoding": {
            "x": x,
            "y": {"field": "low", "type": QUANTITY, "axis": {"title": "value", "tickCount": 6}},
            "y2": {"field": "high"},
            "color": {
                "field": "clipping",
                "type": NOMINAL,
                "scale": scale,
                "legend": {"orient": "top", "title": None, "symbolStrokeWidth": 4},
            },
            "tooltip": [{"field": f, "type": QUANTITY, "format": ".3~g"} for f in fields],
        },
    }
    ends = [
        {
            "transform": [{"filter": "datum.clipping == 'touched'"}],
            "mark": {"type": "tick", "thickness": 2, "size": max(4.0, thick), "color": ink(dark)},
            "encoding": {"x": x, "y": {"field": field, "type": QUANTITY}},
        }
        for field in ("covered from", "covered to")
    ]
    return {"height": 280, "layer": [ranges, *ends]}


def limit_table(found: Clipping, limit: float) -> pd.DataFrame:
    """Return one row a threshold, and one a way to do without."""
    here = found.at(limit)
    rows = [
        {"way": "clipped", "K": k, "SQNR": e, "touched": t, "here": i == here}
        for i, (k, e, t) in enumerate(zip(LIMITS, found.errors, found.touched, strict=True))
    ]
    others = (
        ("one range", found.off),
        ("a range each", found.plain),
        ("the preset's way", found.own),
    )
    ends = [
        {"way": name, "K": k, "SQNR": error, "touched": 0, "here": False}
        for name, error in others
        for k in (LIMITS[0], LIMITS[-1])
    ]
    table = pd.DataFrame(rows + ends)
    return table[np.isfinite(table["SQNR"])]


def limit_spec(dark: bool) -> dict[str, Any]:
    """Specify the error over the threshold, with a mark at the chosen one."""
    ways = ["clipped", "one range", "a range each", "the preset's way"]
    palette = [colours(dark)[i] for i in (1, 6, 0, 2)]
    axis = {"title": "SQNR of the output (dB)", "tickCount": 6}
    x = {"field": "K", "type": QUANTITY, "axis": {"title": "threshold K (standard deviations)"}}
    y = {"field": "SQNR", "type": QUANTITY, "axis": axis, "scale": {"zero": False}}
    legend = {"orient": "top", "title": None, "columns": 2}
    colour = {"field": "way", "type": NOMINAL, "scale": {"domain": ways, "range": palette}}
    dashes = {"domain": ways, "range": [[1, 0], [2, 2], [6, 3], [10, 3, 2, 3]]}
    tooltip = [
        {"field": "way", "type": NOMINAL},
        *({"field": f, "type": QUANTITY, "format": ".3~g"} for f in ("K", "SQNR", "touched")),
    ]
    line = {
        "mark": {"type": "line", "strokeWidth": 2, "tooltip": True},
        "encoding": {
            "x": x,
            "y": y,
            "color": {**colour, "legend": legend},
            "strokeDash": {"field": "way", "type": NOMINAL, "scale": dashes, "legend": legend},
            "tooltip": tooltip,
        },
    }
    dot = {
        "transform": [{"filter": "datum.here"}],
        "mark": {"type": "point", "filled": True, "size": 130, "color": ink(dark)},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }
    return {"height": 280, "layer": [line, dot]}

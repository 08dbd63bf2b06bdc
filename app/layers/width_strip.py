"""Draw a strip of all layers by all widths. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from app.look.charts import DARK_BITS, LIGHT_BITS, NOMINAL, PICK, QUANTITY, ink, span, spec
from lrp.engine.layers import Layer
from quant.analysis.sqnr_by_width import Sweep

TOP, BOTTOM = 50.0, 5.0  # dB, where the colours end


def strip_table(
    layers: Sequence[Layer], sweep: Sweep, kind: int, chosen: str | None
) -> pd.DataFrame:
    """Return one row a layer and width; what is beyond the colours is drawn as their ends."""
    where = {name: i for i, name in enumerate(sweep.names)}
    rows = [
        {
            "layer": layer.name,
            "bits": width,
            "SQNR": float(np.clip(error, BOTTOM, TOP)),
            "left": place,
            "right": place + 1,
            "low": width - 0.5,
            "high": width + 0.5,
            "chosen": layer.name == chosen,
        }
        for place, layer in enumerate(layers)
        for width, error in zip(sweep.widths, sweep.errors[where[layer.name], kind], strict=True)
    ]
    return pd.DataFrame(rows)


def strip_spec(layers: Sequence[Layer], dark: bool) -> dict[str, Any]:
    """Specify a heatmap of SQNR by layer and width; a click chooses a layer."""
    palette = DARK_BITS if dark else LIGHT_BITS
    domain = np.linspace(BOTTOM, TOP, len(palette)).tolist()
    colours = {"domain": domain, "range": palette, "clamp": True, "interpolate": "rgb"}
    widths = {"title": "bits", "values": list(range(2, 9)), "grid": False, "ticks": False}
    height = {"domain": [1.5, 8.5], "nice": False, "zero": False}
    cells = {
        "params": [{"name": PICK, "select": {"type": "point", "fields": ["layer"]}}],
        "mark": {"type": "rect", "cursor": "pointer", "stroke": ink(dark)},
        "encoding": {
            **span(layers),
            "y": {"field": "low", "type": QUANTITY, "axis": widths, "scale": height},
            "y2": {"field": "high"},
            "color": {
                "field": "SQNR",
                "type": QUANTITY,
                "scale": colours,
                "legend": {"title": "SQNR (dB)", "orient": "right", "gradientLength": 160},
            },
            "strokeWidth": {"condition": {"test": "datum.chosen", "value": 1.5}, "value": 0},
            "tooltip": [
                {"field": "layer", "type": NOMINAL},
                {"field": "bits", "type": QUANTITY},
                {"field": "SQNR", "type": QUANTITY, "format": ".1f"},
            ],
        },
    }
    return spec(layers, [cells], 230, dark)

"""Draw a strip of all layers by all widths. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from app.look.altair_charts import CHARTS_KEPT, figures, outline, over_blocks, pickable
from app.look.charts import DARK_BITS, LIGHT_BITS, ink
from lrp.engine.layers import Layer
from quant.analysis.sqnr_by_width import SqnrByWidth

TOP, BOTTOM = 50.0, 5.0  # dB, where the colours end


def strip_table(
    layers: Sequence[Layer], sqnr: SqnrByWidth, kind: int, chosen: str | None
) -> pd.DataFrame:
    """Return one row a layer and width; what is beyond the colours is drawn as their ends."""
    where = {name: i for i, name in enumerate(sqnr.names)}
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
        for width, error in zip(sqnr.widths, sqnr.errors[where[layer.name], kind], strict=True)
    ]
    return pd.DataFrame(rows)


@lru_cache(CHARTS_KEPT)
def strip_spec(layers: tuple[Layer, ...], dark: bool) -> dict[str, Any]:
    """Specify a heatmap of SQNR by layer and width; a click chooses a layer."""
    palette = DARK_BITS if dark else LIGHT_BITS
    domain = np.linspace(BOTTOM, TOP, len(palette)).tolist()
    legend = alt.Legend(title="SQNR (dB)", orient="right", gradientLength=160)
    widths = alt.Axis(title="bits", values=list(range(2, 9)), grid=False, ticks=False)
    cells = (
        pickable(layers)
        .mark_rect(cursor="pointer", stroke=ink(dark))
        .encode(
            y=alt.Y("low:Q", axis=widths).scale(domain=[1.5, 8.5], nice=False, zero=False),
            y2="high",
            color=alt.Color("SQNR:Q", legend=legend).scale(
                domain=domain, range=palette, clamp=True, interpolate="rgb"
            ),
            strokeWidth=outline(1.5),
            tooltip=["layer:N", "bits:Q", *figures(".1f", "SQNR")],
        )
    )
    return over_blocks(layers, [cells], 230, dark)

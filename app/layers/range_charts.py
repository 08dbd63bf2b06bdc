"""Draw the channels behind a LayerNorm and what clipping does to them. Pure.

Each specification is the same for every threshold, so that a moving slider redraws at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from app.look.altair_charts import CHARTS_KEPT, ROWS, figures, specification
from app.look.charts import colours, ink
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


@lru_cache(CHARTS_KEPT)
def range_spec(channels: int, dark: bool) -> dict[str, Any]:
    """Specify bars of each channel's range, with what the quantizer covers of those touched."""
    thick = max(1.0, min(6.0, 560 / max(1, channels)))
    axis = alt.Axis(title="channels, the narrowest first", grid=False, tickCount=6)
    places = ROWS.encode(x=alt.X("place:Q", axis=axis).scale(domain=[-1, channels], nice=False))
    ranges = places.mark_rule(strokeWidth=thick).encode(
        y=alt.Y("low:Q").axis(title="value", tickCount=6),
        y2="high",
        color=alt.Color("clipping:N")
        .scale(domain=["untouched", "touched"], range=colours(dark)[:2])
        .legend(orient="top", title=None, symbolStrokeWidth=4),
        tooltip=figures(".3~g", "channel", "low", "high", "covered from", "covered to"),
    )
    ends = places.transform_filter("datum.clipping == 'touched'")
    ends = ends.mark_tick(thickness=2, size=max(4.0, thick), color=ink(dark))
    marks = [ranges, ends.encode(y="covered from:Q"), ends.encode(y="covered to:Q")]
    return specification(alt.layer(*marks, height=280))


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


@lru_cache(CHARTS_KEPT)
def limit_spec(dark: bool) -> dict[str, Any]:
    """Specify the error over the threshold, with a mark at the chosen one."""
    ways = ["clipped", "one range", "a range each", "the preset's way"]
    dashes = [[1, 0], [2, 2], [6, 3], [10, 3, 2, 3]]
    legend = alt.Legend(orient="top", title=None, columns=2)
    places = ROWS.encode(
        x=alt.X("K:Q", title="threshold K (standard deviations)"),
        y=alt.Y("SQNR:Q").axis(title="SQNR of the output (dB)", tickCount=6).scale(zero=False),
        tooltip=["way:N", *figures(".3~g", "K", "SQNR", "touched")],
    )
    line = places.mark_line(strokeWidth=2, tooltip=True).encode(
        color=alt.Color("way:N", legend=legend).scale(
            domain=ways, range=[colours(dark)[i] for i in (1, 6, 0, 2)]
        ),
        strokeDash=alt.StrokeDash("way:N", legend=legend).scale(domain=ways, range=dashes),
    )
    dot = places.transform_filter("datum.here").mark_point(filled=True, size=130, color=ink(dark))
    return specification(alt.layer(line, dot, height=280))

"""Draw the lesson: a number line under its grid, and the error over the range. Pure."""

from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from app.lesson.levels import SHARES, Lesson, lesson
from app.look.altair_charts import CHARTS_KEPT, ROWS, figures, specification
from app.look.charts import colours, ink

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


@lru_cache(CHARTS_KEPT)
def line_spec(low: float, high: float, dark: bool) -> dict[str, Any]:
    """Specify the number line over [low, high]: numbers above, levels below, a line between."""
    margin = 0.08 * (high - low)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False, zero=False)
    axis = alt.Axis(title="numbers above, the grid's levels below", grid=False)
    height = alt.Scale(domain=[-0.25, 1.25])
    above, below = (
        alt.YDatum(place, type="quantitative", scale=height, axis=None) for place in (1, 0)
    )
    legend, domain = alt.Legend(orient="top", title=None, symbolStrokeWidth=0), list(KINDS)
    colour = alt.Color("what:N", legend=legend).scale(domain=domain, range=colours(dark)[:2])
    shape = alt.Shape("what:N", legend=legend).scale(domain=domain, range=["circle", "diamond"])
    numbers = ROWS.transform_filter("datum.kind == 'number'")
    numbers = numbers.encode(x=alt.X("number:Q", scale=scale, axis=axis), y=above, color=colour)
    moves = numbers.mark_rule(strokeWidth=1.5).encode(x2="becomes", y2=alt.datum(0))
    points = numbers.mark_point(filled=True, size=90, opacity=1)
    points = points.encode(shape=shape, tooltip=figures(".3~g", "number", "becomes", "error"))
    levels = ROWS.transform_filter("datum.kind == 'level'")
    levels = levels.mark_tick(thickness=2, size=26, color=ink(dark)).encode(
        x=alt.X("becomes:Q", scale=scale, axis=axis),
        y=below,
        tooltip=figures(".3~g", "integer", "becomes"),
    )
    return specification(alt.layer(moves, points, levels, height=190))


def error_table(numbers: tuple[float, ...], bits: int, share: float) -> pd.DataFrame:
    """Return the parts of the error, as root mean squares, at every range."""
    rows = []
    for each in SHARES:
        found = lesson(numbers, bits, each)
        for part in PARTS:
            error = getattr(found, part) ** 0.5
            rows.append({"range": 100 * each, "part": part, "error": error, "here": each == share})
    return pd.DataFrame(rows)


@lru_cache(CHARTS_KEPT)
def error_spec(dark: bool) -> dict[str, Any]:
    """Specify the error over the range, with dots at the chosen one."""
    domain, legend = list(PARTS), alt.Legend(orient="top", title=None)
    errors = ROWS.encode(
        x=alt.X("range:Q", axis=alt.Axis(title="range covered (%)")),
        y=alt.Y("error:Q", axis=alt.Axis(title="error (root mean square)")),
        color=alt.Color("part:N", legend=legend).scale(domain=domain, range=colours(dark)[:3]),
        tooltip=["part:N", "range:Q", *figures(".3~g", "error")],
    )
    dashes = alt.StrokeDash("part:N", legend=legend)
    lines = errors.mark_line(strokeWidth=2).encode(
        strokeDash=dashes.scale(domain=domain, range=[[6, 3], [2, 2], [1, 0]])
    )
    dots = errors.transform_filter("datum.here").mark_point(filled=True, size=110, opacity=1)
    return specification(alt.layer(lines, dots, height=240))

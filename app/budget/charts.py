"""Draw what budgets buy: accuracy against cost, and the path along which layers gain bits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from app.components.budget_table import BudgetTable
from app.look import units
from app.look.altair_charts import blocks_of
from app.look.charts import MARGIN, ink
from app.state.budget import UNITS
from app.text import for_chart
from app.work.spending import Axis
from lrp.engine.layers import Layer
from quant.allocation.cost import Cost
from quant.allocation.path import BudgetPlan
from quant.history.runs import Run
from quant.primitives.formats import label
from quant.report.drawing.colours import MARKERS, OTHER
from quant.report.drawing.widths import number, palette

AXES = {"Model size": "size", "BitOps": "BitOps"}


@dataclass(frozen=True, eq=False)
class MeasuredPoint:
    """A measured configuration: what it is called, what kind it is, what it costs."""

    run: Run
    name: str
    kind: str
    cost: Cost


def trade_off(
    points: Sequence[MeasuredPoint], table: BudgetTable | None, row: int, axis: str, dark: bool
) -> go.Figure:
    """Plot top-1 with its 95 % interval against "size" (MB) or "BitOps" (G).

    Args:
        table: the plan, for the predicted curve with its band; None draws none.
        row: the chosen budget's.
    """
    figure = go.Figure()
    if table is not None and table.mixed.predicted is not None:
        _predicted(figure, table, row, axis, dark)
    kinds = {point.kind for point in points}
    for kind in sorted(kinds, key=lambda kind: (kind not in MARKERS, kind)):
        alike = [point for point in points if point.kind == kind]
        figure.add_trace(_measured(kind, alike, axis, dark))
    title = "model size (MB)" if axis == "size" else "BitOps per image (G)"
    figure.update_layout(height=440, margin=MARGIN, legend={"orientation": "h", "y": 1.12})
    figure.update_xaxes(title=title, type="log", tickformat=".3~g")
    figure.update_yaxes(title="top-1 accuracy (%)")
    return figure


def _cost(cost: Cost, axis: str) -> float:
    return cost.size_bytes / 1e6 if axis == "size" else cost.bitops / 1e9


def _measured(kind: str, points: Sequence[MeasuredPoint], axis: str, dark: bool) -> go.Scatter:
    drawn = MARKERS.get(kind, OTHER)
    evaluations = [p.run.counts.evaluation(0) for p in points]
    texts = [
        f"{for_chart(p.name)} {p.run.recipe.preset if p.run.recipe.allocation else ''}, "
        f"{units.count(e.images)} images"
        for p, e in zip(points, evaluations, strict=True)
    ]
    return go.Scatter(
        name=for_chart(kind),
        x=[_cost(p.cost, axis) for p in points],
        y=[100 * e.top1 for e in evaluations],
        error_y={
            "type": "data",
            "array": [100 * (e.top1_high - e.top1) for e in evaluations],
            "arrayminus": [100 * (e.top1 - e.top1_low) for e in evaluations],
            "thickness": 1.5,
            "width": 4,
        },
        mode="markers",
        marker={"size": 11, "symbol": drawn.symbol, "color": drawn.dark if dark else drawn.light},
        customdata=[p.run.id for p in points],
        text=texts,
        hovertemplate="%{text}<br>top-1 %{y:.1f} %, measured<extra></extra>",
    )


def _predicted(figure: go.Figure, table: BudgetTable, row: int, axis: str, dark: bool) -> None:
    """Add the predicted curve, its band, and a ring at the budget of a row."""
    size, bitops = np.array(table.mixed.size) / 1e6, np.array(table.mixed.bitops) / 1e9
    costs = size if axis == "size" else bitops
    order = np.argsort(costs, kind="stable")
    bands = 100 * np.array(table.mixed.predicted)
    x, (low, middle, high) = costs[order], bands[order].T
    apart = {"hoverinfo": "skip"}  # a click is for measured points, which may lie beneath
    edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False}
    line = {"color": ink(dark), "width": 1, "dash": "dot"}
    ring = {"size": 15, "symbol": "circle-open", "color": ink(dark), "line": {"width": 2}}
    figure.add_scatter(x=x, y=high, **edge, **apart)
    figure.add_scatter(
        x=x, y=low, fill="tonexty", fillcolor="rgba(128,140,160,0.18)", **edge, **apart
    )
    figure.add_scatter(x=x, y=middle, name="predicted", mode="lines", line=line, **apart)
    figure.add_scatter(
        x=[costs[row]],
        y=[bands[row, 1]],
        name="this budget, predicted",
        mode="markers",
        marker=ring,
        **apart,
    )


def path(
    axis: Axis, plan: BudgetPlan, layers: Sequence[Layer], side: str, row: int, dark: bool
) -> go.Figure:
    """Paint every layer's bits along the budget: where a row's colour changes, bits were bought.

    Args:
        side: "weight" or "activation".
        row: the chosen budget's, marked by a line.
    """
    widths = getattr(plan, side).T
    used = np.unique(widths).tolist()
    bits = np.vectorize(number)(widths)
    names = np.vectorize(label)(widths)
    colours = palette(dark)
    steps = [
        [edge, colour]
        for index, colour in enumerate(colours)
        for edge in (index / len(colours), (index + 1) / len(colours))
    ]
    figure = go.Figure(
        go.Heatmap(
            x=list(axis.values), y=list(plan.names), z=bits, text=names, zmin=0.5,
            zmax=len(colours) + 0.5, colorscale=steps,
            colorbar={"title": "bits", "tickvals": [number(width) for width in used],
                      "ticktext": [label(width) for width in used], "thickness": 12},
            hovertemplate="%{y}<br>at %{x:.3g}: %{text} bits<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=axis.values[row], line={"color": "#d55e00", "width": 2})
    blocks = [(block, (first + last - 1) / 2) for block, first, last in blocks_of(layers) if block]
    figure.update_yaxes(
        autorange="reversed",
        tickvals=[plan.names[round(middle)] for _, middle in blocks],
        ticktext=[f"block {block}" for block, _ in blocks],
    )
    figure.update_xaxes(title=UNITS[axis.unit])
    figure.update_layout(height=max(320, 7 * len(layers)), margin=MARGIN)
    return figure

"""Accuracy against cost: what was measured, what is predicted, and sweeps that measure more."""

import pandas as pd
import streamlit as st

from app.budget import charts, sweep
from app.budget.charts import MeasuredPoint
from app.budget.slider import Shown
from app.look import units
from app.look.appearance import dark
from app.look.charts import CHART_CONFIG
from app.parts.choice import one_of
from app.parts.numbers import as_numbers
from app.state import budget, selection
from app.text import escape, told
from app.work import history, models
from quant.allocation.objectives import RANDOM
from quant.history.runs import Run


def show(shown: Shown) -> None:
    """Show every finished run on these images, and the predicted path between them."""
    assert shown.measuring is not None
    points = [_point(shown, run) for run in shown.measuring.done() if run.counts.images]
    with st.container(horizontal=True, vertical_alignment="center"):
        name = one_of("Cost", list(charts.AXES), budget.AXIS, default="Model size")
        axis = charts.AXES[name]
        st.caption(escape(_caption(shown, points)))
    if points:
        st.plotly_chart(
            charts.trade_off(points, shown.table, shown.row, axis, dark()),
            config=CHART_CONFIG,
            key=budget.TRADE_OFF,
            on_select=lambda: _clicked(shown),
            selection_mode="points",
            alt="accuracy against cost",
        )
    sweep.show(shown)
    if points:
        as_numbers({"accuracy and cost": table(points)})


def _caption(shown: Shown, points: list[MeasuredPoint]) -> str:
    assert shown.measuring is not None
    many = "1 configuration" if len(points) == 1 else f"{len(points)} configurations"
    curve = (
        "A predicted curve comes with the first run."
        if shown.table.mixed.predicted is None
        else "The dotted curve is predicted, with a 95 % band from how far runs of this "
        "and of other models lay from theirs."
    )
    return (
        f"{many} measured on these {units.count(len(shown.measuring.images))} images, with 95 % "
        "intervals; up is more accurate, left is cheaper. Click a point to load its bits. " + curve
    )


def _point(shown: Shown, run: Run) -> MeasuredPoint:
    spent = models.costs_of(shown.selected.loaded).cost(run.recipe.allocation or {})
    objective = history.objective(run.recipe)
    kind = RANDOM if objective.startswith(RANDOM) else objective
    return MeasuredPoint(run, history.name(run.recipe), kind, spent)


def _clicked(shown: Shown) -> None:
    """Load the bits of the point that was clicked."""
    picked = st.session_state[budget.TRADE_OFF].selection.points
    numbers = [point.get("customdata") for point in picked if point.get("customdata")]
    if not numbers:
        return
    number = numbers[0][0] if isinstance(numbers[0], list) else numbers[0]
    try:
        allocation = history.history().get(int(number)).recipe.allocation
    except ValueError as error:  # deleted in another window
        st.toast(told(error))
        return
    if allocation is not None:
        selection.set_locks(shown.selected.loaded.key, allocation)
        budget.RELOCKED.set(True)


def table(points: list[MeasuredPoint]) -> pd.DataFrame:
    """Return one row a run; percentages and decimal units."""
    rows = []
    for point in points:
        e = point.run.counts.evaluation(point.run.seconds)
        rows.append(
            {
                "run": point.run.id,
                "configuration": point.name,
                "images": e.images,
                "top-1": units.share(e.top1),
                "95 % interval": units.interval(e.top1_low, e.top1_high),
                "to float": units.points(e.difference),
                "its interval": units.points_between(e.difference_low, e.difference_high),
                "divergence": round(e.divergence, 4),
                "size": units.size(point.cost.size_bytes),
                "BitOps": units.large(point.cost.bitops),
            }
        )
    return pd.DataFrame(rows)

"""Below the slider: how the budget was bought, what it gives, what it is spent by, every layer."""

import streamlit as st

from app.budget import allocation_files, charts, scores, sensitivities, table, trade_off
from app.budget.slider import Shown
from app.look.appearance import dark
from app.look.charts import CHART_CONFIG
from app.parts import damage
from app.parts.choice import one_of
from app.state import budget
from app.text import escape
from app.work import models
from quant.report.purchases import bought

TRADE_OFF = "Accuracy against cost"
BOUGHT = "How it was bought"
LOST = "Where it is lost"
BY = "What bits are spent by"
LAYERS = "All layers, import, export"
SIDES = {"Weights": "weight", "Activations": "activation"}


def show(shown: Shown) -> None:
    """Show one view at a time: what is not looked at costs nothing."""
    views = {BOUGHT: _bought, BY: _spent_by, LAYERS: allocation_files.show}
    if shown.measuring is not None:
        views = {TRADE_OFF: trade_off.show, LOST: _lost, **views}
    views[one_of("View", list(views), budget.BELOW)](shown)


def _bought(shown: Shown) -> None:
    """Show in which order layers gained bits along the path, and what each step cost and gave."""
    with st.container(horizontal=True, vertical_alignment="center"):
        side = SIDES[one_of("Bits of", list(SIDES), budget.BOUGHT)]
        st.caption(
            "Each line is a layer, from the lowest budget to the highest. Where its colour changes "
            "it was bought another bit; bits never fall as the budget grows. The upright line is "
            "this budget."
        )
    layers = models.layers_of(shown.selected.loaded)
    figure = charts.path(shown.axis, shown.plan, layers, side, shown.row, dark())
    st.plotly_chart(figure, config=CHART_CONFIG, alt="bits of every layer along the budget")
    purchases = bought(layers, shown.plan, shown.spending.losses)
    reached = [p for p in purchases if p.row <= shown.row]
    unit = "nats" if shown.spending.losses.objective == "sensitivity" else "of the objective"
    st.caption(
        escape(
            f"{len(reached)} of {len(purchases)} steps were taken up to this budget, the latest "
            f"first; what a step gave is in units {unit}."
        )
    )
    st.dataframe(
        table.purchases_table(shown.axis, reached[::-1]),
        hide_index=True,
        height=320,
        alt="what each step cost and gave, the latest first",
    )


def _lost(shown: Shown) -> None:
    """Share out what the chosen budget's bits lose among the layers."""
    assert shown.measuring is not None
    damage.show(shown.measuring.calibrating, shown.plan.allocation(shown.row))


def _spent_by(shown: Shown) -> None:
    """Show the sensitivities and the contribution scores."""
    if shown.spending.sensitivity is not None:
        sensitivities.show(shown.selected, shown.spending.sensitivity)
    contributions = scores.obtain(shown.selected, shown.scoring)
    if contributions is not None:
        scores.show(shown.selected, contributions)

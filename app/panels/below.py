"""Below the slider: how the budget was bought, what it gives, what it is spent by, every layer."""

from __future__ import annotations

import streamlit as st

from app import budget_charts, budget_state, charts, compute, plans
from app.appearance import dark
from app.charts import CHART_CONFIG
from app.panels import exchange, scores, sensed, trade_off
from app.panels.slider import Shown

TRADE_OFF, BOUGHT, BY, LAYERS = (
    "Accuracy against cost",
    "How it was bought",
    "What bits are spent by",
    "All layers, import, export",
)
SIDES = {"Weights": "weight", "Activations": "activation"}


def show(shown: Shown) -> None:
    """Show one view at a time: what is not looked at costs nothing."""
    views = {BOUGHT: _bought, BY: _spent_by, LAYERS: exchange.show}
    if shown.measuring is not None:
        views = {TRADE_OFF: trade_off.show, **views}
    chosen = st.segmented_control(
        "View",
        list(views),
        default=next(iter(views)),
        required=True,
        key=budget_state.BELOW,
        label_visibility="collapsed",
        persist_state="session",
    )
    views[chosen or next(iter(views))](shown)


def _bought(shown: Shown) -> None:
    """Show in which order layers gained bits along the path, and what each step cost and gave."""
    with st.container(horizontal=True, vertical_alignment="center"):
        side = st.segmented_control(
            "Bits of",
            list(SIDES),
            default="Weights",
            required=True,
            key=budget_state.BOUGHT,
            label_visibility="collapsed",
            persist_state="session",
        )
        st.caption(
            "Each line is a layer, from the lowest budget to the highest. Where its colour changes "
            "it was bought another bit; bits never fall as the budget grows. The upright line is "
            "this budget."
        )
    layers = compute.layers_of(shown.selected.loaded)
    labels = {layer.name: charts.short_block(layer.block) for layer in layers}
    figure = budget_charts.path(
        shown.axis, shown.plan, labels, SIDES[side or "Weights"], shown.row, dark()
    )
    st.plotly_chart(figure, config=CHART_CONFIG, alt="bits of every layer along the budget")
    purchases = plans.bought(layers, shown.plan, shown.spending.losses)
    reached = [p for p in purchases if p.row <= shown.row]
    unit = "nats" if shown.spending.losses.objective == "sensitivity" else "of the objective"
    st.caption(
        f"{len(reached)} of {len(purchases)} steps were taken up to this budget, the latest first; "
        f"what a step gave is in units {unit}."
    )
    st.dataframe(
        plans.purchases_table(shown.axis, reached[::-1]),
        hide_index=True,
        height=320,
        alt="what each step cost and gave, the latest first",
    )


def _spent_by(shown: Shown) -> None:
    """Show the sensitivities and the contribution scores."""
    if shown.spending.sensitivity is not None:
        sensed.show(shown.selected, shown.spending.sensitivity)
    found = scores.obtain(shown.selected, scores.chosen(shown.selected))
    if found is not None:
        scores.show(shown.selected, found)

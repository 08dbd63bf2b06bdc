"""The budget: a slider over the whole path of budgets, drawn in the browser. Reruns alone."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app import address, budget_state, compute, plans, spending, state
from app.appearance import dark
from app.components.budget_slider import budget_slider
from app.components.budget_table import BudgetTable
from app.components.plain_budget import plain_budget_slider
from app.evaluations import Measuring, Wish
from app.panels import live
from app.plans import Axis
from app.sidebar import Selected
from app.spending import Spending
from lrp.propagation.scores import ContributionScores
from quant.allocation.path import BudgetPlan
from quant.primitives.bits import LayerBits


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows a budget of.

    Attributes:
        measuring: None where there is nothing to measure on, or with.
    """

    selected: Selected
    spending: Spending
    axis: Axis
    plan: BudgetPlan
    table: BudgetTable
    measuring: Measuring | None
    scores: ContributionScores | None

    @property
    def row(self) -> int:
        """The row of the chosen budget: the nearest that the locks leave."""
        unit = self.axis.unit
        value = state.budget() if unit == budget_state.AVERAGE else budget_state.value(unit)
        middle = self.axis.values[len(self.axis.values) // 3]
        return self.axis.row(middle if value is None else value)

    def wish(self, row: int) -> Wish:
        """Return what measuring a row means."""
        value = self.table.text(row).strip()
        return Wish(self.plan.allocation(row), self.plan.objective, self.words(value))

    def words(self, value: str) -> str:
        """Say a budget with what else decided the bits."""
        tied = " W=A" if self.spending.tied else ""
        locked = state.locks(self.selected.loaded.key)
        return f"{value}{tied}" + (f", {len(locked)} locked" if locked else "")


def show(shown: Shown) -> None:
    """Show the slider and, under it, what measuring its budget gives."""
    locks = state.locks(shown.selected.loaded.key)
    key = budget_state.PLAIN_BUDGET if _plain() else budget_state.BUDGET

    def committed(row: int) -> None:
        _choose(shown.axis, row)
        if shown.measuring is not None and st.session_state.get(budget_state.AUTO, True):
            live.start(shown.measuring, shown.wish(row))

    def locked(name: str) -> None:
        lock(shown, name)
        st.session_state[budget_state.RELOCKED] = True

    draw = plain_budget_slider if _plain() else budget_slider
    theme = {} if _plain() else {"dark": dark()}
    draw(shown.table, shown.row, locks.keys(), state.layer(), key, committed, live.stop, locked,
         state.choose_layer, **theme)  # fmt: skip
    address.show()
    if st.session_state.pop(budget_state.RELOCKED, False):
        st.rerun()  # other locks, another plan
    if shown.measuring is not None:
        live.show(shown.measuring)


def _plain() -> bool:
    return bool(st.session_state.get(budget_state.PLAIN))


def _choose(axis: Axis, row: int) -> None:
    if axis.unit == budget_state.AVERAGE:
        state.choose_budget(axis.values[row])
    else:
        budget_state.choose_value(axis.unit, axis.values[row])


def lock(shown: Shown, name: str) -> None:
    """Lock a layer at the bits it has now, or unlock it."""
    model = shown.selected.loaded.key
    fixed = state.locks(model)
    if fixed.pop(name, None) is None:
        fixed[name] = shown.plan.allocation(shown.row)[name]
    state.set_locks(model, fixed)


def prepared(
    selected: Selected,
    found: Spending,
    measuring: Measuring | None,
    scores: ContributionScores | None,
) -> Shown:
    """Plan every budget and work out all that the slider can show; Infeasible where none is."""
    loaded = selected.loaded
    locks: dict[str, LayerBits] = state.locks(loaded.key)
    axis, plan = spending.plan_of(loaded, found, locks)
    runs = [] if measuring is None else measuring.done()
    prediction = spending.prediction_of(runs, found.expected)
    table = plans.table_of(
        compute.layers_of(loaded),
        compute.other_parameters_of(loaded),
        axis,
        plan,
        found.expected,
        prediction,
        spending.float_top1(runs),
    )
    return Shown(selected, found, axis, plan, table, measuring, scores)

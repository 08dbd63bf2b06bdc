"""The budget: a slider over the whole path of budgets, drawn in the browser. Reruns alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app.budget import live
from app.budget import table as plans
from app.components.budget_slider import budget_slider
from app.components.budget_table import Actions, BudgetTable
from app.components.plain_budget import plain_budget_slider
from app.look.appearance import dark
from app.parts import report, take_away
from app.state import address, budget, selection
from app.state.selection import Selected
from app.text import escape
from app.work import exports, models, predictions, spending
from app.work.spending import Axis, Spending
from lrp.propagation.scores import ContributionScores, Scoring
from quant.allocation.path import BudgetPlan
from quant.experiments.measuring import Measuring, Variant
from quant.history.runs import Run
from quant.primitives.targets import ANY


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows a budget of.

    Attributes:
        measuring: None where there is nothing to measure on, or with.
        runs: that are finished, of this model and quantizer on these images.
    """

    selected: Selected
    spending: Spending
    axis: Axis
    plan: BudgetPlan
    table: BudgetTable
    measuring: Measuring | None
    scoring: Scoring
    runs: Sequence[Run] = ()

    @property
    def scores(self) -> ContributionScores | None:
        """The layers' contribution scores, if they are there."""
        return spending.scores_of(self.scoring).get()

    @property
    def row(self) -> int:
        """The row of the chosen budget: the nearest that the locks leave."""
        value, values = budget.value(self.axis.unit), self.axis.values
        return self.axis.row(values[len(values) // 3] if value is None else value)

    @property
    def run(self) -> Run | None:
        """The run that measured the chosen budget's bits; None where none did."""
        bits = self.plan.allocation(self.row)
        return next((run for run in self.runs if run.recipe.allocation == bits), None)

    def variant(self, row: int) -> Variant:
        """Return what measuring a row means."""
        value = self.table.text(row).strip()
        return Variant(self.plan.allocation(row), self.plan.objective, self.words(value))

    def words(self, value: str) -> str:
        """Return a budget in words, with what else decided the bits."""
        to = self.spending.target
        tied = " W=A" if self.spending.tied and to.tieable else ""
        on = "" if to is ANY else f" on {to.label}"
        locked = selection.locks(self.selected.loaded.key)
        return f"{value}{on}{tied}" + (f", {len(locked)} locked" if locked else "")


def show(shown: Shown) -> None:
    """Show the slider and, under it, what measuring its budget gives."""

    def commit(row: int) -> None:
        budget.choose_value(shown.axis.unit, shown.axis.values[row])
        if shown.measuring is not None and budget.AUTO.get():
            live.start(shown.measuring, shown.variant(row))

    def change_lock(name: str) -> None:
        fixed = selection.locks(model)
        if fixed.pop(name, None) is None:
            fixed[name] = shown.plan.allocation(shown.row)[name]
        selection.set_locks(model, fixed)
        budget.RELOCKED.set(True)

    model = shown.selected.loaded.key
    locks, layer = selection.locks(model), selection.LAYER.get()
    actions = Actions(commit, live.stop, change_lock, selection.LAYER.set)
    if budget.PLAIN.get():
        plain_budget_slider(shown.table, shown.row, locks, layer, budget.PLAIN_BUDGET, actions)
    else:
        budget_slider(shown.table, shown.row, locks, layer, budget.BUDGET, actions, dark())
    address.show()
    if budget.RELOCKED.pop():
        st.rerun()  # other locks, another plan
    measuring = shown.measuring
    if measuring is not None:
        live.show(measuring)
        live.foretell(measuring, models.layers_of(shown.selected.loaded))
        with st.container():  # what comes and goes above it would close the panel
            _report(shown)
        recipe = measuring.recipe(shown.variant(shown.row))
        opened = measuring.calibrating, measuring.images
        take_away.show(exports.Subject(shown.selected.loaded, recipe, lambda: opened))


def _report(shown: Shown) -> None:
    """Offer a report of the chosen budget, once it was measured."""
    run = shown.run
    if run is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(escape(f"This budget was measured: run {run.id}."), width="content")
            report.offer(shown.selected, run)
        report.show(run)


def plan_budgets(
    selected: Selected, spent_by: Spending, measuring: Measuring | None, scoring: Scoring
) -> Shown:
    """Plan every budget and work out all that the slider can show; Infeasible where none is."""
    loaded = selected.loaded
    axis, plan = spending.plan_of(loaded, spent_by, selection.locks(loaded.key))
    runs = [] if measuring is None else measuring.done()
    expected = spent_by.expected
    table = plans.table_of(
        models.costs_of(loaded),
        axis,
        plan,
        expected,
        None if expected is None else predictions.prediction_of(runs, expected),
        predictions.float_top1(runs),
        spent_by.target,
    )
    return Shown(selected, spent_by, axis, plan, table, measuring, scoring, runs)

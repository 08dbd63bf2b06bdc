"""A sweep: objectives by budgets, measured one after another in the background."""

from collections.abc import Hashable, Sequence

import streamlit as st

from app.budget import live
from app.budget.slider import Shown
from app.parts import job_panel
from app.state import budget, selection
from app.state.budget import Sweep
from app.text import escape
from app.work import models, spending
from app.work.job import CANCELLED, DONE
from quant.allocation.budget import from_average
from quant.allocation.objectives import (
    CONTROLS,
    LRP,
    OBJECTIVES,
    PRODUCT,
    RANDOM,
    REVERSED,
    UNIFORM,
    Losses,
    losses_of,
    random_losses,
    reversed_losses,
)
from quant.allocation.path import budget_plan
from quant.experiments.measuring import FLOAT, Variant
from quant.primitives.bits import uniform

BUDGETS = (3, 4, 5, 6, 8)
WAYS = (*OBJECTIVES, *CONTROLS)


def show(shown: Shown) -> None:
    """Let the user choose what to sweep over, and show how far it is."""
    with st.container(border=True):
        st.markdown("**Sweep**: measure objectives and controls at several average bits")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            objectives = st.pills(
                "Spent by", WAYS, selection_mode="multi",
                default=[budget.OBJECTIVE.get(), UNIFORM],
                key=budget.SWEEP_OBJECTIVES, persist_state="session",
                help="Controls: uniform bits; bits spent by three random scores; losses handed "
                "to the layers in reversed order.",
            )  # fmt: skip
            budgets = st.pills(
                "Average bits", BUDGETS, selection_mode="multi", default=[3, 4, 6],
                key=budget.SWEEP_BUDGETS, persist_state="session",
            )  # fmt: skip
            if st.button("Start", icon=":material/play_arrow:", key="start-sweep"):
                _start(shown, objectives, sorted(budgets))
        _follow()


def _start(shown: Shown, objectives: Sequence[str], budgets: Sequence[int]) -> None:
    assert shown.measuring is not None
    wanted = variants(shown, objectives, budgets)
    if shown.scores is None and {LRP, PRODUCT} & set(objectives):
        st.warning("LRP needs contribution scores: find them under “What bits are spent by”.")
        return
    if not wanted:
        st.warning("Choose at least one objective that is there and one budget.")
        return
    measuring, precision = shown.measuring, live.precision()

    def begin() -> Hashable:
        return spending.start_sweep(measuring, wanted, precision).key

    budget.SWEEP.set(Sweep(begin(), begin))


def _follow() -> None:
    sweep = budget.SWEEP.get()
    job = None if sweep is None else models.jobs().find(sweep.key)
    if sweep is None or job is None:
        return
    if sweep.paused:
        st.caption("The sweep makes way for the slider, and goes on after it.")
    elif job.state == CANCELLED:
        st.caption("Stopped; what was measured is kept, and Start goes on with it.")
    elif job.state == DONE:
        budget.SWEEP.set(None)
        st.caption(escape(f"Done: {job.result} configurations, on the chart and on the Runs page."))
    else:
        job_panel.follow(job)


def variants(shown: Shown, objectives: Sequence[str], budgets: Sequence[int]) -> list[Variant]:
    """Return what a sweep measures: float once, then every objective at every budget."""
    wanted = [FLOAT]
    for objective in objectives:
        for losses in _losses(shown, objective):
            wanted += _spent(shown, losses, budgets)
        if objective == UNIFORM:
            layers = models.layers_of(shown.selected.loaded)
            have = shown.spending.target.pairs
            even = [b for b in budgets if (b, b) in have]
            wanted += [Variant(uniform(layers, b, b), UNIFORM, f"{b} bit") for b in even]
    return wanted if len(wanted) > 1 else []


def _losses(shown: Shown, objective: str) -> list[Losses]:
    """Return the losses that an objective or a control spends by; none for uniform bits."""
    if objective == UNIFORM:
        return []
    if objective == RANDOM:
        names, widths = shown.plan.names, shown.spending.target.widths
        return [random_losses(names, seed, widths) for seed in range(spending.RANDOM_SEEDS)]
    if objective == REVERSED:
        return [reversed_losses(shown.spending.expected or shown.spending.losses)]
    scores = None if shown.scores is None else shown.scores.mean
    widths = shown.spending.target.widths
    made = losses_of(objective, scores, shown.spending.sensitivity, widths)
    return [] if made is None else [made]


def _spent(shown: Shown, losses: Losses, budgets: Sequence[int]) -> list[Variant]:
    layers, loaded = models.layers_of(shown.selected.loaded), shown.selected.loaded
    choices = spending.choices_of(loaded, shown.spending, selection.locks(loaded.key))
    to = choices.target
    feasible = [b for b in budgets if choices.least_average <= b <= to.widest]
    if not feasible:
        return []
    plan = budget_plan(
        choices, losses, [from_average(layers, b, to) for b in feasible], nested=False
    )
    return [
        Variant(plan.allocation(row), losses.objective, shown.words(f"{b} bit"))
        for row, b in enumerate(feasible)
    ]

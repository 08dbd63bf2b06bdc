"""Several budgets, measured one after another in the background: a sweep, or down to a loss."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.budget import live
from app.budget.slider import Shown
from app.look import units
from app.parts import job_panel
from app.parts.choice import one_of
from app.state import budget, selection
from app.state.budget import Looking, Sweep
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
    by_sensitivity,
    losses_of,
    random_losses,
    reversed_losses,
)
from quant.allocation.path import budget_plan
from quant.experiments.measuring import FLOAT, Variant
from quant.experiments.within_loss import NATS, POINTS, Accepted, Search
from quant.primitives.bits import uniform

BUDGETS = (3, 4, 5, 6, 8)
WAYS = (*OBJECTIVES, *CONTROLS)
LOSSES = {POINTS: ("Points of top-1", 1.0, 0.1), NATS: ("Nats of divergence", 0.05, 0.01)}


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
        found = shown.spending.sensitivity
        return [reversed_losses(by_sensitivity(found) if found else shown.spending.losses)]
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


def accept_loss(shown: Shown, place: DeltaGenerator) -> None:
    """Offer to look for the smallest budget within a loss; set the slider to what was found."""
    if shown.measuring is None:
        return
    with place.popover("Accept a loss", icon=":material/trending_down:"):
        unit = one_of(
            "Loss in", list(LOSSES), budget.LOSS_UNIT, format_func=lambda unit: LOSSES[unit][0]
        )
        most = st.number_input(
            "At most",
            min_value=0.001,
            value=LOSSES[unit][1],
            step=LOSSES[unit][2],
            format="%.3g",
            key=f"{budget.LOSS}-{unit}",
            persist_state="session",
            help="Below float, on the images measured: up to eight budgets are measured on all.",
        )
        args = shown, Accepted(most, unit)
        st.button("Find the smallest budget", on_click=_look, args=args, type="primary")
    _looked(shown)


def _look(shown: Shown, accepted: Accepted) -> None:
    assert shown.measuring is not None
    _let_go()
    every = [shown.variant(row) for row in range(len(shown.axis.values))]
    job = spending.start_search(shown.measuring, every, shown.plan.loss, accepted)
    budget.LOOKING.set(Looking(job.key, shown.plan, shown.measuring.key))


def _let_go() -> None:
    """Stop the search, as another begins or its budgets are no longer the slider's."""
    looking = budget.LOOKING.pop()
    job = None if looking is None else models.jobs().find(looking.key)
    if job is not None:
        models.cancel(job)


def _looked(shown: Shown) -> None:
    """Show how far the search is, or what it found."""
    looking = budget.LOOKING.get()
    job = None if looking is None else models.jobs().find(looking.key)
    if looking is None or job is None or shown.measuring is None:
        return
    if looking.plan is not shown.plan or looking.of != shown.measuring.key:
        _let_go()
    elif job.state == CANCELLED:
        st.caption("The search was stopped; what it measured is kept.")
    elif job.state != DONE:
        job_panel.follow(job)
    else:
        if not looking.taken:
            budget.LOOKING.set(replace(looking, taken=True))
            budget.choose_value(shown.axis.unit, shown.axis.values[job.result.found()])
        st.info(escape(units.unbroken(found(job.result, shown))), icon=":material/trending_down:")


def found(search: Search, shown: Shown) -> str:
    """Return in words which budget a search found, what it was measured to lose, and how sure."""
    e, many = search.measured[search.found()], len(search.measured)
    among = f"the smallest of {many} budgets measured" if many > 1 else "measured"
    sure = " The whole interval is within that." if search.accepted.unit == POINTS else ""
    if not search.sure:
        sure = " The interval reaches further: measure on more images to be sure."
    return (
        f"{shown.table.text(search.found()).strip()} is {among} to lose at most {search.accepted}: "
        f"{units.points(e.difference)} points to float (95 %: "
        f"{units.points_between(e.difference_low, e.difference_high)}), divergence "
        f"{e.divergence:.4f} nats, on {units.count(e.images)} images.{sure}"
    )

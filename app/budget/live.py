"""The evaluation that the slider starts when it is let go: accuracy as it narrows."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from app.look import units
from app.parts.job_panel import pace, progress, progress_text
from app.parts.numbers import figure
from app.state import budget, selection
from app.state.budget import Started
from app.text import escape
from app.work import models, predictions, spending
from app.work.job import CANCELLED, DONE, FAILED, Job
from lrp.engine.layers import Layer
from quant.evaluation.label_order import better_order
from quant.evaluation.stream import Step
from quant.experiments.measuring import Measuring, Variant

PRECISIONS = {0.0: "all images", 0.02: "± 2 points", 0.01: "± 1 point", 0.005: "± 0.5 points"}


def precision() -> float | None:
    """Return the precision at which evaluations may stop; None: never before the last image."""
    return budget.PRECISION.get() or None


def stop() -> None:
    """Stop the evaluation that is running for this session, as the slider moves on."""
    started = budget.LIVE.pop()
    if started is not None:
        _leave(started)


def _leave(started: Started) -> None:
    job = models.jobs().find(started.key)
    if job is not None and job.live:
        models.cancel(job)


def start(measuring: Measuring, variant: Variant) -> None:
    """Measure what the slider was let go at; a sweep of this session makes way meanwhile."""
    stop()
    _pause()
    job = spending.start_evaluation(measuring, variant, precision())
    budget.LIVE.set(Started(job.key, measuring.key))


def show(measuring: Measuring) -> None:
    """Show the evaluation, and look again while it goes on; one of anything else is stopped."""
    started = budget.LIVE.get()
    if started is not None and started.of != measuring.key:
        stop()
    job = _job()
    live = job is not None and job.live
    if job is not None and not live:
        _resume()
    st.fragment(_panel, run_every=pace(models.jobs()) if live else None)(live)


def foretell(measuring: Measuring, layers: Sequence[Layer]) -> None:
    """Measure what accuracies are predicted from; the page runs again once that is there."""
    wanted, begun = budget.FORETELL.get(), budget.FIRST.get()
    if begun is not None and not (wanted and begun.of == measuring.key):
        _leave(begun)
        budget.FIRST.set(None)
    if not wanted:
        return
    job = predictions.measure_first(measuring, layers, budget.chosen_target(), precision())
    if job is not None and job.live:
        budget.FIRST.set(Started(job.key, measuring.key))
        st.fragment(_foretelling, run_every=pace(models.jobs()))(job)


def _foretelling(job: Job) -> None:
    if not job.live:
        st.rerun()
    done = units.share(job.share, 0)
    st.caption(escape(f"Uniform 4 and 6 bits are measured meanwhile, to predict from: {done}."))


def _cancel() -> None:
    """Stop the evaluation at the user's word: its figures so far stay on the screen."""
    job = _job()
    if job is not None:
        models.cancel(job)
        if not job.cancel.is_set():  # it goes on, as another session wants it
            budget.LIVE.set(None)


def _pause() -> None:
    sweep = budget.SWEEP.get()
    job = None if sweep is None else models.jobs().find(sweep.key)
    if sweep is not None and job is not None and job.live:
        budget.SWEEP.set(replace(sweep, paused=True))
        models.cancel(job)


def _resume() -> None:
    sweep = budget.SWEEP.get()
    if sweep is not None and sweep.paused:
        sweep.begin()
        budget.SWEEP.set(replace(sweep, paused=False))


def _job() -> Job | None:
    started = budget.LIVE.get()
    return None if started is None else models.jobs().find(started.key)


def _panel(was_live: bool) -> None:
    job = _job()
    if job is None:
        st.caption("Let go of the slider and its budget is measured here.")
        return
    if was_live and not job.live:
        st.rerun()  # the charts below have a new point
    with st.container(border=True):
        if job.state == FAILED:
            st.error(escape(f"{job.title} failed: {job.error}"))
        elif job.state == CANCELLED:
            st.info("Stopped; what was measured is kept and can be gone on with.")
        step = job.result if job.state == DONE else job.so_far
        if step is not None:
            _figures(step, job.live)
        if job.live:
            text = progress_text(job, models.jobs())
            icon = ":material/stop:"
            progress(job.share, text, "stop-live", _cancel, "Stop", icon, border=False)


def _figures(step: Step, live: bool) -> None:
    """State the accuracy so far, with what is known of its error."""
    e = step.evaluation
    columns = st.columns(3, vertical_alignment="top")
    figure(columns[0], "Top-1, measured", units.share(e.top1),
            units.unbroken(f"95 %: {units.interval(e.top1_low, e.top1_high)}"))  # fmt: skip
    figure(columns[1], "Against float, same images", units.points(e.difference),
            f"95 %: {units.points_between(e.difference_low, e.difference_high)}")  # fmt: skip
    figure(columns[2], "Agrees with float", units.share(e.agreement),
            f"divergence {e.divergence:.3f} nats")  # fmt: skip
    _doubt_order(step)
    done = units.count(e.images)
    note = "" if e.images == step.wanted else f" of {units.count(step.wanted)}"
    more = "so far" if live else "in all" if not note else "enough for the precision asked"
    runs = f" Layers run as {step.path}." if step.path else ""
    st.caption(escape(f"{step.name}: {done}{note} images, {more}.{runs}"))


def _doubt_order(step: Step) -> None:
    """Warn where float's answers suit another order of the class folders far better."""
    selected = selection.CURRENT.get()
    fates = None if selected is None or selected.images is None else selected.images.fates
    found = None if fates is None else better_order(step.answers, fates.others)
    if found is not None:
        words = str(found)
        st.warning(escape(f"{words[:1].upper()}{words[1:]}."))

"""Methods side by side on one image: each map as it is made, what it costs, how faithful it is."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from PIL.Image import Image

from app.components.divider import Side
from app.explain import faithfulness, question
from app.explain.question import Question
from app.look import pictures, units
from app.parts.job_panel import pace, progress
from app.parts.map_look import Look, divided, ground, laid, look_controls, scale, side
from app.state import selection
from app.text import Markdown, escape
from app.work import explanations, models
from app.work.explanations import CURVES, MAP, Curves, MethodMap
from app.work.job import RUNNING, Job
from app.work.wanted import Wanted
from lrp.maps.pictures import enlarge
from lrp.methods.catalogue import METHODS, suitable

FIRST = ("attn-lrp", "gradient-attention", "grad-cam", "integrated-gradients")
WIDTH = 224


@dataclass(frozen=True, eq=False)
class Compared:
    """One method on one image: its map and its curves, made or wanted; curves only on demand."""

    name: str
    map: Wanted[MethodMap]
    curves: Wanted[Curves] | None


def show(asked: Question, chosen: int) -> None:
    """Let the user choose methods; show what is made of them and have the rest made."""
    names = _choose(asked)
    if not names:
        st.info("Choose at least one method.")
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        look = look_controls()
        scale(look.supporting)
    cards, below = st.container(), st.container()
    measured = st.toggle(
        "Measure faithfulness on this picture",
        key=selection.FAITHFUL,
        bind="query-params",
        help="Delete the picture bit by bit, in the order of each map, and watch the class's "
        "probability. Takes some thirty runs of the model for each method.",
    )
    compared = [_compared(asked, name, chosen, measured) for name in names]
    everything: list[Wanted[Any]] = [one.map for one in compared]
    everything += [one.curves for one in compared if one.curves is not None]
    waiting = _start(everything)
    with cards:
        every = pace(models.jobs()) if waiting else None
        st.fragment(_cards, run_every=every)(asked, compared, everything, look, waiting)
    if len(compared) > 1:
        with below:
            _divided(asked, compared, look)
    _measurements(asked, chosen, compared)


def _choose(asked: Question) -> list[str]:
    options = suitable(asked.selected.loaded.model)
    selection.offer(selection.METHODS, options)
    names = st.multiselect(
        "Methods",
        options,
        default=[name for name in FIRST if name in options],
        key=selection.METHODS,
        bind="query-params",
        format_func=question.label,
        placeholder="Choose methods to compare",
    )
    return sorted(names, key=options.index)


def _compared(asked: Question, name: str, chosen: int, measured: bool) -> Compared:
    loaded, prepared = asked.selected.loaded, asked.prepared
    curves = explanations.curves_of(loaded, prepared, name, chosen) if measured else None
    return Compared(name, explanations.map_of(loaded, prepared, name, chosen), curves)


def _start(everything: Sequence[Wanted[Any]]) -> bool:
    """Have everything made in its order; return whether some of it is still to come.

    The jobs of another picture, class or choice of methods are left: nobody waits for them.
    """
    owner, keys = models.owner().name, {wanted.key for wanted in everything}
    models.jobs().leave_all(owner, lambda key: key[0] in (MAP, CURVES) and key not in keys)
    for wanted in filter(_waits, everything):
        wanted.start(owner)
    return any(map(_waits, everything))


def _waits(wanted: Wanted[Any]) -> bool:
    """Return whether something is neither made, nor failed, nor cancelled."""
    job = wanted.job()
    failed = job is not None and bool(job.error)
    return wanted.get() is None and not failed and not selection.declined(wanted.key)


def _cards(
    asked: Question,
    compared: Sequence[Compared],
    everything: Sequence[Wanted[Any]],
    look: Look,
    waited: bool,
) -> None:
    """Show each method's map, or why it is not there; the whole page runs again when all are."""
    waiting = list(filter(_waits, everything))
    if waited and not waiting:
        st.rerun()
    if waiting:
        _progress(everything, waiting)
    declined = [w.key for w in everything if selection.declined(w.key) and not w.get()]
    if declined:
        again = selection.ask_again
        st.button("Make the rest", icon=":material/replay:", on_click=again, args=(declined,))
    st.caption(
        "Each map has its own scale. The factor is the time it takes; the model's own forward and "
        "backward pass is 1×."
    )
    with st.grid(4, min_column_width=130):
        for one in compared:
            _card(asked, one, look)


def _progress(everything: Sequence[Wanted[Any]], waiting: Sequence[Wanted[Any]]) -> None:
    done, total = len(everything) - len(waiting), len(everything)
    jobs = [job for wanted in waiting if (job := wanted.job()) is not None]
    now = next((job for job in jobs if job.state == RUNNING), None)
    left = _seconds_left(everything, waiting, now)
    doing = ", waiting for other jobs" if now is None else f", now {now.title}"
    pace = "" if left is None else f"; about {units.duration(left)} left"

    def cancel() -> None:
        selection.decline([w.key for w in waiting])
        for wanted in waiting:
            wanted.leave(models.owner().name)

    progress(done / total, f"{done} of {total} done{doing}{pace}", "cancel-methods", cancel)


def _seconds_left(
    everything: Sequence[Wanted[Any]], waiting: Sequence[Wanted[Any]], now: Job | None
) -> float | None:
    """Estimate the time left from what the like took before, or from rough costs; None: unknown."""
    maps = [made for wanted in everything if isinstance(made := wanted.get(), MethodMap)]
    passes = [made.seconds / made.cost for made in maps]
    left = -now.elapsed() if now is not None else 0.0
    for wanted in waiting:
        took = explanations.seconds_of(wanted.key)
        if took is None and not passes:
            return None
        left += min(passes) * explanations.rough_cost(wanted.key) if took is None else took
    return left if left > 0 else None


def _card(asked: Question, one: Compared, look: Look) -> None:
    base = enlarge(asked.prepared.seen, WIDTH)
    made, label = one.map.get(), METHODS[one.name].label
    if made is None:
        st.image(
            base.convert("L"),
            caption=escape(f"{label}: {_why(one.map)}"),
            width="stretch",
            alt=label,
        )
        return
    picture = _drawn(base, made.values, one.map.key, look)
    caption = Markdown("**{}** {:.2g}×").format(label, made.cost)
    st.image(picture, caption=escape(caption), width="stretch", alt=label)


@st.cache_data(max_entries=256, show_spinner=False)
def _drawn(_base: Image, _values: np.ndarray, key: tuple[Hashable, ...], look: Look) -> bytes:
    """Draw a card once: it is shown again at every look at the jobs."""
    return pictures.png(laid(_base, _values, look))


def _why(wanted: Wanted[Any]) -> str:
    """Return in words why a map is not there."""
    if selection.declined(wanted.key):
        return "cancelled"
    job = wanted.job()
    if job is None:
        return "to be made"
    return f"failed, {job.error}" if job.error else job.state


def _divided(asked: Question, compared: Sequence[Compared], look: Look) -> None:
    """Let the user drag a divider between two methods' maps."""
    left, right = st.columns([1.25, 1], gap="medium")
    with right:
        st.markdown("**Two methods, one picture**")
        one = _method("Left", selection.LEFT, compared, 0)
        other = _method("Right", selection.RIGHT, compared, 1)
    with left:
        before, after = _side(asked, one, look), _side(asked, other, look)
        divided(asked.prepared, before, after, look, selection.METHOD_DIVIDER)


def _method(label: str, key: str, compared: Sequence[Compared], first: int) -> Compared:
    """Let the user choose one of the methods, and show what it is."""
    by_name = {one.name: one for one in compared}
    selection.offer(key, by_name)
    name = st.selectbox(
        escape(label),
        list(by_name),
        index=first,
        key=key,
        bind="query-params",
        format_func=question.label,
    )
    st.caption(escape(METHODS[name].what))
    return by_name[name]


def _side(asked: Question, one: Compared, look: Look) -> Side:
    """Make a side of the divider: the grey picture alone while there is no map."""
    made, label = one.map.get(), question.label(one.name)
    if made is None:
        return Side(f"{label}: {_why(one.map)}", ground(asked.prepared, grey=True))
    return side(asked.prepared, made.values, label, look)


def _measurements(asked: Question, chosen: int, compared: Sequence[Compared]) -> None:
    """Tabulate the maps that are there, chart their curves, and show what failed."""
    maps = {one.name: made for one in compared if (made := one.map.get()) is not None}
    wanted = {one.name: one.curves for one in compared if one.curves is not None}
    curves = {name: pair for name, w in wanted.items() if (pair := w.get()) is not None}
    for failed in wanted.values():
        job = failed.job()
        if job is not None and job.error:
            st.error(escape(f"Measuring {failed.title} failed: {job.error}."))
    if maps:
        faithfulness.show(asked, chosen, maps, curves)

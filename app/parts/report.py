"""A report of runs to take away: a button that begins it, its progress, its download."""

from collections.abc import Sequence

import streamlit as st

from app.look import units
from app.parts.job_panel import follow
from app.state import runs as run_state
from app.state.selection import Selected
from app.text import escape, told
from app.work import reports
from quant.history.runs import Run


def offer(selected: Selected | None, run: Run, beside: Sequence[Run] = ()) -> None:
    """Offer to write a report of a run, with others beside it."""
    why_not = _why_not(selected, run)
    st.button(
        "Report",
        icon=":material/description:",
        key="begin-report",
        disabled=bool(why_not),
        help=escape(why_not or _help(run, beside)),
        on_click=_begin,
        args=(selected, run, _numbers(run, beside)),
    )


def _why_not(selected: Selected | None, run: Run) -> str:
    if run.recipe.allocation is None:
        return "A report is of a quantized run."
    if not run.counts.images:
        return "This run has no answers yet."
    if selected is None or selected.loaded.key != run.recipe.model_key:
        return "Load the run's model first."
    return ""


def _help(run: Run, beside: Sequence[Run]) -> str:
    others = ", ".join(str(other.id) for other in beside)
    more = f" with {'runs' if len(beside) > 1 else 'run'} {others} beside it" if beside else ""
    return f"Run {run.id}{more} as one HTML file to hand over, to print, to archive."


def _numbers(run: Run, beside: Sequence[Run]) -> tuple[int, ...]:
    return (run.id, *(other.id for other in beside))


def _begin(selected: Selected, run: Run, numbers: tuple[int, ...]) -> None:
    try:
        exports = run_state.exported(run.recipe)
        run_state.REPORT.set((numbers, reports.begin(selected.loaded, numbers, exports)))
    except ValueError as error:
        st.toast(told(error), icon=":material/error:")


def show(run: Run, beside: Sequence[Run] = ()) -> None:
    """Show how far the report of these runs is, or offer it as a file; else nothing."""
    numbers, key = run_state.REPORT.get() or ((), None)
    if key is None or numbers != _numbers(run, beside):
        return
    written = reports.written(key)
    job = reports.job(key)
    if written is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(escape(f"The report is written: {units.size(len(written))}."))
            name = f"report-{'-'.join(map(str, numbers))}-{run.recipe.model}.html"
            icon = ":material/download:"
            st.download_button(
                "Download the report", written, name, "text/html", icon=icon, on_click="ignore"
            )
    elif job is not None:
        follow(job)

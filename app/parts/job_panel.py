"""Show how far a job is, with the time left and a way to stop it."""

from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from app.look import units
from app.state import selection
from app.text import escape
from app.work import models
from app.work.job import CANCELLED, FAILED, WAITING, Job
from app.work.jobs import JobQueue
from app.work.wanted import Wanted

T = TypeVar("T")
SOON, LATER, CROWD = 0.3, 1.0, 2  # seconds between two looks; jobs that are few
PATIENCE = 0.8  # seconds in which a result may come before its progress is shown


def pace(queue: JobQueue) -> float:
    """Return how often to look at a job, in seconds: the more jobs there are, the less often.

    Looks of many sessions would cost more than the jobs. That a tab is hidden Streamlit cannot
    tell; browsers look less often then.
    """
    return SOON if queue.crowd <= CROWD else LATER


def follow(job: Job) -> None:
    """Show a job; when it ends, the whole page runs again to show what it made."""
    st.fragment(_panel, run_every=pace(models.jobs()) if job.live else None)(job, job.live)


def offered(
    wanted: Wanted[T], label: str, by_itself: bool, why: str = "", help: str | None = None
) -> T | None:
    """Return what is wanted; or follow the job that makes it, or offer a button that starts one.

    Args:
        by_itself: start the job unasked, as it takes seconds: not worth a question.
        why: said above the button.
    """
    found = wanted.get()
    if found is not None:
        return found
    job = wanted.job()
    # A job that goes on is joined, as others may leave it.
    if by_itself and (job is None or job.state != FAILED) and not selection.declined(wanted.key):
        job = wanted.start(models.owner().name)
    if job is not None:
        follow(job)
    if job is None or not job.live:
        if why:
            st.caption(escape(why))
        icon, of = ":material/play_arrow:", (wanted,)
        st.button(
            escape(label), icon=icon, type="primary", on_click=_start, args=of, help=escape(help)
        )
    return None


def _start(wanted: Wanted[Any]) -> None:
    selection.ask_again([wanted.key])
    wanted.start(models.owner().name)


def _panel(job: Job, was_live: bool) -> None:
    if was_live and not job.live:
        st.rerun()
    if job.live:
        _progress(job, models.jobs())
    elif job.state == FAILED:
        st.error(escape(f"{job.title} failed: {job.error}"))
    elif job.state == CANCELLED and selection.declined(job.key):
        st.info("Cancelled; nothing was kept.", icon=":material/cancel:")


def result(wanted: Wanted[T]) -> T:
    """Return what is wanted; while it is being made, show how far that is and go no further.

    Raises what making it raised.
    """
    found, failed = wanted.get(), wanted.failure()
    if found is None and failed is None:
        if selection.declined(wanted.key):
            st.info(escape(f"{wanted.title} was cancelled."), icon=":material/cancel:")
            icon, keys = ":material/replay:", [wanted.key]
            st.button("Start again", icon=icon, on_click=selection.ask_again, args=(keys,))
            st.stop()
        job = wanted.start(models.owner().name)
        job.ended.wait(PATIENCE)
        found, failed = wanted.get(), wanted.failure()
        if found is None and failed is None:
            st.fragment(_wait, run_every=pace(wanted.queue))(wanted, job)
            st.stop()
    if failed is not None:
        raise failed
    assert found is not None
    return found


def _wait(wanted: Wanted[T], job: Job) -> None:
    if not job.live or selection.declined(wanted.key):
        st.rerun()
    _progress(job, wanted.queue)


def _progress(job: Job, queue: JobQueue) -> None:
    def cancel() -> None:
        queue.leave(job, models.owner().name)
        selection.decline([job.key])

    progress(job.share, progress_text(job, queue), f"cancel-{id(job)}", cancel)


def progress(
    share: float,
    text: str,
    key: str,
    stop: Callable[[], None],
    label: str = "Cancel",
    icon: str = ":material/close:",
    border: bool = True,
) -> None:
    """Show how far work is, with a button that stops it."""
    with st.container(border=border, horizontal=True, vertical_alignment="center"):
        st.progress(share, text=escape(text))
        st.button(escape(label), key=key, icon=icon, on_click=stop)


def progress_text(job: Job, queue: JobQueue) -> str:
    """Return in words how far a job is, or how many are before it."""
    if job.state == WAITING:
        ahead = queue.place(job)
        jobs = "1 job" if ahead == 1 else f"{ahead} jobs"
        return f"{job.title}: {f'waiting for {jobs} before it' if ahead else 'about to start'}"
    if not job.total:
        return f"{job.title} …"
    left = job.seconds_left()
    pace = "" if left is None else f", about {units.duration(left)} left"
    stage = f"{job.what} " if job.what else ""
    return f"{job.title}: {stage}{job.done} of {job.total}{pace}"

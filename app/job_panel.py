"""Show how far a job is, with the time left and a way to stop it."""

from __future__ import annotations

import streamlit as st

from app import compute, units
from app.jobs import CANCELLED, FAILED, WAITING, Job

POLL_SECONDS = 0.5


def follow(job: Job) -> None:
    """Show a job; when it ends, the whole page runs again to show what it made."""
    st.fragment(_panel, run_every=POLL_SECONDS if job.live else None)(job, job.live)


def _panel(job: Job, was_live: bool) -> None:
    if was_live and not job.live:
        st.rerun()
    if job.live:
        _progress(job)
    elif job.state == FAILED:
        st.error(f"{job.title} failed: {job.error}")
    elif job.state == CANCELLED:
        st.info("Cancelled; nothing was kept.", icon=":material/cancel:")


def _progress(job: Job) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.progress(job.share, text=_text(job))
        st.button(
            "Cancel",
            key=f"cancel-{id(job)}",
            icon=":material/close:",
            on_click=compute.cancel,
            args=(job,),
        )


def _text(job: Job) -> str:
    if job.state == WAITING:
        ahead = compute.jobs().place(job)
        jobs = "1 job" if ahead == 1 else f"{ahead} jobs"
        return f"{job.title}: waiting for {jobs} before it"
    left = job.seconds_left()
    pace = "" if left is None else f", about {units.duration(left)} left"
    return f"{job.title}: {job.done} of {job.total}{pace}"

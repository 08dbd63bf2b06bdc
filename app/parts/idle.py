"""Let sessions go that nobody uses, in the public mode: their jobs, pictures and runs."""

import time

import streamlit as st

from app import public
from app.state.entry import Entry
from app.work import history, models

LOOK_SECONDS = 60
# When the page last ran at somebody's wish, and whether the session was let go since.
_SEEN: Entry[float] = Entry("_seen", 0.0)
_ENDED: Entry[bool] = Entry("_ended", False)


def watch() -> None:
    """Look now and then whether the session is used; one that was let go shows nothing else."""
    if not public.on():
        return
    if _ENDED.get():
        st.info("Nothing was done here for a while, so this session ended: load the page again.")
        st.stop()
    _SEEN.set(time.monotonic())
    st.fragment(_look, run_every=LOOK_SECONDS)()


def _look() -> None:
    if time.monotonic() - _SEEN.get() > public.IDLE_SECONDS:
        models.owner().close()
        history.let_go()
        st.session_state.clear()
        _ENDED.set(True)
        st.rerun()

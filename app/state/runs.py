"""What is chosen on the Runs page: filters, a run, an image that changed its answer."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from app.state import selection
from quant.history.recipe import Recipe

# Keys of widgets.
MODEL_FILTER, OBJECTIVE_FILTER = "runs_model", "runs_objective"
STATE_FILTER, SEARCH, TABLE = "runs_state", "runs_search", "runs_table"
NOTE, BITS_OF, CHANGES = "run_note", "runs_bits_of", "runs_changes"
CHANGED_PAGE, CHANGED_STRIP, EXPLAINED, DIVIDER = (
    "runs_page",
    "runs_changed",
    "runs_explained",
    "runs_divider",
)

# Plain entries of the session.
_RUN, _IMAGE, _HANDED = "_run", "_changed_image", "_handed_over"

RUN_PARAMETER = "run"


def run() -> int | None:
    """Return the number of the chosen run, which a link may name."""
    text = selection.asked(_RUN, RUN_PARAMETER) or ""
    return int(text) if text.isdecimal() else None


def choose_run(number: int | None) -> None:
    """Choose a run of the table; None chooses none."""
    st.session_state[_RUN] = None if number is None else str(number)


def image(of: Hashable) -> int | None:
    """Return the place of the chosen image among those that two runs were asked about."""
    chosen = st.session_state.get(_IMAGE)
    return chosen[1] if chosen is not None and chosen[0] == of else None


def choose_image(of: Hashable, place: int) -> None:
    """Choose an image of a comparison; another comparison has another one."""
    st.session_state[_IMAGE] = (of, place)


def in_address() -> dict[str, str | int | None]:
    """Return what a link needs to name: the chosen run."""
    return {RUN_PARAMETER: run()}


def hand_over(recipe: Recipe) -> None:
    """Keep a run's recipe for the Budget page to take its allocation from."""
    st.session_state[_HANDED] = recipe


def handed_over() -> Recipe | None:
    """Return the recipe that was handed over since the last time of asking, if any."""
    return st.session_state.pop(_HANDED, None)

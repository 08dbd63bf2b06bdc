"""The page of everything that was measured: to find, to compare, to look into."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.runs import changed, heatmap, listing
from app.runs import chosen as runs_chosen
from app.runs import compare as runs_compare
from app.runs.pair import Comparison, compared, why_not
from app.state import runs as run_state
from app.work import history, models
from assets.sets.image_set import class_names
from lrp.engine.interpreter import UnsupportedOperation
from quant.history.runs import Run


def main() -> None:
    st.header("What was measured?")
    try:
        runs = history.history().listed()
    except ValueError as error:
        st.error(f"{str(error).capitalize()}.")
        return
    if not runs:
        st.info("Nothing yet: let go of the slider on the Budget page, and what it buys is kept.")
        return
    listing.show(runs)
    chosen = next((run for run in runs if run.id == run_state.RUN.get()), None)
    if chosen is not None:
        runs_chosen.show(chosen, runs)
    _compare(runs)


def _compare(runs: Sequence[Run]) -> None:
    pins = listing.pinned(runs)
    found = compared(pins)
    if found is None:
        st.caption(
            "Float is pinned: pin a quantized run to compare it with."
            if pins
            else "Pin a run to compare it with float, or two to compare them with each other."
        )
        return
    reason = why_not(found)
    if reason:
        st.warning(f"{reason} Pin two runs on the same images.")
        return
    try:
        compare(found)
    except UnsupportedOperation as error:
        st.error(f"This model's heatmaps cannot be compared: {error}.")
    except ValueError as error:
        st.error(f"This cannot be compared: {error}.")


def compare(found: Comparison) -> None:
    """Compare two runs, from the whole to one image."""
    runs_compare.show(found)
    selected = runs_compare.in_use(found)
    if selected is None:
        runs_compare.classes(found, ())
        return
    runs_compare.bits(found, models.layers_of(selected.loaded))
    runs_compare.classes(found, class_names(selected.loaded))
    change = changed.show(found, selected)
    if change is not None:
        heatmap.show(found, change, selected)


if __name__ == "__main__":
    main()

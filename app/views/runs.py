"""The page of everything that was measured: to find, to compare, to look into."""

from collections.abc import Sequence

import streamlit as st

from app.runs import changed, compare, detail, heatmap, listing
from app.runs.pair import RunComparison, compared, why_not
from app.state import runs as run_state
from app.text import escape, told
from app.work import history, models
from assets.sets.image_set import class_names
from lrp.engine.interpreter import UnsupportedOperation
from quant.history.runs import Run, unread


def main() -> None:
    st.header("What was measured?")
    try:
        runs, unreadable = history.history().sorted_out()
    except ValueError as error:
        st.error(told(error))
        return
    if unreadable:
        st.warning(escape(f"{unread(unreadable)}."))
    if not runs:
        st.info("Nothing yet: let go of the slider on the Budget page, and what it buys is kept.")
        return
    listing.show(runs)
    run = next((run for run in runs if run.id == run_state.RUN.get()), None)
    if run is not None:
        detail.show(run, runs)
    _compare(listing.pinned(runs))


def _compare(pins: Sequence[Run]) -> None:
    """Compare pinned runs, or show why not."""
    comparison = compared(pins)
    if comparison is None:
        st.caption(
            "Float is pinned: pin a quantized run to compare it with."
            if pins
            else "Pin a run to compare it with float, or two to compare them with each other."
        )
        return
    reason = why_not(comparison)
    if reason:
        st.warning(escape(f"{reason} Pin two runs on the same images."))
        return
    try:
        _show(comparison)
    except UnsupportedOperation as error:
        st.error(escape(f"This model's heatmaps cannot be compared: {error}."))
    except ValueError as error:
        st.error(escape(f"This cannot be compared: {error}."))


def _show(comparison: RunComparison) -> None:
    """Show two runs compared, from the whole to one image."""
    compare.show(comparison)
    selected = compare.in_use(comparison)
    if selected is None:
        compare.classes(comparison, ())
        return
    compare.bits(comparison, models.layers_of(selected.loaded))
    compare.classes(comparison, class_names(selected.loaded))
    change = changed.show(comparison, selected)
    if change is not None:
        heatmap.show(comparison, change, selected)


if __name__ == "__main__":
    main()

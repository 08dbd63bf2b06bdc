"""The page that spends bits where they matter, and measures what that gives."""

from contextlib import suppress

import streamlit as st

from app.budget import objective, settings, slider, sweep, tabs
from app.budget.settings import Settings
from app.budget.slider import Shown
from app.state import runs, selection
from app.state.selection import Selected
from app.text import escape, told
from app.work import models, spending
from app.work.spending import Spending
from quant.allocation.infeasible import Infeasible
from quant.experiments.measuring import Measuring


def main() -> None:
    st.header("Spend bits where they matter")
    selected = selection.CURRENT.get()
    if selected is None:
        st.info("Choose a model in the sidebar.")
        return
    if selected.images is None:
        st.info("Scores need images: give an image folder in the sidebar, under your own model.")
        return
    # What is above the slider comes and goes. If the slider moved, Streamlit would give its
    # fragment a new id and drop events the browser sends meanwhile.
    above, below_it = st.container(), st.container()
    with above:
        shown = _shown(selected)
    if shown is None:
        return
    if shown.measuring is not None:
        notice = models.notice_of(shown.measuring.calibrating)
        if notice:
            st.warning(escape(notice))
        spending.warm(shown.measuring, shown.variant(shown.row))
    with below_it:
        st.fragment(_spend)(shown)


def _shown(selected: Selected) -> Shown | None:
    """Show the controls and return what they give; None where that is still to come."""
    _take_over(selected)
    controls = settings.choose(selected)
    spent_by = objective.obtain(selected, controls)
    shown = None if spent_by is None else _plan(selected, controls, spent_by)
    if shown is not None:
        sweep.accept_loss(shown, controls.beside)
        _under(shown)
    return shown


def _take_over(selected: Selected) -> None:
    """Lock the layers as a run does that was handed over."""
    recipe = runs.HANDED.pop()
    if recipe is not None and recipe.allocation and recipe.model_key == selected.loaded.key:
        used: dict[str, tuple[int, ...]] = {}
        with suppress(ValueError):  # images that are gone are not measured either
            images = models.draw_again(selected.loaded, recipe).calibrating
            used = {images.source.key: images.indices}
        selection.load(selected.loaded.key, recipe.allocation, used)


def _plan(selected: Selected, controls: Settings, spent_by: Spending) -> Shown | None:
    """Plan every budget; where there is no way, say what is in it and how to get it out."""
    measuring = _measuring(selected, controls)
    try:
        return slider.plan_budgets(selected, spent_by, measuring, controls.scoring)
    except Infeasible as error:
        st.error(escape(f"There is no such budget. {str(error)[:1].upper()}{str(error)[1:]}."))
        key = selected.loaded.key
        left = {
            name: bits for name, bits in selection.locks(key).items() if name not in error.locks
        }
        if error.locks:
            st.button(
                escape(f"Unlock {len(error.locks)}"), on_click=selection.set_locks, args=(key, left)
            )
    except ValueError as error:
        st.error(told(error))
    return None


def _measuring(selected: Selected, controls: Settings) -> Measuring | None:
    """Return what budgets are measured with; None where that cannot be, and show why."""
    if not controls.draw.most:
        st.warning(
            escape(
                f"The folder has no more than {models.CALIBRATION_IMAGES} images, which calibrate: "
                "add some to measure on."
            )
        )
        return None
    try:
        return spending.measuring(selected, controls.calibrating, controls.draw.measured)
    except ValueError as error:
        st.error(escape(f"The history of runs cannot be used, so nothing is measured: {error}."))
        return None


def _under(shown: Shown) -> None:
    """Show what bits are spent by, or a way out where all layers are locked as loaded."""
    key, layers = shown.selected.loaded.key, shown.plan.names
    fixed = selection.locks(key)
    if len(fixed) == len(layers):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info("All layers are locked, as loaded; the slider decides over unlocked ones.")
            st.button("Unlock all", on_click=selection.set_locks, args=(key, {}))
    else:
        st.caption(escape(objective.sentence(shown.selected, shown.spending.losses.objective)))


def _spend(shown: Shown) -> None:
    slider.show(shown)
    tabs.show(shown)


if __name__ == "__main__":
    main()

"""One run: its accuracy, all that is needed to repeat it, and what to do with it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from app.look import units
from app.parts import report, sidebar, take_away
from app.parts.numbers import figure
from app.runs.listing import cost_of, pinned
from app.state import runs as run_state
from app.state import selection
from app.state.selection import ModelChoice
from app.text import Markdown, escape, told
from app.work import exports, history, models
from assets.sets.image_set import ImageSet
from quant.allocation.cost import Cost
from quant.experiments.calibrating import Calibrating
from quant.history.recipe import Recipe
from quant.history.runs import RUNNING, Run
from quant.report.repeat import run_to_json

BUDGET_PAGE = "app/views/budget.py"


def show(run: Run, runs: Sequence[Run]) -> None:
    """Show one run and its buttons."""
    spent = cost_of(run.recipe.model_key, run.recipe.allocation)
    beside = [one for one in pinned(runs) if one.id != run.id and _alike(one, run)]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            title = f"{run.recipe.model}, {history.name(run.recipe)}"
            st.markdown(Markdown("**Run {}: {}**").format(run.id, title), width="stretch")
            _pin(run, pinned(runs))
            _use(run.recipe)
            _download(run, spent)
            report.offer(selection.CURRENT.get(), run, beside)
            _delete(run)
        _metrics(run, spent)
        st.caption(escape(units.unbroken(facts(run))))
        report.show(run, beside)
        _take_away(run.recipe)
        _note(run)


def _take_away(recipe: Recipe) -> None:
    """Offer the quantized model as a file, once the run's model is in use."""
    selected = selection.CURRENT.get()
    if recipe.allocation is None or selected is None or selected.loaded.key != recipe.model_key:
        return
    loaded = selected.loaded

    def opened() -> tuple[Calibrating, ImageSet]:
        return models.calibrating_again(loaded, recipe), models.measured_again(loaded, recipe)

    take_away.show(exports.Subject(loaded, recipe, opened))


def _alike(one: Run, other: Run) -> bool:
    """Return whether both are of one model on the same images, with answers."""
    keys = [(run.recipe.model_key, run.recipe.images_key) for run in (one, other)]
    return keys[0] == keys[1] and bool(one.counts.images)


def _pin(run: Run, pins: Sequence[Run]) -> None:
    full = len(pins) == 2 and not run.pinned
    st.button(
        "Unpin" if run.pinned else "Pin",
        icon=":material/keep_off:" if run.pinned else ":material/keep:",
        key="pin-run",
        disabled=full,
        help="Two are pinned: unpin one of them first."
        if full
        else "One pinned run is compared with float, two with each other.",
        on_click=_tried,
        args=(lambda: history.history().pin(run.id, not run.pinned),),
    )


def _tried(action: Callable[[], object]) -> None:
    """Change the history; show why where it cannot be, as another window deleted the run."""
    try:
        action()
    except ValueError as error:
        st.toast(told(error), icon=":material/error:")


def _use(recipe: Recipe) -> None:
    """Offer to work with the run's model, and to spend bits as it did."""
    selected = selection.CURRENT.get()
    if selected is None or selected.loaded.key != recipe.model_key:
        load_button(recipe, "load-run")
    elif recipe.allocation is not None and st.button(
        "Use this allocation",
        icon=":material/tune:",
        help="Go on with these bits on the Budget page.",
    ):
        run_state.HANDED.set(recipe)
        st.switch_page(BUDGET_PAGE, query_params={})  # widgets put theirs back


def load_button(recipe: Recipe, key: str) -> None:
    """Offer to take the model and the images of a run into use."""
    if not st.button(escape(f"Load {recipe.model}"), key=key, icon=":material/download:"):
        return
    choice = ModelChoice(recipe.model, recipe.checkpoint, recipe.data)
    selected = selection.CURRENT.get()
    device = recipe.device if selected is None else str(models.device_of(selected.loaded))
    try:
        opened = sidebar.open_selection(choice, device)
    except ValueError as error:
        st.error(told(error))
        return
    if opened.loaded.key != recipe.model_key:
        st.error(escape(f"{recipe.model} has other weights now than this run was measured with."))
        return
    selection.adopt(choice)
    st.rerun()


def _download(run: Run, spent: Cost | None) -> None:
    st.download_button(
        "JSON",
        json.dumps(run_to_json(run, spent), indent=2),
        f"run-{run.id}-{run.recipe.model}.json",
        icon=":material/download:",
        help="The bits by layer, the accuracy, and all that is needed to repeat the run.",
    )


def _delete(run: Run) -> None:
    running = run.state == RUNNING
    with st.popover("Delete", icon=":material/delete:", disabled=running):
        answers = units.count(run.counts.images)
        st.markdown(escape(f"Delete run {run.id} and its answers to {answers} images?"))
        st.caption("They cannot be had back but by measuring again.")
        st.button("Delete this run", type="primary", on_click=_tried, args=(lambda: _gone(run),))


def _gone(run: Run) -> None:
    history.history().delete(run.id)
    run_state.RUN.set(None)


def _metrics(run: Run, spent: Cost | None) -> None:
    places, e = st.columns(4, gap="medium"), run.evaluation
    if e is not None:
        interval = units.interval(e.top1_low, e.top1_high)
        figure(places[0], "Top-1", units.share(e.top1), interval)
        bounds = units.points_between(e.difference_low, e.difference_high)
        figure(places[1], "Points to float", units.points(e.difference), bounds)
    if spent is not None:
        bits = f"{spent.average_bits:.2f} bits a weight"
        figure(places[2], "Model size", units.size(spent.size_bytes), bits)
        figure(places[3], "BitOps", units.large(spent.bitops), "an image")


def facts(run: Run) -> str:
    """Return in words what is needed to repeat a run."""
    recipe = run.recipe
    where = "the bundled digits" if recipe.data is None else Path(recipe.data).name
    quantized = "" if recipe.allocation is None else f", {recipe.preset} quantizer calibrated on "
    others = f"{recipe.calibration_images} others" if quantized else ""
    versions = ", ".join(f"{tool} {number}" for tool, number in recipe.versions.items())
    agreed = run.evaluation
    agreement = "" if agreed is None else f" Agrees with float in {units.share(agreed.agreement)}."
    return (
        f"{history.progress(run)} images of {where}, drawn with seed {recipe.seed}"
        f"{quantized}{others}. {agreement} Ran {units.duration(run.seconds)} on {recipe.device}, "
        f"begun {run.created.astimezone():%d %B %Y, %H:%M}. Versions: {versions}."
    )


def _note(run: Run) -> None:
    key = f"{run_state.NOTE}-{run.id}"

    def on_change() -> None:
        _tried(lambda: history.history().note(run.id, st.session_state[key].strip()))

    st.text_input(
        "Note",
        run.note,
        key=key,
        max_chars=500,
        placeholder="Write a note: it can be searched for.",
        label_visibility="collapsed",
        icon=":material/edit_note:",
        on_change=on_change,
    )

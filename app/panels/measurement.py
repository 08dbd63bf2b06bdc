"""Choose what to measure, on how many images, and start it."""

from __future__ import annotations

import streamlit as st

from app import budgets, compute, job_panel, quantizer_state, state, units
from app.panels import quantizer, scores
from app.sidebar import Selected
from app.tasks import Configuration, Measured

COUNTS = (100, 250, 500, 1000, 2000, 5000)
PLAIN, EVEN, MIXED, CHANCE = "Float", "Uniform", "Mixed", "Random scores"


def show(selected: Selected) -> None:
    """Show the controls and the running measurement; keep its rows when it is done."""
    most = compute.evaluation_limit(selected.loaded, selected.folder)
    if not most:
        st.error(
            f"The folder has no more than {compute.CALIBRATION_IMAGES} images, which calibrate: "
            "add some to measure on."
        )
        return
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        count = _count(most)
        chosen = _runs()
        quantizer.choose()
        start = st.button("Measure", type="primary", icon=":material/play_arrow:")
    configurations = _configurations(selected, chosen, start)
    _explain(selected, count)
    if start and configurations:
        _start(selected, count, configurations)
    _follow(selected)


def _count(most: int) -> int:
    counts = [c for c in COUNTS if c < most] + [most]
    return st.select_slider(
        "Images",
        counts,
        value=counts[min(1, len(counts) - 1)],
        format_func=lambda c: f"all {units.count(c)}" if c == most else units.count(c),
        key=state.EVALUATION_IMAGES,
        persist_state="session",
        width=230,
        help="More images narrow the interval: four times as many halve it.",
    )


def _runs() -> list[str]:
    return st.pills(
        "Configurations",
        [PLAIN, EVEN, MIXED, CHANCE],
        selection_mode="multi",
        default=[PLAIN, EVEN, MIXED],
        key=state.EVALUATION_RUNS,
        persist_state="session",
        help="Uniform: every layer at the whole width nearest the budget. Mixed: the budget spent "
        "by the scores. Random scores: the same budget spent by chance, the baseline to beat.",
    )


def _configurations(selected: Selected, chosen: list[str], loud: bool) -> list[Configuration]:
    """Turn the choice into configurations; say what is missing for the mixed one."""
    layers = compute.layers_of(selected.loaded)
    others = compute.other_parameters_of(selected.loaded)
    average, fixed = state.budget(), state.locks(selected.loaded.key)
    makers = {
        PLAIN: lambda: budgets.plain(layers, others),
        EVEN: lambda: budgets.even(layers, others, budgets.whole_bits(average)),
        MIXED: lambda: _mixed(selected, average, fixed),
        CHANCE: lambda: budgets.chance(layers, others, average, fixed),
    }
    if loud and not chosen:
        st.warning("Choose at least one configuration.")
    try:
        return [c for c in (makers[name]() for name in makers if name in chosen) if c is not None]
    except ValueError as error:
        st.error(f"{str(error).capitalize()}. Change the budget or its locks on the budget page.")
        return []


def _mixed(selected: Selected, average: float, fixed: dict[str, int]) -> Configuration | None:
    scoring = scores.chosen(selected)
    if scores.obtain(selected, scoring) is None:
        return None
    solution = compute.allocate(selected.loaded, scoring, average, fixed)
    others = compute.other_parameters_of(selected.loaded)
    return budgets.mixed(compute.layers_of(selected.loaded), others, solution, fixed)


def _explain(selected: Selected, count: int) -> None:
    average = state.budget()
    images = scores.chosen(selected).images
    st.caption(
        f"Measured on {units.count(count)} images of {selected.folder or 'the validation split'}, "
        f"drawn with seed 0; quantizers calibrated on {compute.CALIBRATION_IMAGES} others. The "
        f"mixed budget averages {average:.1f} bits by scores from {len(images)} images, as set on "
        f"the budget page; uniform is {budgets.whole_bits(average)} bits. {quantizer.says()}"
    )


def _start(selected: Selected, count: int, configurations: list[Configuration]) -> None:
    loaded, folder = selected.loaded, selected.folder
    calibrating = compute.calibrating(loaded, folder, quantizer_state.preset())
    images = compute.evaluation_set(loaded, folder, count)
    job = compute.start_measurement(calibrating, images, configurations)
    state.keep_measurement(job.key)


def _follow(selected: Selected) -> None:
    """Show the running job, or move its rows into the history once."""
    key = state.measurement()
    job = None if key is None else compute.jobs().find(key)
    if job is None:
        return
    if job.live and compute.left_to_others(job):
        state.keep_measurement(None)
        return
    if job.state == "done":
        rows = state.history(selected.loaded.key, selected.images.key if selected.images else "")
        rows.extend(new for new in job.result if not any(_same(new, row) for row in rows))
        state.keep_measurement(None)
        return
    job_panel.follow(job)


def _same(one: Measured, other: Measured) -> bool:
    """Say whether two rows are one configuration on one number of images."""
    configurations = [
        (m.configuration.name, m.configuration.allocation, m.preset) for m in (one, other)
    ]
    return configurations[0] == configurations[1] and (
        one.evaluation.images == other.evaluation.images
    )

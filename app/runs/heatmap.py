"""One changed image through both configurations: does the explanation survive?"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st
import torch

from app.look import units
from app.parts.choice import one_of
from app.parts.job_panel import result
from app.parts.map_look import divided, look_controls, scale, side
from app.runs.pair import FIRST, SECOND, Contender, RunComparison
from app.state import runs, selection
from app.state.selection import Selected
from app.text import Markdown, escape
from app.work import explanations, models
from app.work.explanations import Explained, Prepared
from app.work.layer_analyses import passes_of
from lrp.metrics.similarity import Likeness, chance_overlap, likeness
from quant.calibration.passes import needed
from quant.evaluation.comparison import Change

THEIRS, OURS, TRUE = "B's answer", "A's answer", "its class"
ALIKE, RATHER = 0.9, 0.6  # rank correlations from which maps are called so


def show(comparison: RunComparison, change: Change, selected: Selected) -> None:
    """Show one image's maps in both configurations with a divider between them."""
    images = models.measured_again(selected.loaded, comparison.other.recipe)
    prepared = explanations.prepare(selected.loaded, images.picture(change.index))
    st.subheader("Does the explanation survive?")
    with st.container(horizontal=True, vertical_alignment="center"):
        target = _target(change, images.classes)
        look = look_controls()
    both = [(s, _explained(s, selected, prepared, target)) for s in comparison.sides]
    left, right = st.columns([1.2, 1], gap="medium")
    with left:
        before, after = (side(prepared, made.values, s.title, look) for s, made in both)
        divided(prepared, before, after, look, runs.DIVIDER)
    with right:
        _answers(both, change, target, images.classes)
        scale(look.supporting)


def _target(change: Change, names: tuple[str, ...]) -> int:
    """Let the user choose whose answer is explained; it stays so for other images."""
    classes = {THEIRS: change.other, OURS: change.one}
    if change.label not in classes.values():
        classes[TRUE] = change.label
    selection.offer(runs.EXPLAINED, classes)
    whose = one_of(
        "Explain",
        list(classes),
        runs.EXPLAINED,
        format_func=lambda whose: f"{names[classes[whose]]} ({whose})",
    )
    return classes[whose]


def _explained(
    contender: Contender, selected: Selected, prepared: Prepared, target: int
) -> Explained:
    """Return a class's map in one configuration; waits for passes and the map, with progress."""
    allocation, calibrating = contender.allocation, None
    if allocation is not None:
        calibrating = models.calibrating_again(selected.loaded, contender.recipe)
        result(passes_of(calibrating, needed(allocation)))
    return result(
        explanations.explained_of(selected.loaded, prepared, calibrating, allocation, target)
    )


def _answers(
    both: Sequence[tuple[Contender, Explained]], change: Change, target: int, names: Sequence[str]
) -> None:
    """Show what both answer, and how alike their maps are."""
    alike = likeness(*(torch.from_numpy(made.values) for _, made in both))
    st.markdown(escape(units.unbroken(survival(alike, both[0][1].values.size, names[target]))))
    rows = [
        {
            "": contender.title,
            "answers": names[made.answer],
            "with": units.share(float(made.probabilities[made.answer])),
            f"gives {names[target]}": units.share(float(made.probabilities[target])),
        }
        for contender, made in both
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="answers of both")
    recorded = {FIRST: change.one, SECOND: change.other}
    moved = [c.mark for c, made in both if made.answer != recorded[c.mark]]
    otherwise = (
        f" Run again here, {' and '.join(moved)} answers otherwise than it was recorded."
        if moved
        else ""
    )
    st.caption(
        escape(
            f"The class of this picture is {names[change.label]}. Relevance by AttnLRP of "
            "what enters an early block, passed back through the quantized layers' own values; "
            f"each map has its own scale.{otherwise}"
        )
    )


def survival(alike: Likeness, places: int, name: str) -> Markdown:
    """Return in words how much of an explanation survives, with the numbers behind it."""
    survives = (
        "survives"
        if alike.rank >= ALIKE
        else "survives in part"
        if alike.rank >= RATHER
        else "does not survive"
    )
    both, chance = units.share(alike.overlap, 0), units.share(chance_overlap(places), 0)
    return Markdown(
        "**The explanation {}.** For **{}**, A and B rank the {} places of the picture with a "
        "correlation of {:.2f} (1 is the same order, 0 none in common), and of the strongest tenth "
        "of either map {} is in both, where chance gives {}."
    ).format(survives, name, units.count(places), alike.rank, both, chance)

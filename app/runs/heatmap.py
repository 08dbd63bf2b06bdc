"""One changed image through both configurations: does the explanation survive?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st
import torch

from app.look import units
from app.parts.choice import one_of
from app.parts.job_panel import result
from app.parts.map_look import Look, divided, look_controls, scale, side
from app.runs.pair import Comparison, Contender
from app.state import runs, selection
from app.state.selection import Selected
from app.work import explanations, run_explanations
from app.work.explanations import Prepared
from app.work.layer_analyses import passes_of
from app.work.run_explanations import Explained
from lrp.metrics.similarity import Likeness, chance_overlap, likeness
from quant.calibration.calibration import needed
from quant.evaluation.comparison import Change

THEIRS, OURS, TRUE = "B's answer", "A's answer", "its class"
ALIKE, RATHER = 0.9, 0.6  # rank correlations from which maps are called so


@dataclass(frozen=True, eq=False)
class MapPair:
    """A changed image, and a class's maps of it in both configurations."""

    change: Change
    target: int
    names: tuple[str, ...]
    maps: tuple[Explained, Explained]


def show(found: Comparison, change: Change, selected: Selected) -> None:
    """Show the maps of the chosen image with a divider between them."""
    images = run_explanations.measured(selected.loaded, found.other.recipe)
    prepared = explanations.prepare(selected.loaded, images.picture(change.index))
    st.subheader("Does the explanation survive?")
    with st.container(horizontal=True, vertical_alignment="center"):
        target = _target(change, images.classes)
        look = look_controls()
    one, other = (_explained(s, selected, prepared, target) for s in found.sides)
    seen = MapPair(change, target, images.classes, (one, other))
    left, right = st.columns([1.2, 1], gap="medium")
    with left:
        _divided(found, seen, prepared, look)
    with right:
        _told(found, seen)
        scale(look.supporting)


def _target(change: Change, names: tuple[str, ...]) -> int:
    """Let the user choose whose answer is explained; it stays so for other images."""
    said = {THEIRS: change.other, OURS: change.one}
    if change.label not in said.values():
        said[TRUE] = change.label
    selection.offer(runs.EXPLAINED, said)
    whose = one_of(
        "Explain",
        list(said),
        runs.EXPLAINED,
        format_func=lambda whose: f"{names[said[whose]]} ({whose})",
    )
    return said[whose]


def _explained(
    contender: Contender, selected: Selected, prepared: Prepared, target: int
) -> Explained:
    """Return a class's map in one configuration; waits for passes and the map, with progress."""
    allocation, calibrating = contender.allocation, None
    if allocation is not None:
        calibrating = run_explanations.calibrating(selected.loaded, contender.recipe)
        result(passes_of(calibrating, needed(allocation)))
    return result(
        run_explanations.explained_of(selected.loaded, prepared, calibrating, allocation, target)
    )


def _divided(found: Comparison, seen: MapPair, prepared: Prepared, look: Look) -> None:
    before, after = (
        side(prepared, made.values, f"{contender.mark}: {contender.name}", look)
        for contender, made in zip(found.sides, seen.maps, strict=True)
    )
    divided(prepared, before, after, look, runs.DIVIDER)


def _told(found: Comparison, seen: MapPair) -> None:
    """Say what both answer, and how alike their maps are."""
    alike = likeness(*(torch.from_numpy(made.values) for made in seen.maps))
    name = seen.names[seen.target]
    st.markdown(units.unbroken(survival(alike, seen.maps[0].values.size, name)))
    rows = [
        {
            "": f"{contender.mark}: {contender.name}",
            "answers": seen.names[made.answer],
            "with": units.share(float(made.probabilities[made.answer])),
            f"gives {name}": units.share(float(made.probabilities[seen.target])),
        }
        for contender, made in zip(found.sides, seen.maps, strict=True)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="answers of both")
    other = [
        contender.mark
        for contender, made, kept in zip(
            found.sides, seen.maps, (seen.change.one, seen.change.other), strict=True
        )
        if made.answer != kept
    ]
    moved = (
        f" Run again here, {' and '.join(other)} answers otherwise than it was recorded."
        if other
        else ""
    )
    st.caption(
        f"The class of this picture is {seen.names[seen.change.label]}. Relevance by AttnLRP of "
        "what enters an early block, passed back through the quantized layers' own values; each "
        f"map has its own scale.{moved}"
    )


def survival(alike: Likeness, places: int, name: str) -> str:
    """Say how much of an explanation survives, with the numbers it is said by."""
    if alike.rank >= ALIKE:
        said = "The explanation survives"
    elif alike.rank >= RATHER:
        said = "The explanation survives in part"
    else:
        said = "The explanation does not survive"
    return (
        f"**{said}.** For **{name}**, A and B rank the {units.count(places)} places of the picture "
        f"with a correlation of {alike.rank:.2f} (1 is the same order, 0 none in common), and of "
        f"the strongest tenth of either map {units.share(alike.overlap, 0)} is in both, where "
        f"chance gives {units.share(chance_overlap(places), 0)}."
    )

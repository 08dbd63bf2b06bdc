"""The map: where a decision comes from, against the picture or against another class."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from PIL.Image import Image

from app.components.divider import Side
from app.explain import downloads
from app.explain.question import Question
from app.look import heatmaps, units
from app.parts.choice import one_of
from app.parts.map_look import Look, divided, ground, laid, look_controls, scale, side
from app.parts.numbers import as_numbers
from app.state import selection
from app.text import Markdown, clean, escape
from lrp.maps.pictures import enlarge

PICTURE, CLASSES = "Picture | map", "Class | class"
SMALL = 240
MOSTLY_MAP = 25  # percent of the width where the divider starts, so that the map is seen first


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps (h, w) of two classes of one image, and the one's less the other's."""

    chosen: int
    rival: int
    first: np.ndarray
    second: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        return self.first - self.second


def show(asked: Question, chosen: int, rival: int, place: str) -> None:
    """Show the maps of two classes. Reruns alone when their look changes."""
    maps = Maps(chosen, rival, asked.heatmap(chosen, place), asked.heatmap(rival, place))
    with st.container(horizontal=True, vertical_alignment="center"):
        sides = one_of("Divide", [PICTURE, CLASSES], selection.DIVIDE, linked=True)
        look = look_controls()
    left, right = st.columns([1.2, 1], gap="medium")
    with left:
        _divided(asked, maps, look, sides)
    with right:
        _contrast(asked, maps, look)
        scale(look.supporting)
        st.caption(escape(units.unbroken(_sentence(asked, maps))))
        downloads.show(asked, chosen, place, lambda: drawn(asked, maps, look))
    _numbers(asked, maps)


def _divided(asked: Question, maps: Maps, look: Look, sides: str) -> None:
    names, prepared = asked.names, asked.prepared
    before = Side("picture", ground(prepared))
    after = side(prepared, maps.first, f"for {names[maps.chosen]}", look)
    if sides == CLASSES:
        before, after = after, side(prepared, maps.second, f"for {names[maps.rival]}", look)
    at = 50 if sides == CLASSES else MOSTLY_MAP
    divided(prepared, before, after, look, selection.DIVIDER, at)


def _contrast(asked: Question, maps: Maps, look: Look) -> None:
    """Show the rival's map and the difference of the two, small."""
    one, other = asked.names[maps.chosen], asked.names[maps.rival]
    shown = (
        (Markdown("for **{}**").format(other), f"for {other}", maps.second),
        (
            Markdown("**{}** rather than **{}**").format(one, other),
            f"{one} rather than {other}",
            maps.difference,
        ),
    )
    base = enlarge(asked.prepared.seen, SMALL)
    for column, (caption, said, values) in zip(st.columns(2, gap="small"), shown, strict=True):
        picture = laid(base, values, look)
        column.image(picture, caption=escape(caption), width="stretch", alt=clean(said))


def drawn(asked: Question, maps: Maps, look: Look) -> dict[str, Image]:
    """Return the picture and the three maps over it, by name."""
    seen = enlarge(asked.prepared.seen)
    named = {"class": maps.first, "rival": maps.second, "difference": maps.difference}
    return {"picture": seen, **{name: laid(seen, each, look) for name, each in named.items()}}


def _sentence(asked: Question, maps: Maps) -> Markdown:
    """Return in words what the map shows."""
    name, best = asked.names[maps.chosen], asked.names[asked.top[0]]
    guess = (
        Markdown("**{name}** is the model's best guess, at {share}.")
        if name == best
        else Markdown("The model gives **{name}** {share}; its best guess is **{best}**.")
    ).format(name=name, best=best, share=asked.probability(maps.chosen))
    held = units.share(heatmaps.concentration(maps.first), 0)
    spread = (
        "Red speaks for the class, blue against it, grey hardly matters. The strongest tenth of "
        f"the map holds {held} of what speaks for it."
    )
    other = (
        "Each map has its own scale."
        if np.any(maps.difference)
        else "This method's map is the same for every class."
    )
    return Markdown(" ").join([guess, spread, other])


def _numbers(asked: Question, maps: Maps) -> None:
    logits = asked.trace.logits[0].detach().cpu()
    classes = pd.DataFrame(
        {
            "class": [asked.names[k] for k in asked.top],
            "probability": [100 * float(asked.probabilities[k]) for k in asked.top],
            "logit": [float(logits[k]) for k in asked.top],
        }
    )
    config = {
        "probability": st.column_config.NumberColumn(format="%.2f %%"),
        "logit": st.column_config.NumberColumn(format="%.3f"),
    }
    one, other = asked.names[maps.chosen], asked.names[maps.rival]
    rows = {one: maps.first, other: maps.second, f"{one} - {other}": maps.difference}
    as_numbers(
        {"most likely classes": classes, "the maps summed up": map_table(rows, "map")}, config
    )


def map_table(maps: dict[str, np.ndarray], heading: str) -> pd.DataFrame:
    """Sum up maps: total relevance, its positive and negative parts, the strongest place."""
    rows = [
        {
            heading: name,
            "sum": round(float(values.sum()), 4),
            "positive": round(float(values.clip(min=0).sum()), 4),
            "negative": round(float(values.clip(max=0).sum()), 4),
            "strongest (row, column)": "{}, {}".format(
                *np.unravel_index(np.abs(values).argmax(), values.shape)
            ),
        }
        for name, values in maps.items()
    ]
    return pd.DataFrame(rows)

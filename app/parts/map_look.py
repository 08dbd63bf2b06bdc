"""How maps are shown on a picture: their look, a divider between two sides, the colours' scale."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from PIL.Image import Image

from app.components.divider import Side, divider
from app.look import heatmaps, pictures
from app.parts.choice import one_of
from app.state import selection
from app.work.explanations import Prepared
from lrp.maps.pictures import enlarge, legend, overlay, veil

SIGNED, SUPPORTING = "Signed", "For only"


@dataclass(frozen=True)
class Look:
    """How maps are drawn."""

    supporting: bool
    smooth: bool
    opacity: float


def look_controls() -> Look:
    """Let the user choose how maps are drawn; the opacity is chosen under the divider."""
    shown = one_of("Show what speaks", [SIGNED, SUPPORTING], selection.SHOWN, linked=True)
    smooth = st.toggle(
        "Smooth",
        value=True,
        key=selection.SMOOTH,
        persist_state="session",
        help="Off: one square a patch, which is all the model resolves.",
    )
    return Look(shown == SUPPORTING, smooth, selection.OPACITY.get())


def divided(
    prepared: Prepared, before: Side, after: Side, look: Look, key: str, at: int = 50
) -> None:
    """Let the user drag a divider between two sides of the picture."""
    label, size = f"Divider between {before.label} and {after.label}", prepared.seen.size
    divider(label, before, after, size, look.opacity, key, selection.OPACITY.set, at)


def side(prepared: Prepared, values: np.ndarray, label: str, look: Look) -> Side:
    """Make one side of a divider: a map over the grey picture."""
    size = enlarge(prepared.seen).size
    drawn_veil = veil(heatmaps.scaled(values, look.supporting), size, look.smooth)
    return Side(label, ground(prepared, grey=True), pictures.data_url(drawn_veil))


def laid(picture: Image, values: np.ndarray, look: Look) -> Image:
    """Lay a map over a picture."""
    return overlay(picture, heatmaps.scaled(values, look.supporting), look.opacity, look.smooth)


def ground(prepared: Prepared, grey: bool = False) -> str:
    """Return the picture that maps are laid on, as a URL."""
    return _ground(prepared.seen, prepared.key, grey)


@st.cache_data(max_entries=32, show_spinner=False)
def _ground(_seen: Image, key: str, grey: bool) -> str:
    picture = enlarge(_seen)
    return pictures.data_url(picture.convert("L") if grey else picture)


def scale(supporting: bool) -> None:
    """Show what the colours mean."""
    with st.container(horizontal=True, vertical_alignment="center", width="content", gap="small"):
        st.caption("nothing" if supporting else "against", width="content")
        colours = "white to red" if supporting else "blue over white to red"
        picture = legend(lowest=0.0 if supporting else -1.0)
        st.image(picture, width=120, alt=f"colour scale from {colours}: against and for the class")
        st.caption("for", width="content")

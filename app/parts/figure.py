"""One figure of an evaluation, with what it means under it."""

from __future__ import annotations

from streamlit.delta_generator import DeltaGenerator


def figure(place: DeltaGenerator, label: str, value: str, under: str) -> None:
    """Show a number with what belongs to it under it."""
    place.metric(label, value, under, delta_color="off", delta_arrow="off")

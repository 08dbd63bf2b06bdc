"""Choose the preset that models are quantized by."""

from __future__ import annotations

import streamlit as st

from app.state import quantizer
from quant.calibration.presets import PRESETS


def choose() -> None:
    """Let the user choose a preset; each says what it is."""
    st.selectbox(
        "Quantizer",
        list(PRESETS),
        key=quantizer.PRESET.widget,
        on_change=quantizer.PRESET.follow(quantizer.PRESET.get()),
        width=170,
        help="  \n".join(f"**{p.name}**: {p.says}" for p in PRESETS.values()),
    )


def says() -> str:
    """Return the chosen preset with its sentence."""
    chosen = PRESETS[quantizer.PRESET.get()]
    return f"**{chosen.name}**: {chosen.says}"

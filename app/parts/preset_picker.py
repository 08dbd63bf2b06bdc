"""Choose the preset that models are quantized by."""

from __future__ import annotations

import streamlit as st

from app.state import quantizer
from quant.calibration.presets import PRESETS


def choose() -> None:
    """Let the user choose a preset; each says what it is."""
    st.session_state[quantizer.PRESET_CHOICE] = quantizer.preset()

    def heard() -> None:
        quantizer.choose_preset(st.session_state[quantizer.PRESET_CHOICE])

    st.selectbox(
        "Quantizer",
        list(PRESETS),
        key=quantizer.PRESET_CHOICE,
        on_change=heard,
        width=170,
        help="  \n".join(f"**{p.name}**: {p.says}" for p in PRESETS.values()),
    )


def says() -> str:
    """Return the chosen preset with its sentence."""
    chosen = PRESETS[quantizer.preset()]
    return f"**{chosen.name}**: {chosen.says}"

"""How layers are quantized in a session: the preset, and the widths that the Layers page shows."""

from __future__ import annotations

import streamlit as st

from app.state.selection import asked
from quant.calibration.presets import DEFAULT, PRESETS
from quant.primitives.bits import MENU

# Keys of widgets.
PRESET_CHOICE, WEIGHT_CHOICE, ACTIVATION_CHOICE = "preset_choice", "weight_bits", "activation_bits"
HEAD_CHOICE, STRIP, STRIP_KIND = "head_choice", "strip", "strip_kind"
VIEW, CLIP_SLIDER = "layers", "clip_slider"
LESSON_BITS, LESSON_CLIP, LESSON_WEIGHTS = "lesson_bits", "lesson_clip", "lesson_weights"

# Plain entries of the session.
_PRESET, _WEIGHT, _ACTIVATION = "_preset", "_weight_bits", "_activation_bits"
_CLIP, _LESSON_BITS, _LESSON_CLIP = "_clip", "_lesson_bits", "_lesson_clip"

PRESET_PARAMETER, WEIGHT_PARAMETER, ACTIVATION_PARAMETER = "preset", "w", "a"
ONE_VIEW, ALL_VIEW, LESSON_VIEW = "One layer", "Whole model", "Lesson"
DEFAULT_WIDTH, DEFAULT_CLIP = 4, 2.0
LESSON_WIDTH, LESSON_RANGE = 3, 1.0


def preset() -> str:
    """Return the name of the chosen preset."""
    name = asked(_PRESET, PRESET_PARAMETER)
    return name if name in PRESETS else DEFAULT


def choose_preset(name: str) -> None:
    """Choose how models are quantized, on every page."""
    st.session_state[_PRESET] = name


def weight_bits() -> int:
    """Return the width of weights that layers are looked at with."""
    return _width(_WEIGHT, WEIGHT_PARAMETER)


def activation_bits() -> int:
    """Return the width of activations that layers are looked at with."""
    return _width(_ACTIVATION, ACTIVATION_PARAMETER)


def choose_width(choice: str, width: int) -> None:
    """Choose the width that WEIGHT_CHOICE or ACTIVATION_CHOICE is for."""
    st.session_state[_WEIGHT if choice == WEIGHT_CHOICE else _ACTIVATION] = str(width)


def _width(key: str, parameter: str) -> int:
    text = asked(key, parameter) or ""
    return int(text) if text in map(str, MENU) else DEFAULT_WIDTH


def show_view(name: str) -> None:
    """Show another view of the Layers page; only before its widget exists."""
    st.session_state[VIEW] = name


def in_address() -> dict[str, str | int | None]:
    """Return what a link needs to name: what is not the default."""
    weight, activation = weight_bits(), activation_bits()
    return {
        PRESET_PARAMETER: None if preset() == DEFAULT else preset(),
        WEIGHT_PARAMETER: None if weight == DEFAULT_WIDTH else weight,
        ACTIVATION_PARAMETER: None if activation == DEFAULT_WIDTH else activation,
    }


def clip() -> float:
    """Return the clipping threshold, in standard deviations."""
    return st.session_state.get(_CLIP, DEFAULT_CLIP)


def choose_clip(value: float) -> None:
    """Choose the clipping threshold, in tenths."""
    st.session_state[_CLIP] = round(value, 1)


def lesson() -> tuple[int, float]:
    """Return the lesson's bits and the share of the range that it covers."""
    return (
        st.session_state.get(_LESSON_BITS, LESSON_WIDTH),
        st.session_state.get(_LESSON_CLIP, LESSON_RANGE),
    )


def choose_lesson_bits(value: float) -> None:
    """Choose the lesson's bits."""
    st.session_state[_LESSON_BITS] = round(value)


def choose_lesson_clip(value: float) -> None:
    """Choose the share of the range that the lesson's grid covers, in percent."""
    st.session_state[_LESSON_CLIP] = round(value / 100, 2)

"""How layers are quantized in a session: the preset, and the widths that the Layers page shows."""

import streamlit as st

from app.state.entry import Entry, Linked, among
from quant.calibration.presets import DEFAULT, PRESETS
from quant.calibration.presets import STREAM as STREAMS
from quant.primitives.bits import MENU

# Keys of widgets.
HEAD_CHOICE = "head_choice"
STRIP = "strip"
STRIP_KIND = "strip_kind"
VIEW = "layers"
LESSON_WEIGHTS = "lesson_weights"

ONE_VIEW = "One layer"
ALL_VIEW = "Whole model"
LESSON_VIEW = "Lesson"
DEFAULT_WIDTH = 4

# By which preset models are quantized, on every page.
PRESET: Linked[str] = Linked("_preset", DEFAULT, parameter="preset", read=among(PRESETS))
# What the residual stream and LayerNorm outputs have, beside the preset.
STREAM: Linked[str] = Linked("_stream", "off", parameter="stream", read=among(STREAMS))
# The widths that layers are looked at with.
WEIGHT: Linked[int] = Linked("_weight_bits", DEFAULT_WIDTH, parameter="w", read=among(MENU))
ACTIVATION: Linked[int] = Linked("_activation_bits", DEFAULT_WIDTH, parameter="a", read=among(MENU))
# The clipping threshold, in standard deviations.
CLIP: Entry[float] = Entry("_clip", 2.0, clean=lambda limit: round(limit, 1))
# The lesson's bits, and how much of the range its grid covers, in percent.
LESSON_BITS: Entry[float] = Entry("_lesson_bits", 3, clean=round)
LESSON_RANGE: Entry[float] = Entry("_lesson_clip", 100, clean=round)


def preset() -> str:
    """Return the preset that was chosen, with what was varied of it."""
    stream = STREAM.get()
    return PRESET.get() if stream == STREAM.default else f"{PRESET.get()}:stream={stream}"


def show_view(name: str) -> None:
    """Show another view of the Layers page; only before its widget exists."""
    st.session_state[VIEW] = name

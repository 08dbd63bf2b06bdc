"""A lesson: one number line, a grid over it, two sliders. Needs no model; reruns alone."""

import pandas as pd
import streamlit as st

from app.components.live_slider import live_slider
from app.lesson import charts, levels
from app.lesson.levels import Lesson
from app.look.appearance import dark
from app.parts.choice import one_of
from app.parts.numbers import as_numbers
from app.state import quantizer
from app.text import escape

INTRODUCTION = (
    "A quantizer lays a grid of 2^bits levels over the numbers and moves each to the nearest. A "
    "*scale* says how far apart levels stand, a *zero point* which of them is zero, so that only "
    "whole numbers are stored. A narrow range has fine steps, which lowers **rounding** error, but "
    "what lies beyond is **clipped**."
)


def show() -> None:
    """Show the lesson; it reruns alone."""
    st.caption(INTRODUCTION)
    st.fragment(_lesson)()


def _lesson() -> None:
    left, middle, right = st.columns([1.5, 1, 1], gap="medium", vertical_alignment="center")
    with left:
        name = one_of("Numbers", list(levels.WEIGHTS), quantizer.LESSON_WEIGHTS, titled=True)
    with middle:
        live_slider("Bits", 2, 8, 1, quantizer.LESSON_BITS, digits=0)
    with right:
        live_slider("Range covered", 10, 100, 2, quantizer.LESSON_RANGE, " %", 0)
    numbers, share = levels.WEIGHTS[name], quantizer.LESSON_RANGE.get() / 100
    bits = int(quantizer.LESSON_BITS.get())
    lesson = levels.lesson(numbers, bits, share)
    st.markdown(escape(levels.sentence(numbers, bits, share)))
    spec = charts.line_spec(min(numbers), max(numbers), dark())
    st.vega_lite_chart(charts.line_table(lesson), spec, alt="numbers, and the levels they go to")
    errors = charts.error_table(numbers, bits, share)
    st.vega_lite_chart(errors, charts.error_spec(dark()), alt="error over the range covered")
    as_numbers({"numbers and what they become": _table(lesson)})


def _table(lesson: Lesson) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": lesson.values,
            "integer": (lesson.quantized / lesson.scale).round().astype(int) + lesson.zero_point,
            "becomes": lesson.quantized,
            "error": lesson.quantized - lesson.values,
            "clipped": lesson.clipped,
        }
    ).round(4)

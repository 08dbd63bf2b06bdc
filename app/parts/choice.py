"""Choose on any page: one of a few options, a layer, the preset, the residual stream."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import streamlit as st

from app.look.altair_charts import PICK
from app.state import quantizer, selection
from app.text import Markdown, escape
from lrp.engine.layers import Layer
from quant.calibration.presets import PRESETS, STREAM, Preset

T = TypeVar("T")


def one_of(
    label: str,
    options: Sequence[T],
    key: str,
    *,
    default: T | None = None,
    linked: bool = False,
    titled: bool = False,
    format_func: Callable[[T], str] = str,
    help: str | None = None,
) -> T:
    """Let the user choose one option, at first `default` or else the first.

    Args:
        linked: the address names the choice; else the session keeps it across pages.
        titled: the label is shown; else it is for screen readers.
    """
    first = options[0] if default is None else default
    chosen: T | None = st.segmented_control(
        escape(label),
        options,
        default=first,
        required=True,
        key=key,
        bind="query-params" if linked else None,
        persist_state=None if linked else "session",
        label_visibility="visible" if titled else "collapsed",
        format_func=lambda option: escape(format_func(option)),
        help=escape(help),
    )
    return first if chosen is None else chosen  # None from a link that names it and no option


def a_layer(layers: Sequence[Layer], first: Layer) -> Layer:
    """Let the user choose one of `layers`, which is then the chosen one on every page."""
    names, current = [layer.name for layer in layers], selection.LAYER.get()
    name = st.selectbox(
        "Layer",
        names,
        key=selection.LAYER.widget,
        on_change=selection.LAYER.follow(current if current in names else first.name),
        help="Type to search. `matmul1` is query times key, `matmul2` attention times value.",
    )
    return layers[names.index(name)]


def layer_in_chart(key: str) -> None:
    """Choose the layer that was clicked in the chart of this key, if one was."""
    picked = st.session_state[key].selection.get(PICK)
    if picked:
        selection.LAYER.set(picked[0]["layer"])


def preset() -> None:
    """Let the user choose a preset; each says what it is."""
    st.selectbox(
        "Quantizer",
        list(PRESETS),
        key=quantizer.PRESET.widget,
        on_change=quantizer.PRESET.follow(quantizer.PRESET.get()),
        width=170,
        help=Markdown("  \n").join(_said(each) for each in PRESETS.values()),
    )


def stream() -> None:
    """Let the user choose whether the residual stream and LayerNorm outputs are integers too."""
    st.selectbox(
        "Residual stream",
        list(STREAM),
        format_func=lambda bits: escape(f"{bits} bits" if STREAM[bits] else "float"),
        key=quantizer.STREAM.widget,
        on_change=quantizer.STREAM.follow(quantizer.STREAM.get()),
        width=150,
        help="Integer chips also quantize the residual sums (x + attention, x + MLP) and what "
        "LayerNorms give, with one range a tensor. With 8 bits a model can lose much, or all where "
        "the quantizer does not rotate.",
    )


def preset_sentence() -> Markdown:
    """Return the chosen preset with its sentence, and what is quantized besides."""
    said, bits = _said(PRESETS[quantizer.PRESET.get()]), STREAM[quantizer.STREAM.get()]
    if not bits:
        return said
    return Markdown("{} Residual sums and LayerNorm outputs have {} bits.").format(said, bits)


def _said(preset: Preset) -> Markdown:
    return Markdown("**{}**: {}").format(preset.name, preset.says)

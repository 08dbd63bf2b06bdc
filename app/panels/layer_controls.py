"""Which layer is looked at, at which widths, quantized how."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import charts, compute, layer_data, quantizer_state, state, units
from app.panels import quantizer
from app.sidebar import Selected
from lrp.engine.layers import Layer
from quant.analysis.anatomy import Anatomy
from quant.calibration.calibration import WIDTHS
from quant.primitives.bits import LayerBits


def choose(selected: Selected) -> tuple[Layer, LayerBits]:
    """Let the user choose a layer, its bits and the preset."""
    row = st.columns([2.2, 0.8, 0.8, 1.2], gap="small", vertical_alignment="bottom")
    with row[0]:
        chosen = layer(selected)
    product = chosen.kind == "matmul"
    with row[1]:
        weight = _width("Weight bits", quantizer_state.WEIGHT_CHOICE, _weight(product), product)
    with row[2]:
        activation = _width(
            "Activation bits", quantizer_state.ACTIVATION_CHOICE, quantizer_state.activation_bits()
        )
    with row[3]:
        quantizer.choose()
    return chosen, bits_of(chosen, weight, activation)


def bits_of(chosen: Layer, weight: int, activation: int) -> LayerBits:
    """Return a layer's bits: an attention product has activations on both sides."""
    return LayerBits(activation if chosen.kind == "matmul" else weight, activation)


def layer(selected: Selected) -> Layer:
    """Let the user choose a layer; to begin with, the first linear one of a block."""
    layers = compute.layers_of(selected.loaded)
    inside = [each for each in layers if each.block and each.kind == "linear"]
    return pick(layers, inside[0] if inside else layers[0])


def pick(layers: Sequence[Layer], first: Layer) -> Layer:
    """Let the user choose one of `layers`, which is then the chosen one on every page."""
    names = [each.name for each in layers]
    chosen = state.layer() or ""
    st.session_state[state.LAYER_CHOICE] = chosen if chosen in names else first.name

    def heard() -> None:
        state.choose_layer(st.session_state[state.LAYER_CHOICE])

    name = st.selectbox(
        "Layer",
        names,
        key=state.LAYER_CHOICE,
        on_change=heard,
        help="Type to search. `matmul1` is query times key, `matmul2` attention times value.",
    )
    return layers[names.index(name)]


def _weight(product: bool) -> int:
    return quantizer_state.activation_bits() if product else quantizer_state.weight_bits()


def _width(label: str, key: str, value: int, disabled: bool = False) -> int:
    st.session_state[key] = value

    def heard() -> None:
        quantizer_state.choose_width(key, st.session_state[key])

    return st.selectbox(
        label,
        WIDTHS,
        key=key,
        on_change=heard,
        disabled=disabled,
        help="An attention product has no weights: both of its factors have the activations' bits."
        if disabled
        else None,
    )


def facts(chosen: Layer) -> str:
    """Say what a layer is."""
    parameters = f"{units.parameters(chosen.parameters)} weights, " if chosen.parameters else ""
    kind = charts.KINDS[chosen.kind].capitalize()
    return f"{kind}, {parameters}{units.operations(chosen.macs)} multiply-adds an image."


def verdict(found: Anatomy) -> str:
    """Say how much of the layer's output is noise."""
    bits, noise = found.bits, 10 ** (-found.error / 10)
    return units.unbroken(
        f"At {bits.weight} bits by {bits.activation}, its output has an SQNR of "
        f"**{units.decibels(found.error)}**: the error's power is {units.share(noise, 2)} of the "
        f"signal's, on float inputs from {layer_data.IMAGES} calibration images."
    )

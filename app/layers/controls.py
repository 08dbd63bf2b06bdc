"""Which layer is looked at, at which widths, quantized how."""

from __future__ import annotations

import streamlit as st

from app.look import units
from app.parts.choice import a_layer, preset
from app.state.entry import Entry
from app.state.quantizer import ACTIVATION, WEIGHT
from app.state.selection import Selected
from app.work import layer_analyses, models
from lrp.engine.layers import Layer
from quant.analysis.anatomy import Anatomy
from quant.primitives.bits import MENU, LayerBits


def choose(selected: Selected) -> tuple[Layer, LayerBits]:
    """Let the user choose a layer, its bits and the preset."""
    row = st.columns([2.2, 0.8, 0.8, 1.2], gap="small", vertical_alignment="bottom")
    with row[0]:
        chosen = layer(selected)
    product = chosen.kind == "matmul"
    with row[1]:
        same = ACTIVATION if product else WEIGHT
        weight = _width("Weight bits", WEIGHT, same.get(), product)
    with row[2]:
        activation = _width("Activation bits", ACTIVATION, ACTIVATION.get())
    with row[3]:
        preset()
    return chosen, bits_of(chosen, weight, activation)


def bits_of(chosen: Layer, weight: int, activation: int) -> LayerBits:
    """Return a layer's bits: an attention product has activations on both sides."""
    return LayerBits(activation if chosen.kind == "matmul" else weight, activation)


def layer(selected: Selected) -> Layer:
    """Let the user choose a layer; to begin with, the first linear one of a block."""
    layers = models.layers_of(selected.loaded)
    inside = [each for each in layers if each.block and each.kind == "linear"]
    return a_layer(layers, inside[0] if inside else layers[0])


def _width(label: str, entry: Entry[int], value: int, disabled: bool = False) -> int:
    return st.selectbox(
        label,
        MENU,
        key=entry.widget,
        on_change=entry.follow(value),
        disabled=disabled,
        help="An attention product has no weights: both of its factors have the activations' bits."
        if disabled
        else None,
    )


def verdict(found: Anatomy) -> str:
    """Return in words how much of the layer's output is noise."""
    bits, noise = found.bits, 10 ** (-found.error / 10)
    return units.unbroken(
        f"At {bits.weight} bits by {bits.activation}, its output has an SQNR of "
        f"**{units.decibels(found.error)}**: the error's power is {units.share(noise, 2)} of the "
        f"signal's, on float inputs from {layer_analyses.IMAGES} calibration images."
    )

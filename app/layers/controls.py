"""Which layer is looked at, at which widths, quantized how."""

import streamlit as st

from app.look import units
from app.parts.choice import a_layer, preset, stream
from app.state.entry import Entry
from app.state.quantizer import ACTIVATION, WEIGHT
from app.state.selection import Selected
from app.text import Markdown, escape
from app.work import layer_analyses, models
from lrp.engine.layers import Layer
from quant.analysis.anatomy import Anatomy
from quant.primitives.bits import MENU, LayerBits


def choose(selected: Selected) -> tuple[Layer, LayerBits]:
    """Let the user choose a layer, at first a linear one of a block, its bits and the preset."""
    row = st.columns([1.9, 0.8, 0.8, 1.0, 1.1], gap="small", vertical_alignment="bottom")
    with row[0]:
        layers = models.layers_of(selected.loaded)
        inside = [each for each in layers if each.block and each.kind == "linear"]
        layer = a_layer(layers, inside[0] if inside else layers[0])
    product = layer.kind == "matmul"  # which has activations on both sides
    with row[1]:
        same = ACTIVATION if product else WEIGHT
        weight = _width("Weight bits", WEIGHT, same.get(), product)
    with row[2]:
        activation = _width("Activation bits", ACTIVATION, ACTIVATION.get())
    with row[3]:
        preset()
    with row[4]:
        stream()
    return layer, LayerBits(activation if product else weight, activation)


def _width(label: str, entry: Entry[int], value: int, disabled: bool = False) -> int:
    return st.selectbox(
        escape(label),
        MENU,
        key=entry.widget,
        on_change=entry.follow(value),
        disabled=disabled,
        help="An attention product has no weights: both of its factors have the activations' bits."
        if disabled
        else None,
    )


def verdict(found: Anatomy) -> Markdown:
    """Return in words how much of the layer's output is noise."""
    bits, noise = found.bits, 10 ** (-found.error / 10)
    text = Markdown(
        "At {} bits by {}, its output has an SQNR of **{}**: the error's power is {} of the "
        "signal's, on float inputs from {} calibration images."
    )
    error, share = units.decibels(found.error), units.share(noise, 2)
    return units.unbroken(
        text.format(bits.weight, bits.activation, error, share, layer_analyses.IMAGES)
    )

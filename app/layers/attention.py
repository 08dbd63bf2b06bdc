"""What a block's attention looks at, in float and quantized."""

from __future__ import annotations

import numpy as np
import streamlit as st
from PIL.Image import Image

from app.layers import attention_maps
from app.layers.attention_maps import MEAN
from app.look import units
from app.parts import gallery
from app.parts.job_panel import result
from app.parts.numbers import as_numbers
from app.state import quantizer
from app.state.selection import Selected
from app.work import explanations, layer_analyses, models
from app.work.explanations import Prepared
from lrp.engine.layers import Layer
from lrp.maps.pictures import enlarge, heat, overlay
from quant.analysis.anatomy import Attention
from quant.experiments.calibrating import Calibrating
from quant.primitives.bits import LayerBits, uniform

SIZE = 260
PREFIX = "num_prefix_tokens"  # what timm calls the tokens before the patches


def show(selected: Selected, calibrating: Calibrating, layer: Layer) -> None:
    """Show the attention of a layer's block, where it has one."""
    st.subheader("Attention of its block")
    product = _product(selected, layer)
    picture = gallery.current(selected.loaded, selected.images)
    if product is None or picture is None:
        st.caption("This layer is in no block with an attention of its own.")
        return
    bits = LayerBits(quantizer.WEIGHT.get(), quantizer.ACTIVATION.get())
    layers = models.layers_of(selected.loaded)
    allocation = uniform(layers, bits.weight, bits.activation)
    prepared = explanations.prepare(selected.loaded, picture.picture)
    found = result(layer_analyses.attention_of(calibrating, allocation, bits, prepared, product))
    head = _head(len(found.plain))
    prefix = int(getattr(selected.loaded.model, PREFIX, 0))
    st.markdown(sentence(found, head, bits))
    _pictures(found, head, prefix, prepared)
    table = attention_maps.table(found.plain, found.quantized)
    as_numbers({"attention by head, float and quantized": table})


def _product(selected: Selected, layer: Layer) -> str | None:
    """Name the product of attention and values in a layer's block."""
    if layer.role == "matmul2":
        return layer.name
    inside = [x for x in models.layers_of(selected.loaded) if x.block and x.block == layer.block]
    return next((x.name for x in inside if x.role == "matmul2"), None)


def _head(count: int) -> int:
    return st.selectbox(
        "Head",
        [MEAN, *range(count)],
        format_func=lambda head: "mean of all" if head == MEAN else f"head {head}",
        key=quantizer.HEAD_CHOICE,
        width=160,
    )


def sentence(found: Attention, head: int, bits: LayerBits) -> str:
    """Say how far quantization moves attention."""
    plain, quantized = (attention_maps.head_of(x, head) for x in (found.plain, found.quantized))
    share = units.share(float(attention_maps.moved(plain, quantized).mean()))
    which = "on average over the heads" if head == MEAN else f"in head {head}"
    windows = f", the mean over its {found.windows} windows" if found.windows > 1 else ""
    return units.unbroken(
        f"With all layers at {bits.weight} bits for weights and {bits.activation} for activations, "
        f"**{share}** of the attention goes to other tokens than in float, or nowhere, {which}"
        f"{windows}: a quantized row sums to {quantized.sum(-1).mean():.3f} instead of 1."
    )


def _pictures(found: Attention, head: int, prefix: int, prepared: Prepared) -> None:
    plain, quantized = (attention_maps.head_of(x, head) for x in (found.plain, found.quantized))
    columns = st.columns(3, gap="medium")
    size = prepared.images.shape[-2], prepared.images.shape[-1]
    maps = [attention_maps.on_patches(x, prefix, size) for x in (plain, quantized)]
    if found.windows == 1 and maps[0] is not None and maps[1] is not None:
        query = "the class token" if prefix else "all tokens, on average,"
        drawn = on_picture(prepared.seen, maps[0], maps[1])
        captions = (f"float: where {query} looks", "quantized", "quantized − float")
        for column, picture, caption in zip(columns, drawn, captions, strict=True):
            column.image(picture, caption, "stretch", alt=caption)
    captions = ("float: queries in rows, keys in columns", "quantized", "quantized − float")
    for column, picture, caption in zip(columns, matrices(plain, quantized), captions, strict=True):
        column.image(picture, caption, "stretch", output_format="PNG", alt=caption)
    change = float(np.abs(quantized - plain).max())
    st.caption(
        "Stronger red is more attention, on one scale for float and quantized; the squares show "
        "its root, so that weak attention is seen. Differences have a scale of their own, up to "
        f"{change:.2g} in the squares: red gained, blue lost."
    )


def on_picture(seen: Image, plain: np.ndarray, quantized: np.ndarray) -> list[Image]:
    """Lay two maps (h, w), on one scale, and their difference, on its own, over a picture."""
    base = enlarge(seen, SIZE)
    return [overlay(base, values, 0.9) for values in scaled(plain, quantized, 1.0)]


def matrices(plain: np.ndarray, quantized: np.ndarray) -> list[Image]:
    """Draw two attentions (N, N), on one scale, and their difference, on its own."""
    return [heat(values, SIZE) for values in scaled(plain, quantized, 0.5)]


def scaled(plain: np.ndarray, quantized: np.ndarray, power: float) -> list[np.ndarray]:
    """Scale two maps to 0..1 by one peak, their difference to -1..1 by its own; to a power."""
    peak = max(float(plain.max()), float(quantized.max())) or 1.0
    difference = quantized - plain
    largest = float(np.abs(difference).max()) or 1.0
    maps = [(values.clip(min=0) / peak) ** power for values in (plain, quantized)]
    return [*maps, np.sign(difference) * (np.abs(difference) / largest) ** power]

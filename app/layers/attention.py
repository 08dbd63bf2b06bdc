"""What a block's attention looks at, in float and quantized."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from PIL.Image import Image
from streamlit.delta_generator import DeltaGenerator

from app.look import units
from app.parts import gallery
from app.parts.job_panel import result
from app.parts.numbers import as_numbers
from app.state import quantizer
from app.state.selection import Selected
from app.text import Markdown, escape
from app.work import layer_analyses, models
from app.work.explanations import Prepared
from lrp.engine.layers import Layer
from lrp.maps.pictures import enlarge, heat, overlay
from quant.analysis.anatomy import AttentionMaps
from quant.experiments.calibrating import Calibrating
from quant.primitives.bits import LayerBits, uniform

MEAN = -1  # instead of a head's number: all heads averaged
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
    prepared = picture.prepared(selected.loaded)
    attention = result(
        layer_analyses.attention_of(calibrating, allocation, bits, prepared, product)
    )
    head = st.selectbox(
        "Head",
        [MEAN, *range(len(attention.plain))],
        format_func=lambda head: "mean of all" if head == MEAN else f"head {head}",
        key=quantizer.HEAD_CHOICE,
        width=160,
    )
    prefix = int(getattr(selected.loaded.model, PREFIX, 0))
    st.markdown(escape(sentence(attention, head, bits)))
    _pictures(attention, head, prefix, prepared)
    as_numbers(
        {"attention by head, float and quantized": table(attention.plain, attention.quantized)}
    )


def _product(selected: Selected, layer: Layer) -> str | None:
    """Return the name of the product of attention and values in a layer's block."""
    if layer.role == "matmul2":
        return layer.name
    inside = [x for x in models.layers_of(selected.loaded) if x.block and x.block == layer.block]
    return next((x.name for x in inside if x.role == "matmul2"), None)


def sentence(attention: AttentionMaps, head: int, bits: LayerBits) -> Markdown:
    """Return in words how far quantization moves attention."""
    plain, quantized = (head_of(x, head) for x in (attention.plain, attention.quantized))
    share = units.share(float(moved(plain, quantized).mean()))
    which = "on average over the heads" if head == MEAN else f"in head {head}"
    windows = f", the mean over its {attention.windows} windows" if attention.windows > 1 else ""
    at = f"{bits.weight} bits for weights and {bits.activation} for activations"
    rest = f"{which}{windows}: a quantized row sums to {quantized.sum(-1).mean():.3f}"
    return Markdown(
        "With all layers at {}, **{}** of the attention goes to other tokens than in float, or "
        "nowhere, {} instead of 1."
    ).format(at, units.unbroken(share), rest)


def _pictures(attention: AttentionMaps, head: int, prefix: int, prepared: Prepared) -> None:
    plain, quantized = (head_of(x, head) for x in (attention.plain, attention.quantized))
    columns = st.columns(3, gap="medium")
    size = prepared.images.shape[-2], prepared.images.shape[-1]
    maps = [on_patches(x, prefix, size) for x in (plain, quantized)]
    if attention.windows == 1 and maps[0] is not None and maps[1] is not None:
        query = "the class token" if prefix else "all tokens, on average,"
        base = enlarge(prepared.seen, SIZE)
        laid = [overlay(base, values, 0.9) for values in scaled(maps[0], maps[1], 1.0)]
        _row(columns, laid, f"float: where {query} looks")
    squares = [heat(values, SIZE) for values in scaled(plain, quantized, 0.5)]
    _row(columns, squares, "float: queries in rows, keys in columns")
    change = float(np.abs(quantized - plain).max())
    st.caption(
        escape(
            "Stronger red is more attention, on one scale for float and quantized; the squares "
            "show its root, so that weak attention is seen. Differences have a scale of their "
            f"own, up to {change:.2g} in the squares: red gained, blue lost."
        )
    )


def _row(columns: Sequence[DeltaGenerator], pictures: Sequence[Image], first: str) -> None:
    captions = (first, "quantized", "quantized − float")
    for column, picture, caption in zip(columns, pictures, captions, strict=True):
        column.image(picture, escape(caption), "stretch", output_format="PNG", alt=caption)


def scaled(plain: np.ndarray, quantized: np.ndarray, power: float) -> list[np.ndarray]:
    """Scale two maps to 0..1 by one peak, their difference to -1..1 by its own; to a power."""
    peak = max(float(plain.max()), float(quantized.max())) or 1.0
    difference = quantized - plain
    largest = float(np.abs(difference).max()) or 1.0
    maps = [(values.clip(min=0) / peak) ** power for values in (plain, quantized)]
    return [*maps, np.sign(difference) * (np.abs(difference) / largest) ** power]


def head_of(attention: np.ndarray, head: int) -> np.ndarray:
    """Return one head (N, N) of an attention (h, N, N), or the mean over the heads."""
    return attention.mean(0) if head == MEAN else attention[head]


def on_patches(head: np.ndarray, prefix: int, size: tuple[int, int]) -> np.ndarray | None:
    """Arrange what is looked at as patches (rows, columns); None where tokens are not patches.

    Of the first prefix token's query (the class token's), or of the mean over all queries.

    Args:
        head: (N, N), queries in rows.
        prefix: tokens before the patches.
        size: (H, W) of the image that the patches cut up.
    """
    looked = (head[0] if prefix else head.mean(0))[prefix:]
    rows = round((len(looked) * size[0] / size[1]) ** 0.5)
    return looked.reshape(rows, -1) if rows and len(looked) % rows == 0 else None


def moved(plain: np.ndarray, quantized: np.ndarray) -> np.ndarray:
    """Return how much of each row's attention moves, 0 to 1: half the sum of its changes."""
    return np.abs(plain - quantized).sum(-1) / 2


def table(plain: np.ndarray, quantized: np.ndarray) -> pd.DataFrame:
    """Return one row a head of attentions (h, N, N)."""
    return pd.DataFrame(
        {
            "head": range(len(plain)),
            "attention moved (%)": 100 * moved(plain, quantized).mean(-1),
            "most in a row (%)": 100 * moved(plain, quantized).max(-1),
            "sum of a row, float": plain.sum(-1).mean(-1),
            "sum of a row, quantized": quantized.sum(-1).mean(-1),
        }
    ).round(3)

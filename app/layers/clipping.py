"""Ranges of the channels behind a LayerNorm, with the threshold that clips them. Reruns alone."""

import streamlit as st

from app.components.live_slider import live_slider
from app.layers import charts
from app.look import units
from app.look.appearance import dark
from app.parts.numbers import as_numbers
from app.state import quantizer
from app.text import Markdown, escape
from quant.analysis.clipping import LIMITS, Clipping
from quant.primitives.bits import LayerBits


def show(found: Clipping, bits: LayerBits) -> None:
    """Show the section; it reruns alone when the threshold moves."""
    st.subheader("Channels behind the LayerNorm")
    st.caption(
        "Channels behind a LayerNorm differ so much in range that one scale for all wastes levels. "
        "Scale reparameterisation (RepQ-ViT) gives each its own and folds the scales into the next "
        "weights; clipping scales and zero points to mean ± K standard deviations keeps outliers "
        "from inflating the folded weights. Here weights are rounded to the nearest, but in the "
        "preset's way."
    )
    st.fragment(_movable)(found, bits)


def _movable(found: Clipping, bits: LayerBits) -> None:
    left, right = st.columns([1, 2], gap="large", vertical_alignment="center")
    with left:
        live_slider("Clipping threshold K", LIMITS[0], LIMITS[-1], 0.1, quantizer.CLIP, " sd")
    limit = quantizer.CLIP.get()
    with right:
        st.markdown(escape(sentence(found, limit)))
    first, second = st.columns([1.5, 1], gap="medium")
    channels = charts.range_table(found, limit)
    with first:
        st.vega_lite_chart(
            channels,
            charts.range_spec(len(channels), dark()),
            alt=f"range of each of {len(channels)} channels, those the threshold touches marked",
        )
    with second:
        st.vega_lite_chart(
            charts.limit_table(found, limit),
            charts.limit_spec(dark()),
            alt="error of the output over the threshold",
        )
    ranges = channels.drop(columns="place")
    as_numbers({"error by way of scaling": ways(found, limit, bits), "range by channel": ranges})


def sentence(found: Clipping, limit: float) -> Markdown:
    """Return in words what a threshold does, and which one is best."""
    place = found.at(limit)
    count, total, error = found.touched[place], len(found.low), found.errors[place]
    change = error - found.plain
    effect = (
        "changes nothing"
        if abs(change) < 0.05
        else f"{'lowers' if change > 0 else 'raises'} the output's error by {abs(change):.1f} dB"
    )
    best = LIMITS[found.best]
    levels = (error, found.plain, found.off, found.own, found.errors[found.best])
    here, plain, off, own, top = map(units.decibels, levels)
    return Markdown(
        "K = {:.1f} touches **{} of {}** channels and {}: SQNR **{}**, against {} unclipped, {} "
        "with one range for all, and {} as the preset does it. The best K here is {:.1f}: {}."
    ).format(limit, count, total, effect, here, plain, off, own, best, top)


def ways(found: Clipping, limit: float, bits: LayerBits) -> list[dict[str, str]]:
    """Return one row a way of scaling."""
    here, best = found.at(limit), found.best
    each = "a range each, clipped at"
    rows = (
        ("one range for all channels (off)", found.off, 0),
        ("a range each (RepQ-ViT)", found.plain, 0),
        (f"{each} K = {limit:.1f}", found.errors[here], found.touched[here]),
        (f"{each} the best K = {LIMITS[best]:.1f}", found.errors[best], found.touched[best]),
        ("as the preset does it", found.own, 0),
    )
    return [
        {
            "way": way,
            "bits (weights, input)": f"{bits.weight}, {bits.activation}",
            "SQNR of the output": units.decibels(error),
            "channels touched": str(touched),
        }
        for way, error, touched in rows
    ]

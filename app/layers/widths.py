"""Every layer's error at every width: a curve for one layer, a strip for the whole model."""

import pandas as pd
import streamlit as st

from app.layers import charts
from app.layers.spread import names
from app.look import units
from app.look.appearance import dark
from app.look.charts import CHART_CONFIG
from app.parts.choice import layer_in_chart, one_of
from app.parts.job_panel import offered
from app.parts.numbers import as_numbers, csv_button
from app.state import quantizer, selection
from app.text import Markdown, escape
from app.work.layer_analyses import sqnr_of
from assets.models.load import LoadedModel
from assets.sets.image_set import has_digits
from lrp.engine.layers import Layer
from quant.analysis.layer_errors import ACTIVATIONS, BOTH, WEIGHTS, SqnrByWidth
from quant.calibration.presets import STREAM
from quant.experiments.calibrating import Calibrating

KINDS = {"Both": BOTH, "Weights alone": WEIGHTS, "Activations alone": ACTIVATIONS}


def obtain(calibrating: Calibrating) -> SqnrByWidth | None:
    """Return every SQNR, or see to it that it comes: with a job, or a button that starts one."""
    loaded = calibrating.loaded
    return offered(
        sqnr_of(calibrating),
        "Measure all layers at all widths",
        isinstance(loaded, LoadedModel) and has_digits(loaded),
        "This needs a calibration at every width, once, in the background: minutes for a model "
        "of DeiT-Tiny's size. All layers are measured together.",
    )


def curve(layer: Layer, calibrating: Calibrating) -> None:
    """Show one layer's error over the widths."""
    st.subheader("Error at each width")
    found = obtain(calibrating)
    if found is None:
        return
    first, second = names(layer)
    labels = (f"{second} alone", f"{first} alone", "both")
    st.caption(escape(slope(found, layer.name)))
    figure = charts.by_width(found, layer.name, labels, dark())
    st.plotly_chart(figure, config=CHART_CONFIG, alt=f"SQNR of {layer.name} by width")
    rows = found.errors[found.names.index(layer.name)]
    table = pd.DataFrame({"bits": found.widths, **dict(zip(labels, rows, strict=True))})
    as_numbers({"SQNR in dB by width": table.round(1)})


def slope(found: SqnrByWidth, name: str) -> str:
    """Return in words what a bit is worth in a layer."""
    both = found.errors[found.names.index(name), BOTH]
    gain = (both[-1] - both[0]) / (len(both) - 1)
    return (
        "The output's signal-to-quantization-noise ratio (SQNR) on the layer's float inputs: in "
        "theory every bit halves the steps, which is 6.0 dB; here a bit brings "
        f"{units.decibels(gain)} on average. The lower of the single curves is what limits both."
    )


def model(layers: tuple[Layer, ...], calibrating: Calibrating) -> None:
    """Show all layers at all widths; a click chooses a layer."""
    found = obtain(calibrating)
    if found is None:
        return
    kind = KINDS[one_of("Quantized", list(KINDS), quantizer.STRIP_KIND, titled=True)]
    st.caption(escape(weakest(found, kind)))
    table = charts.strip_table(layers, found, kind, selection.LAYER.get())
    st.vega_lite_chart(
        table,
        charts.strip_spec(layers, dark()),
        key=quantizer.STRIP,
        on_select=lambda: layer_in_chart(quantizer.STRIP),
        alt="SQNR by layer and width",
    )
    _chosen(found)
    wide = pd.DataFrame(found.errors[:, kind].round(1), columns=[f"{w} bit" for w in found.widths])
    wide.insert(0, "layer", found.names)
    box = as_numbers({"SQNR in dB by layer and width": wide})
    csv_button(box, wide, "sqnr.csv", "Download as CSV")
    if found.stream:
        _stream(found)


def _stream(found: SqnrByWidth) -> None:
    """Show what lies between the layers, where it is quantized too."""
    bits = STREAM[quantizer.STREAM.get()]
    st.subheader("Residual sums and LayerNorm outputs")
    st.caption(escape(between(found, bits)))
    table = charts.stream_table(found.stream, bits)
    st.vega_lite_chart(table, charts.stream_spec(len(table), dark()), alt="SQNR of sums and norms")
    shown = table[["name", "kind", "bits", "SQNR"]].round(1)
    box = as_numbers({"SQNR in dB of residual sums and LayerNorm outputs": shown})
    csv_button(box, shown, "stream.csv", "Download as CSV")


def between(found: SqnrByWidth, bits: int) -> Markdown:
    """Return in words what is quantized between the layers, and where it costs most."""
    worst = min(found.stream, key=lambda name: found.stream[name])
    return Markdown(
        "These are layers of their own, without weights: each sum of a block's input and what the "
        "block adds, and what each LayerNorm gives, as integers of {} bits with one range a "
        "tensor. Their bits are those chosen above; the slider does not spend them, and sizes and "
        "BitOps have nothing of them. **{}** has the least SQNR ({}), measured on its float values."
    ).format(bits, worst, units.decibels(found.stream[worst]))


def weakest(found: SqnrByWidth, kind: int) -> Markdown:
    """Return in words which layers suffer most."""
    width = quantizer.ACTIVATION.get()
    errors = found.errors[:, kind, found.widths.index(width)]
    order = errors.argsort()
    low, high = found.names[order[0]], found.names[order[-1]]
    worst, best = (units.decibels(errors[order[place]]) for place in (0, -1))
    return Markdown(
        "Each column is a layer, in the order they run; brighter is cleaner. At {} bits **{}** "
        "suffers most ({}) and **{}** least ({}). Measured on each layer's float inputs, so that "
        "errors of the layers before it do not count. Click a column to choose its layer."
    ).format(width, low, worst, high, best)


def _chosen(found: SqnrByWidth) -> None:
    name = selection.LAYER.get()
    if name not in found.names:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(Markdown("Chosen: **{}**").format(name), width="content")
        st.button(
            "Look into this layer",
            icon=":material/arrow_forward:",
            on_click=quantizer.show_view,
            args=(quantizer.ONE_VIEW,),
        )

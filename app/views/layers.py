"""The page that looks inside quantized layers."""

import streamlit as st

from app.layers import attention, clipping, controls, spread, widths
from app.lesson import panel
from app.look.charts import layer_facts
from app.parts.choice import one_of, preset, preset_sentence, stream
from app.parts.job_panel import result
from app.state import quantizer as quantizer_state
from app.state import selection
from app.state.quantizer import ALL_VIEW, LESSON_VIEW, ONE_VIEW
from app.state.selection import Selected
from app.text import Markdown, escape
from app.work import models
from app.work.layer_analyses import parts_of, passes_of
from lrp.engine.interpreter import UnsupportedOperation


def main() -> None:
    st.header("What does quantization do to a layer?")
    views = [ONE_VIEW, ALL_VIEW, LESSON_VIEW]
    view = one_of("View", views, quantizer_state.VIEW, linked=True)
    selected = selection.CURRENT.get()
    if view == LESSON_VIEW:
        panel.show()
    elif selected is None:
        st.info("Choose a model in the sidebar. The lesson needs none.")
    elif selected.images is None:
        st.info("Quantizers are calibrated on images: give an image folder in the sidebar.")
    else:
        _guarded(selected, view)


def _guarded(selected: Selected, view: str) -> None:
    """Show a view, or what is wrong with the model or its images."""
    try:
        if view == ONE_VIEW:
            one_layer(selected)
        else:
            whole_model(selected)
    except UnsupportedOperation as error:
        st.error(
            escape(f"This model cannot be quantized: {error}. Use a ViT, DeiT or Swin of timm.")
        )
    except ValueError as error:
        st.error(escape(f"This cannot be shown: {error}."))


def one_layer(selected: Selected) -> None:
    """Take one layer apart."""
    layer, bits = controls.choose(selected)
    calibrating = models.calibrating(selected.loaded, selected.folder, quantizer_state.preset())
    st.caption(Markdown(" ").join([layer_facts(layer), preset_sentence()]))
    result(passes_of(calibrating, [bits.activation]))
    notice = models.notice_of(calibrating)
    if notice:
        st.warning(escape(notice))
    parts = result(parts_of(calibrating, layer.name, bits))
    st.markdown(escape(controls.verdict(parts.anatomy)))
    if parts.plainer:
        st.caption(escape(f"Quantized in a plainer way than the preset has: {parts.plainer}."))
    spread.show(layer, parts.anatomy)
    if parts.clipping is not None:
        clipping.show(parts.clipping, bits)
    attention.show(selected, calibrating, layer)
    widths.curve(layer, calibrating)


def whole_model(selected: Selected) -> None:
    """Show all layers at all widths."""
    with st.container(horizontal=True):
        preset()
        stream()
    calibrating = models.calibrating(selected.loaded, selected.folder, quantizer_state.preset())
    widths.model(models.layers_of(selected.loaded), calibrating)


if __name__ == "__main__":
    main()

"""The page that looks inside quantized layers."""

from __future__ import annotations

import streamlit as st

from app import compute, quantizer_state, state
from app.job_panel import result
from app.layer_data import parts_of, passes_of
from app.panels import (
    layer_attention,
    layer_clipping,
    layer_controls,
    layer_spread,
    layer_widths,
    lesson,
    quantizer,
)
from app.quantizer_state import ALL_VIEW, LESSON_VIEW, ONE_VIEW
from app.sidebar import Selected
from lrp.engine.interpreter import UnsupportedOperation


def main() -> None:
    st.header("What does quantization do to a layer?")
    view = _view()
    selected = state.current()
    if view == LESSON_VIEW:
        lesson.show()
    elif selected is None:
        st.info("Choose a model in the sidebar. The lesson needs none.")
    elif selected.images is None:
        st.info("Quantizers are calibrated on images: give an image folder in the sidebar.")
    else:
        _guarded(selected, view)


def _view() -> str:
    return st.segmented_control(
        "View",
        [ONE_VIEW, ALL_VIEW, LESSON_VIEW],
        default=ONE_VIEW,
        required=True,
        key=quantizer_state.VIEW,
        bind="query-params",
        label_visibility="collapsed",
    )


def _guarded(selected: Selected, view: str) -> None:
    """Show a view; what is wrong with the model or its images is said."""
    try:
        if view == ONE_VIEW:
            one_layer(selected)
        else:
            whole_model(selected)
    except UnsupportedOperation as error:
        st.error(f"This model cannot be quantized: {error}. Use a ViT, DeiT or Swin of timm.")
    except ValueError as error:
        st.error(f"This cannot be shown: {error}.")


def one_layer(selected: Selected) -> None:
    """Take one layer apart."""
    layer, bits = layer_controls.choose(selected)
    calibrating = compute.calibrating(selected.loaded, selected.folder, quantizer_state.preset())
    st.caption(f"{layer_controls.facts(layer)} {quantizer.says()}")
    result(passes_of(calibrating, [bits.activation]))
    found = result(parts_of(calibrating, layer.name, bits))
    st.markdown(layer_controls.verdict(found.anatomy))
    layer_spread.show(layer, found.anatomy)
    if found.clipping is not None:
        layer_clipping.show(found.clipping, bits)
    layer_attention.show(selected, calibrating, layer)
    layer_widths.curve(layer, calibrating)


def whole_model(selected: Selected) -> None:
    """Show all layers at all widths."""
    quantizer.choose()
    calibrating = compute.calibrating(selected.loaded, selected.folder, quantizer_state.preset())
    layer_widths.model(compute.layers_of(selected.loaded), calibrating)


if __name__ == "__main__":
    main()

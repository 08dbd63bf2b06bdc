"""Every layer as a row; the allocation as a file, both ways; the link."""

import json
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from app.budget.slider import Shown
from app.state import budget, selection
from app.text import escape
from app.work import models
from assets.sets.image_set import ImageSet
from quant.allocation.allocation_file import decode, from_json, images_of, to_json
from quant.report.drawing.widths import written
from quant.report.layers import KINDS


def show(shown: Shown) -> None:
    """Show the bits of every layer, and let them be taken away, brought back and shared."""
    loaded, solution = shown.selected.loaded, shown.plan.solution(shown.row)
    rows = layer_rows(shown)
    st.caption(
        escape(
            f"Expected loss {solution.loss:.4g}, and no allocation within this budget has less "
            f"than {solution.bound:.4g}: at most {solution.gap:.2%} above the best there can be."
        )
    )
    st.dataframe(rows, hide_index=True, alt="bits of every layer")
    costs = models.costs_of(loaded)
    spent, even = costs.cost(solution.allocation), costs.uniform(solution.average_bits)
    preset = shown.measuring.calibrating.preset.name if shown.measuring else None
    to = shown.spending.target
    payload = to_json(loaded.name, solution, spent, even, preset, _chosen_on(shown), to)
    name = f"{loaded.name}-{shown.table.text(shown.row).strip().replace(' ', '')}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button(
            "Allocation as JSON", json.dumps(payload, indent=2), f"{name}.json",
            icon=":material/download:", help="For `python -m quant evaluate --allocation`.",
        )  # fmt: skip
        st.download_button(
            "Table as CSV", rows.to_csv(index=False), f"{name}.csv", icon=":material/download:"
        )
    _bring(shown)
    st.caption("This view as a link, without locks:")
    st.code(_link(), language=None)


def _chosen_on(shown: Shown) -> dict[str, set[int]]:
    """Return the images that bits are chosen on: those that calibrate, and those that score."""
    chosen_on: dict[str, set[int]] = {}
    calibrating = [] if shown.measuring is None else [shown.measuring.calibrating.images]
    for images in [*calibrating, shown.scoring.images]:
        assert isinstance(images, ImageSet)
        chosen_on.setdefault(images.source.key, set()).update(images.indices)
    return chosen_on


def layer_rows(shown: Shown) -> pd.DataFrame:
    """Return one row a layer: bits, what they are expected to lose, size, work."""
    losses, allocation = shown.spending.losses, shown.plan.allocation(shown.row)
    locks = selection.locks(shown.selected.loaded.key)
    rows = []
    for index, layer in enumerate(models.layers_of(shown.selected.loaded)):
        bits = allocation[layer.name]
        rows.append(
            {
                "layer": layer.name,
                "kind": KINDS[layer.kind],
                "weight bits": written(bits.weight),
                "activation bits": written(bits.activation),
                "locked": layer.name in locks,
                "loss of weights": losses.of_side("weight", index, bits.weight),
                "loss of activations": losses.of_side("activation", index, bits.activation),
                "weights": layer.parameters,
                "multiply-adds": layer.macs,
            }
        )
    return pd.DataFrame(rows)


def _bring(shown: Shown) -> None:
    """Load an allocation from a file: its layers are locked at its bits."""
    file = st.file_uploader(
        "Load an allocation (JSON)",
        type=["json"],
        key=budget.IMPORT,
        help="One that was downloaded here, or that `python -m quant allocate --json` wrote. Its "
        "layers are locked at its bits.",
    )
    if file is None or not selection.newly_uploaded(file.file_id):
        return
    try:
        payload = read(file.getvalue())
        allocation = from_json(payload, models.layers_of(shown.selected.loaded))
        chosen_on = images_of(payload)
    except ValueError as error:
        st.error(escape(f"{file.name}: {error}. What was there stays."))
        return
    selection.load(shown.selected.loaded.key, allocation, chosen_on)
    st.rerun()


def read(data: bytes) -> Any:
    """Read an uploaded document; ValueError where it is not JSON."""
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"it {error}: give what the download wrote") from None


def _link() -> str:
    address = str(st.context.url or "").partition("?")[0]
    query = urlencode(st.query_params.to_dict())
    return f"{address}?{query}" if query else address

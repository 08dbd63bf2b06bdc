"""The budget: a slider, what it buys, and what to take away. Reruns alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import address, charts, compute, state, units
from app.appearance import dark
from app.budgets import Spent, layer_rows
from app.components.live_slider import live_slider
from app.panels import locks as locking
from app.sidebar import Selected
from app.tasks import Scoring
from lrp.scores import ContributionScores
from quant.allocation import Solution
from quant.files import to_json


def show(selected: Selected, scoring: Scoring, scores: ContributionScores) -> None:
    """Solve the budget as the slider says and show what came of it."""
    layers = compute.layers_of(selected.loaded)
    head = st.columns([1.5, 1, 1, 1], gap="medium", vertical_alignment="center")
    with head[0]:
        average = _slider()
    fixed = locking.show(selected)
    solution = _solve(selected, scoring, average, fixed)
    if solution is None:
        return
    spent = Spent.of(layers, solution, compute.other_parameters_of(selected.loaded))
    _metrics(spent, head[1:])
    _chart(selected, solution, fixed)
    rows = layer_rows(layers, scores, solution.allocation, fixed)
    _numbers(selected, rows, solution, spent)


def _slider() -> float:
    live_slider(
        "Average bits",
        state.LOWEST_BITS,
        state.HIGHEST_BITS,
        state.budget(),
        0.1,
        state.BUDGET_SLIDER,
        state.choose_budget,
        unit=" bit",
    )
    address.show()
    return state.budget()


def _solve(
    selected: Selected, scoring: Scoring, average: float, fixed: dict[str, int]
) -> Solution | None:
    """Spend the budget; where that is impossible say why, and stay with the last that was not."""
    key = selected.loaded.key
    try:
        solution = compute.allocate(selected.loaded, scoring, average, fixed)
    except ValueError as error:
        kept = state.last_solution(key)
        shown = f" Shown is the last one that could: {kept.average_bits:.1f} bits." if kept else ""
        st.error(f"{str(error).capitalize()}.{shown}")
        return kept
    state.keep_solution(key, solution)
    return solution


def _metrics(spent: Spent, places: Sequence[DeltaGenerator]) -> None:
    mixed, plain = spent.mixed, spent.plain
    values = (
        ("Model size", units.size(mixed.size_bytes), plain.size_bytes / mixed.size_bytes),
        ("BitOps per image", units.operations(mixed.bitops), plain.bitops / mixed.bitops),
    )
    for place, (label, value, times) in zip(places, values, strict=False):
        note = f"{units.factor(times)} less than float"
        place.metric(label, value, note, delta_color="off", delta_arrow="off")
    places[-1].metric(
        "Bits a weight",
        f"{mixed.average_bits:.2f}",
        f"uniform {spent.uniform.average_bits:.1f}",
        delta_color="off",
        delta_arrow="off",
    )


def _chart(selected: Selected, solution: Solution, fixed: dict[str, int]) -> None:
    layers = compute.layers_of(selected.loaded)
    widths = [bits.weight for bits in solution.allocation.values()]
    st.caption(
        f"Bits of each layer at an average of {solution.average_bits:.1f}: from {min(widths)} to "
        f"{max(widths)}, weights and activations alike. ▾ marks layers locked by hand."
    )
    st.vega_lite_chart(
        charts.bits_table(layers, solution.allocation, fixed, state.layer()),
        charts.bits_spec(layers, dark()),
        alt=f"bits by layer, {min(widths)} to {max(widths)}",
    )


def _numbers(selected: Selected, rows: pd.DataFrame, solution: Solution, spent: Spent) -> None:
    st.dataframe(spent.table(), hide_index=True, alt="cost against float and uniform bits")
    with st.expander("All layers as numbers", icon=":material/table_rows:"):
        config = {
            "score": st.column_config.NumberColumn(format="%.2f %%"),
            "sd": st.column_config.NumberColumn(format="%.2f %%"),
        }
        st.dataframe(rows, hide_index=True, column_config=config, alt="bits and scores by layer")
    payload = to_json(selected.loaded.name, solution, spent.mixed, spent.uniform)
    name = f"{selected.loaded.name}-{solution.average_bits:.1f}bit"
    with st.container(horizontal=True):
        st.download_button(
            "Allocation as JSON",
            json.dumps(payload, indent=2),
            f"{name}.json",
            icon=":material/download:",
            help="For `python -m quant evaluate --allocation`.",
        )
        st.download_button(
            "Table as CSV", rows.to_csv(index=False), f"{name}.csv", icon=":material/download:"
        )

"""What was measured in this session: a table and the trade-off."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import charts, state, units
from app.appearance import dark
from app.sidebar import Selected
from app.tasks import Measured

AXES = {"Model size": "size", "BitOps": "BitOps"}


def show(selected: Selected) -> None:
    """Show every measurement of this session for this model and these images."""
    assert selected.images is not None
    rows: list[Measured] = state.history(selected.loaded.key, selected.images.key)
    if not rows:
        if state.measurement() is None:
            st.info("Nothing measured in this session: choose what to compare, press Measure.")
        return
    st.subheader("Results")
    st.dataframe(summary(rows), hide_index=True, alt="accuracy and cost")
    said = why_simulated(rows)
    if said:
        st.caption(said)
    st.download_button(
        "Download as CSV",
        table(rows).to_csv(index=False),
        f"{selected.loaded.name}-accuracy.csv",
        icon=":material/download:",
    )
    _trade_off(rows)


def table(rows: list[Measured]) -> pd.DataFrame:
    """Return one row a measurement; percentages and decimal units."""
    return pd.DataFrame(
        [
            {
                "configuration": row.configuration.name,
                "quantizer": row.preset,
                "runs as": runs_as(row),
                "images": row.evaluation.images,
                "top-1": 100 * row.evaluation.top1,
                "top-1 low": 100 * row.evaluation.top1_low,
                "top-1 high": 100 * row.evaluation.top1_high,
                "top-5": 100 * row.evaluation.top5,
                "agrees with float": 100 * row.evaluation.agreement,
                "divergence (nats)": row.evaluation.divergence,
                "size (MB)": row.configuration.cost.size_bytes / 1e6,
                "BitOps (G)": row.configuration.cost.bitops / 1e9,
                "calibration images": row.calibration_images,
            }
            for row in rows
        ]
    )


def summary(rows: list[Measured]) -> pd.DataFrame:
    """Return the same, written for reading."""
    return pd.DataFrame(
        [
            {
                "configuration": row.configuration.name,
                "quantizer": row.preset or "none",
                "runs as": runs_as(row),
                "images": units.count(row.evaluation.images),
                "top-1": units.share(row.evaluation.top1),
                "95 % interval": units.interval(row.evaluation.top1_low, row.evaluation.top1_high),
                "top-5": units.share(row.evaluation.top5),
                "agrees with float": units.share(row.evaluation.agreement),
                "divergence": f"{row.evaluation.divergence:.3f}",
                "size": units.size(row.configuration.cost.size_bytes),
                "BitOps": units.operations(row.configuration.cost.bitops),
            }
            for row in rows
        ]
    )


def runs_as(row: Measured) -> str:
    """Say whether layers with weights multiply integers."""
    return "float" if row.path is None else str(row.path)


def why_simulated(rows: list[Measured]) -> str:
    """Say why layers are simulated in floating point; "" where none is."""
    reasons = {reason for row in rows if row.path is not None for reason in row.path.simulated}
    if not reasons:
        return ""
    return (
        "Layers run as integers where this machine can; the others are simulated in floating "
        f"point, with the same result: {'; '.join(sorted(reasons))}."
    )


def _trade_off(rows: list[Measured]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Accuracy against cost")
        axis = st.segmented_control(
            "Cost",
            list(AXES),
            default="Model size",
            required=True,
            key=state.COST_AXIS,
            label_visibility="collapsed",
            persist_state="session",
        )
    st.caption(
        "Each point is a configuration measured in this session, with its 95 % interval. Further "
        "up is more accurate, further left is cheaper. Intervals that overlap widely decide "
        "nothing; points of equal cost stand side by side."
    )
    figure = charts.trade_off(rows, AXES[axis or "Model size"], dark())
    st.plotly_chart(figure, config=charts.CHART_CONFIG, alt="accuracy against cost")

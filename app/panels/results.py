"""What was measured in this session: a table and the trade-off."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import charts, state
from app.sidebar import Selected
from app.tasks import Measured

AXES = {"Model size": "size", "BitOps": "BitOps"}


def show(selected: Selected) -> None:
    """Show every measurement of this session for this model and these images."""
    assert selected.images is not None
    rows: list[Measured] = state.history(selected.loaded.key, selected.images.key)
    if not rows:
        st.info("Nothing measured yet in this session: choose what to compare and press Measure.")
        return
    st.subheader("Results")
    results = table(rows)
    st.dataframe(results, hide_index=True, column_config=_columns(), alt="accuracy and cost")
    st.download_button(
        "Download as CSV",
        results.to_csv(index=False),
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
                "images": row.evaluation.images,
                "top-1": 100 * row.evaluation.top1,
                "95 % from": 100 * row.evaluation.top1_low,
                "to": 100 * row.evaluation.top1_high,
                "top-5": 100 * row.evaluation.top5,
                "agrees with float": 100 * row.evaluation.agreement,
                "size (MB)": row.configuration.cost.size_bytes / 1e6,
                "BitOps (G)": row.configuration.cost.bitops / 1e9,
                "calibration images": row.calibration_images,
            }
            for row in rows
        ]
    )


def _columns() -> dict:
    percent = st.column_config.NumberColumn(format="%.1f %%")
    names = ("top-1", "95 % from", "to", "top-5", "agrees with float")
    return {
        **dict.fromkeys(names, percent),
        "size (MB)": st.column_config.NumberColumn(format="%.3f"),
        "BitOps (G)": st.column_config.NumberColumn(format="%.3f"),
    }


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
        "up is more accurate, further left is cheaper; intervals that overlap decide nothing."
    )
    figure = charts.trade_off(rows, AXES[axis or "Model size"])
    st.plotly_chart(figure, config=charts.CHART_CONFIG, alt="accuracy against cost")

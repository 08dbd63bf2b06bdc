"""How relevance gathers as it passes through the model: one small map a block."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from app import heatmaps, pictures
from app.question import Question

COLUMNS = 6
WIDTH = 192


def show(question: Question, chosen: int) -> None:
    """Show the map of every block's input tokens, each on its own scale."""
    maps = heatmaps.through_depth(question.trace, question.relevance(chosen))
    if not maps:
        return
    st.subheader("Relevance through depth")
    st.caption(
        f"What the tokens entering each block say for **{question.names[chosen]}**, from the "
        "first block to the last. Each map has its own scale."
    )
    base = pictures.enlarge(question.prepared.seen, WIDTH)
    with st.grid(COLUMNS, min_column_width=110):
        for name, values in maps.items():
            small = pictures.overlay(base, pictures.scale(values), 0.9)
            st.image(small, caption=name, width="stretch", alt=f"map at {name}")
    with st.expander("The same as numbers", icon=":material/table_rows:"):
        st.dataframe(table(maps), hide_index=True, alt="relevance by block")


def table(maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Sum up each map: total relevance, its positive and negative parts, its sharpest patch."""
    rows = [
        {
            "tokens entering": name,
            "sum": round(float(values.sum()), 4),
            "positive": round(float(values.clip(min=0).sum()), 4),
            "negative": round(float(values.clip(max=0).sum()), 4),
            "strongest patch (row, column)": "{}, {}".format(
                *np.unravel_index(np.abs(values).argmax(), values.shape)
            ),
        }
        for name, values in maps.items()
    ]
    return pd.DataFrame(rows)

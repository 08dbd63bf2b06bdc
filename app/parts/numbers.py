"""Numbers to read: single figures, and a chart's as tables under it, folded away, or as files."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.text import escape

SAME = "The same as numbers"


def as_numbers(
    tables: Mapping[str, Any], config: dict[str, Any] | None = None, label: str = SAME
) -> DeltaGenerator:
    """Show tables, each by what it is of, and return the box they are in, for more.

    Args:
        config: how columns are written, by name.
    """
    box = st.expander(escape(label), icon=":material/table_rows:")
    for alt, table in tables.items():
        box.dataframe(table, hide_index=True, column_config=config, alt=alt)
    return box


def csv_button(place: DeltaGenerator, table: pd.DataFrame, file: str, label: str) -> None:
    """Offer a table as a CSV file."""
    place.download_button(
        escape(label), table.to_csv(index=False), file, icon=":material/download:"
    )


def figure(place: DeltaGenerator, label: str, value: str, under: str) -> None:
    """Show a number with what belongs to it under it."""
    place.metric(escape(label), escape(value), escape(under), delta_color="off", delta_arrow="off")

"""The budget slider without a script of ours in the browser: Streamlit's own widgets instead."""

from collections.abc import Collection

import pandas as pd
import streamlit as st

from app.components.budget_table import Actions, BudgetTable
from app.text import escape
from quant.report.drawing.widths import written


def plain_budget_slider(
    table: BudgetTable,
    row: int,
    locks: Collection[str],
    chosen: str | None,
    key: str,
    actions: Actions,
) -> None:
    """Show what `budget_slider` shows, as a slider and tables.

    `move` comes right before `commit`: this slider tells Python only where it is let go.
    """

    def commit() -> None:
        actions.move()
        actions.commit(st.session_state[key])

    def lock() -> None:
        for name in sorted(set(st.session_state[f"{key}-locks"]) ^ set(locks)):
            actions.lock(name)

    def choose() -> None:
        actions.choose(st.session_state[f"{key}-layer"])

    st.session_state[key] = row
    st.session_state[f"{key}-locks"] = [name for name in table.names if name in locks]
    st.session_state[f"{key}-layer"] = chosen if chosen in table.names else table.names[0]
    rows = range(len(table.values))
    st.select_slider(escape(table.label), rows, format_func=table.text, key=key, on_change=commit)
    st.dataframe(pd.DataFrame(table.figures(row)), hide_index=True, alt="what the budget buys")
    st.caption(escape(f"Latest bought: {table.steps[row]}"))
    bits = {
        "layer": table.names,
        "weights": [written(int(width)) for width in table.weight[row]],
        "activations": [written(int(width)) for width in table.activation[row]],
    }
    st.dataframe(pd.DataFrame(bits), hide_index=True, alt="bits of each layer")
    st.multiselect("Locked layers", table.names, key=f"{key}-locks", on_change=lock)
    st.selectbox("Chosen layer", table.names, key=f"{key}-layer", on_change=choose)

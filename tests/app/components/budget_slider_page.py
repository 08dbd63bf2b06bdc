"""A page of two blocks and five budgets for the tests: what Python hears is written on it.

A table whose budgets are spent on weights and activations apart takes `?separate=yes`, Streamlit's
own widgets take `?plain=yes`.
"""

from collections.abc import Callable

import streamlit as st

from app.components.budget_slider import budget_slider
from app.components.budget_table import Actions, BudgetTable, Figures, Plain
from app.components.plain_budget import plain_budget_slider
from app.look.appearance import dark

LAYERS = [
    ("patch_embed.proj", "", "conv2d"),
    ("blocks.0.attn.qkv", "0", "linear"),
    ("blocks.0.attn.matmul1", "0", "matmul"),
    ("blocks.1.mlp.fc1", "1", "linear"),
    ("head", "", "linear"),
]
WEIGHT = [[2, 2, 2, 2, 2], [2, 4, 2, 2, 2], [3, 4, 2, 3, 2], [6, 4, 8, 3, 2], [8, 8, 8, 8, 8]]
ACTIVATION = [[2, 2, 2, 2, 2], [2, 3, 2, 2, 2], [3, 5, 2, 3, 2], [6, 5, 8, 3, 2], [8, 8, 8, 8, 8]]
MIDDLES = [0.301, 0.45, 0.701, 0.75, 0.76]


def table(separate: bool) -> BudgetTable:
    """Return five budgets, 2 to 8 bits."""
    mixed = Figures(
        [1.0e6, 2.2e6, 3.1e6, 4.4e6, 5.5e6],
        [1.0e9, 2.0e9, 5.2e9, 7.7e9, 9.9e9],
        [2.0, 3.0, 4.2, 6.0, 8.0],
        [2.0, 3.1, 4.3, 6.1, 8.0],
        [(m - 0.1, m, m + 0.05) for m in MIDDLES],
    )
    return BudgetTable(
        "Average bits",
        " bits",
        1,
        [2.0, 3.0, 4.2, 6.0, 8.0],
        LAYERS,
        WEIGHT,
        ACTIVATION if separate else WEIGHT,
        mixed,
        mixed,
        Plain(22.9e6, 1.2e12, 0.772),
        [0.0, 0.01, 0.002, 0.0003, 0.0],
        ["nothing", "qkv to 4 bits", "fc1 to 3 bits", "matmul1 to 8 bits", "all to 8 bits"],
    )


@st.fragment
def board() -> None:
    """Show the slider and what was heard from it."""
    asked, session = st.query_params, st.session_state
    heard = session.setdefault("heard", [])
    session.setdefault("row", 1)
    session.setdefault("locked", [])
    session.setdefault("chosen", None)

    def hear(event: str) -> Callable[..., None]:
        return lambda *values: heard.append([event, *values])

    def commit(row: int) -> None:
        session["row"] = row
        heard.append(["commit", row])

    def lock(name: str) -> None:
        session["locked"] = sorted(set(session["locked"]) ^ {name})
        heard.append(["lock", name])

    def choose(name: str) -> None:
        session["chosen"] = name
        heard.append(["choose", name])

    arguments = (table("separate" in asked), session["row"], session["locked"], session["chosen"])
    actions = Actions(commit, hear("move"), lock, choose)
    if "plain" in asked:
        plain_budget_slider(*arguments, "budget", actions)
    else:
        budget_slider(*arguments, "budget", actions, dark())
    st.button("Back to the second budget", on_click=session.update, args=({"row": 1},))
    st.code(repr(heard))


board()

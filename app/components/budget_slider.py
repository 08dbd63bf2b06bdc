"""A slider over precomputed budgets, drawn in the browser; Python hears where it is let go."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from app.components.budget_table import Actions, BudgetTable
from quant.report.drawing.widths import LETTERS, named, palette


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


_mount = st.components.v2.component(
    "bitlens.budget_slider",
    html=_text("budget_slider.html"),
    css=_text("budget_slider.css"),
    js=_text("budget_parts.js") + _text("budget_slider.js"),
)


def budget_slider(
    table: BudgetTable,
    row: int,
    locks: Collection[str],
    chosen: str | None,
    key: str,
    actions: Actions,
    dark: bool,
) -> None:
    """Show the budgets of a table at `row`, and let the user move along them.

    Args:
        locks: names of the layers whose bits are fixed; their bars are marked.
        chosen: the layer whose bar is outlined; a click with Shift chooses another one.
    """
    _mount(
        key=key,
        data={
            "table": table.wire,
            "row": row,
            "turn": turn_sent(_sent(key).get("row")),
            "locked": [index for index, name in enumerate(table.names) if name in locks],
            "chosen": table.names.index(chosen) if chosen in table.names else None,
            "colours": painted(table.shown, dark),
        },
        on_row_change=partial(_commit, key, len(table.values), actions),
        on_moved_change=partial(_move, key, actions),
        on_lock_change=partial(_press, key, "lock", table.names, actions.lock),
        on_chosen_change=partial(_press, key, "chosen", table.names, actions.choose),
    )


def _sent(key: str) -> Mapping[str, object]:
    return st.session_state.get(key) or {}


def _commit(key: str, rows: int, actions: Actions) -> None:
    sent = _sent(key).get("row")
    row = row_sent(sent, rows)
    if row is None:
        return
    # Several state changes in one rerun fire their callbacks in no fixed order.
    if turn_sent(sent) == _sent(key).get("moved"):
        actions.move()
    actions.commit(row)


def _move(key: str, actions: Actions) -> None:
    if turn_sent(_sent(key).get("row")) != _sent(key).get("moved"):
        actions.move()


def _press(key: str, event: str, names: Collection[str], on_layer: Callable[[str], None]) -> None:
    name = _sent(key).get(event)
    if isinstance(name, str) and name in names:
        on_layer(name)


def row_sent(sent: object, rows: int) -> int | None:
    """Return the row that the browser commits, of [row, turn]; None where it sent anything else."""
    row = sent[0] if isinstance(sent, list) and len(sent) == 2 else None
    return row if type(row) is int and 0 <= row < rows else None


def turn_sent(sent: object) -> int | None:
    """Return which commit of the browser this is, so that it can tell answers to it apart."""
    turn = sent[1] if isinstance(sent, list) and len(sent) == 2 else None
    return turn if type(turn) is int else None


def painted(widths: Sequence[int], dark: bool) -> list[tuple[str, str, str, str]]:
    """Return (letter, the colour of its bar, that of text on it, its name) of some widths."""
    colours = dict(zip(LETTERS, palette(dark), strict=True))
    return [(of, colours[of], _ink(colours[of]), name) for of, name in named(widths).items()]


def _ink(fill: str) -> str:
    """Return black or white, whichever stands out more (WCAG 2 contrast)."""
    parts = [int(fill[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#fff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000"

"""The table of all runs: filtered, alive while one runs, a row to choose."""

import zlib
from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import public
from app.runs.pair import FIRST, SECOND
from app.state import runs as run_state
from app.state import selection
from app.text import escape
from app.work import history, models
from app.work.history import ANY, Costs, Filter
from quant.allocation.cost import Cost
from quant.history.runs import DONE, RUNNING, STOPPED, Run
from quant.primitives.bits import Allocation

POLL_SECONDS = 2.0
ROW, MOST_ROWS = 35, 9  # pixels of a row; rows before the table scrolls


def show(runs: Sequence[Run]) -> None:
    """Show the filters and the table; the page runs again when a row is chosen or a run ends."""
    wanted = _filters(runs)
    live = any(run.state == RUNNING for run in runs)
    drawn = (_states(runs), run_state.RUN.get())
    st.fragment(_table, run_every=POLL_SECONDS if live else None)(wanted, drawn)


def _filters(runs: Sequence[Run]) -> Filter:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        text = st.text_input(
            "Search",
            key=run_state.SEARCH,
            placeholder="words of the model, the configuration or the note",
            icon=":material/search:",
            persist_state="session",
        )
        model = _select("Model", run_state.MODEL_FILTER, [run.recipe.model for run in runs])
        names = [history.objective(run.recipe) for run in runs]
        objective = _select("Objective", run_state.OBJECTIVE_FILTER, names)
        state = _select("State", run_state.STATE_FILTER, [DONE, RUNNING, STOPPED])
    return Filter(model, objective, state, text or "")


def _select(label: str, key: str, values: Sequence[str]) -> str:
    options = [ANY, *dict.fromkeys(values)]
    selection.offer(key, options)
    return st.selectbox(escape(label), options, key=key, persist_state="session", width=190)


def _table(wanted: Filter, drawn: tuple[object, int | None]) -> None:
    runs = history.history().listed()
    if (_states(runs), run_state.RUN.get()) != drawn:
        st.rerun()
    shown = [run for run in runs if wanted.takes(run)]
    if not shown:
        st.info("No run is like that.", icon=":material/filter_alt_off:")
        return
    costs = {run.id: cost_of(run.recipe.model_key, run.recipe.allocation) for run in shown}
    _rows(shown, costs, marks(runs))
    _below(runs, shown, costs)


def _states(runs: Sequence[Run]) -> list[tuple[int, str]]:
    return [(run.id, run.state) for run in runs]


def pinned(runs: Sequence[Run]) -> list[Run]:
    """Return the pinned runs, the older first: two at most."""
    return sorted([run for run in runs if run.pinned][:2], key=lambda run: run.id)


def marks(runs: Sequence[Run]) -> dict[int, str]:
    """Return what pinned runs are called; one alone is compared with float, which is A then."""
    pins = pinned(runs)
    return {run.id: mark for run, mark in zip(pins[::-1], (SECOND, FIRST), strict=False)}


def cost_of(model_key: str, allocation: Allocation | None) -> Cost | None:
    """Return what an allocation costs, None being float; None for a model that is not in use."""
    selected = selection.CURRENT.get()
    if selected is None or selected.loaded.key != model_key:
        return None
    return models.costs_of(selected.loaded).cost(allocation or {})


def _rows(shown: Sequence[Run], costs: Costs, called: dict[int, str]) -> None:
    numbers = [run.id for run in shown]
    # A selection is kept by place: other rows are another table.
    key = f"{run_state.TABLE}-{zlib.crc32(repr(numbers).encode())}"

    def on_select() -> None:
        places = st.session_state[key].selection.rows
        run_state.RUN.set(numbers[places[0]] if places else None)

    number = run_state.RUN.get()
    rows = [numbers.index(number)] if number in numbers else []
    st.dataframe(
        history.table(shown, costs, called),
        key=key,
        hide_index=True,
        height=ROW * (min(len(shown), MOST_ROWS) + 1) + 3,
        column_config=_columns(),
        on_select=on_select,
        selection_mode="single-row",
        selection_default={"selection": {"rows": rows}},
        alt="all runs",
    )


def _columns() -> dict[str, Any]:
    column = st.column_config
    known = "Known of the model in use: choose a run of another one to load it."
    return {
        "pin": column.TextColumn("", width=28, help="What a pinned run is called below."),
        "run": column.NumberColumn("#", width=40),
        "model": column.TextColumn(width=88),
        "configuration": column.TextColumn(width=140),
        "quantizer": column.TextColumn(width=76),
        "bits": column.TextColumn(
            width=52, help=escape(f"Weight bits a weight, on average. {known}")
        ),
        "top-1": column.NumberColumn(format="%.1f %%", width=68),
        "95 % interval": column.TextColumn(width=118),
        "to float": column.NumberColumn(
            format="%+.1f",
            width=66,
            help="Top-1 less that of the float model on the same images, in points.",
        ),
        "its interval": column.TextColumn(width=122, help="95 %, in points."),
        "images": column.TextColumn(width=102, help="Answered so far, of those wanted."),
        "state": column.TextColumn(width=75),
        "size": column.TextColumn(width=75, help=escape(known)),
        "BitOps": column.TextColumn(width=72, help=escape(f"Bit operations of one image. {known}")),
        "when": column.DatetimeColumn(format="distance", width=125),
        "note": column.TextColumn(width="medium"),
    }


def _below(runs: Sequence[Run], shown: Sequence[Run], costs: Costs) -> None:
    count = f"{len(shown)} runs" if len(shown) != 1 else "1 run"
    filtered = f" of {len(runs)}" if len(shown) < len(runs) else ""
    kept = "until you leave" if public.on() else "on this machine"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            escape(
                f"{count}{filtered}, kept {kept}. Choose a row to look closer, to pin "
                "it or to delete it."
            ),
            width="stretch",
        )
        st.download_button(
            "Table as CSV",
            lambda: history.numbers(shown, costs).to_csv(index=False),
            "runs.csv",
            icon=":material/download:",
            on_click="ignore",
        )

"""How a session spends bits: the objective, the unit of the budget, the widths offered, limits."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import streamlit as st

from app.state.selection import asked
from quant.allocation.objectives import LRP, OBJECTIVES, PRODUCT, SENSITIVITY
from quant.primitives.bits import MENU

# Keys of widgets.
OBJECTIVE_CHOICE, UNIT_CHOICE, WIDTHS_CHOICE = "objective_choice", "unit_choice", "widths_choice"
APART_CHOICE, SIZE_LIMIT, BITOPS_LIMIT = "apart_choice", "size_limit", "bitops_limit"
BUDGET, PLAIN_BUDGET, PLAIN = "budget", "plain_budget", "plain_slider"
PRECISION, IMAGES = "precision", "measured_images"
TRADE_OFF, AXIS, IMPORT, HOW_CHOICE = "trade_off", "cost_axis", "import_allocation", "how_choice"
BELOW, BOUGHT, AUTO = "below", "bought", "measure_at_once"
RELOCKED, SENSED_WIDTH = "_relocked", "sensed_width"
SWEEP_OBJECTIVES, SWEEP_BUDGETS = "sweep_objectives", "sweep_budgets"

# Plain entries of the session.
_OBJECTIVE, _UNIT, _WIDTHS, _APART = "_objective", "_unit", "_widths", "_apart"
_VALUES, _LIVE, _SWEEP = "_values", "_live", "_sweep"

AVERAGE, SIZE, BITOPS = "average", "size", "bitops"
UNITS = {AVERAGE: "Average bits", SIZE: "Weights (MB)", BITOPS: "BitOps (G)"}
LABELS = {SENSITIVITY: "Sensitivity", PRODUCT: "LRP × sensitivity", LRP: "LRP"}
DEFAULT_OBJECTIVE = SENSITIVITY
PARAMETERS = {_OBJECTIVE: "by", _UNIT: "unit", _WIDTHS: "widths", _APART: "tied"}


@dataclass(frozen=True)
class Started:
    """The evaluation that the budget started: its job's key, and what names what it measures."""

    key: Hashable
    of: Hashable


@dataclass(frozen=True)
class Sweep:
    """A sweep of this session: how to begin it, or go on with it, and whether it made way."""

    key: Hashable
    begin: Callable[[], Hashable]
    paused: bool = False


def objective() -> str:
    """Return what bits are spent by."""
    name = asked(_OBJECTIVE, PARAMETERS[_OBJECTIVE])
    return name if name in OBJECTIVES else DEFAULT_OBJECTIVE


def choose_objective(name: str) -> None:
    """Choose what bits are spent by."""
    st.session_state[_OBJECTIVE] = name


def unit() -> str:
    """Return what the budget is counted in."""
    name = asked(_UNIT, PARAMETERS[_UNIT])
    return name if name in UNITS else AVERAGE


def choose_unit(name: str) -> None:
    """Choose what the budget is counted in."""
    st.session_state[_UNIT] = name


def widths() -> tuple[int, ...]:
    """Return the widths offered, ascending."""
    text = asked(_WIDTHS, PARAMETERS[_WIDTHS]) or ""
    found = tuple(width for width in MENU if str(width) in text)
    return found or MENU


def choose_widths(chosen: list[int]) -> None:
    """Choose the widths offered; none is all."""
    st.session_state[_WIDTHS] = "".join(map(str, sorted(chosen)))


def tied() -> bool:
    """Say whether weights and activations of a layer take the same width."""
    return asked(_APART, PARAMETERS[_APART]) == "1"


def choose_tied(chosen: bool) -> None:
    """Choose whether weights and activations of a layer take the same width."""
    st.session_state[_APART] = "1" if chosen else None


def value(of: str) -> float | None:
    """Return the budget chosen in a unit other than average bits, or None before any was."""
    return st.session_state.get(_VALUES, {}).get(of)


def choose_value(of: str, chosen: float) -> None:
    """Choose the budget in a unit other than average bits."""
    st.session_state.setdefault(_VALUES, {})[of] = chosen


def live() -> Started | None:
    """Return the evaluation that the budget started last, if any."""
    return st.session_state.get(_LIVE)


def keep_live(started: Started | None) -> None:
    """Remember the evaluation that the budget started."""
    st.session_state[_LIVE] = started


def sweep() -> Sweep | None:
    """Return the sweep that was started, if any."""
    return st.session_state.get(_SWEEP)


def keep_sweep(sweep: Sweep | None) -> None:
    """Remember the sweep that was started."""
    st.session_state[_SWEEP] = sweep


def in_address() -> dict[str, str | int | None]:
    """Return what a link needs to name: what is not the default."""
    offered = widths()
    return {
        PARAMETERS[_OBJECTIVE]: None if objective() == DEFAULT_OBJECTIVE else objective(),
        PARAMETERS[_UNIT]: None if unit() == AVERAGE else unit(),
        PARAMETERS[_WIDTHS]: None if offered == MENU else "".join(map(str, offered)),
        PARAMETERS[_APART]: "1" if tied() else None,
    }

"""How a session spends bits: the objective, the unit of the budget, the widths offered, limits."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from app.state.entry import Entry, Linked, among
from quant.allocation.objectives import LRP, OBJECTIVES, PRODUCT, SENSITIVITY
from quant.primitives.bits import MENU
from quant.primitives.formats import is_name, plain, read_width
from quant.primitives.targets import ANY, TARGETS, Target, target

# Keys of widgets.
BUDGET = "budget"
PLAIN_BUDGET = "plain_budget"
IMAGES = "measured_images"
HOW_CHOICE = "how_choice"
SENSED_WIDTH = "sensed_width"
TRADE_OFF = "trade_off"
AXIS = "cost_axis"
IMPORT = "import_allocation"
BELOW = "below"
BOUGHT = "bought"
SWEEP_OBJECTIVES = "sweep_objectives"
SWEEP_BUDGETS = "sweep_budgets"
LOSS = "accepted_loss"
LOSS_UNIT = "accepted_loss_unit"

AVERAGE = "average"
SIZE = "size"
BITOPS = "bitops"
UNITS = {AVERAGE: "Average bits", SIZE: "Weights (MB)", BITOPS: "BitOps (G)"}
LABELS = {SENSITIVITY: "Sensitivity", PRODUCT: "LRP × sensitivity", LRP: "LRP"}


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


@dataclass(frozen=True, eq=False)
class Looking:
    """A search for the smallest budget within a loss: its job's key, the plan whose budgets it
    goes through, what names what it measures, and whether the slider took what it found."""

    key: Hashable
    plan: object
    of: Hashable
    taken: bool = False


def _bits_read(text: str) -> float | None:
    try:
        average = round(float(text), 2)
    except ValueError:
        return None
    to = chosen_target()
    return average if to.narrowest <= average <= to.widest else None


def _widths_read(text: str) -> tuple[int, ...]:
    """Read "248" or "4,16,float"."""
    if "," not in text and not is_name(text):
        return tuple(width for width in MENU if str(width) in text) or MENU
    try:
        return tuple(dict.fromkeys(map(read_width, text.split(","))))
    except ValueError:
        return MENU


def _widths_written(widths: tuple[int, ...]) -> str:
    if set(widths) <= set(MENU):
        return "".join(map(str, sorted(widths)))
    return ",".join(str(plain(width)) for width in widths)


# What bits are spent by.
OBJECTIVE: Linked[str] = Linked("_objective", SENSITIVITY, parameter="by", read=among(OBJECTIVES))
# What the budget is counted in, and the budget: in average bits, and by other unit.
UNIT: Linked[str] = Linked("_unit", AVERAGE, parameter="unit", read=among(UNITS))
BITS: Linked[float] = Linked(
    "_bits",
    4.0,
    clean=lambda average: round(average, 2),
    parameter="bits",
    read=_bits_read,
    write="{:g}".format,
)
VALUES: Entry[Mapping[str, float]] = Entry("_values", {})
# What the model is to run on.
TARGET: Linked[str] = Linked("_to_run_on", ANY.key, parameter="on", read=among(TARGETS))
# The widths offered, of the target's; `MENU` is all of any target.
WIDTHS: Linked[tuple[int, ...]] = Linked(
    "_widths",
    MENU,
    clean=lambda widths: tuple(sorted(widths)) if widths else MENU,
    parameter="widths",
    read=_widths_read,
    write=_widths_written,
)
# Whether weights and activations of a layer take the same width.
TIED: Linked[bool] = Linked(
    "_apart", False, parameter="tied", read="1".__eq__, write=lambda tied: "1"
)
# The evaluation that the budget started last, the runs to predict from, the search for a loss, and
# the sweep.
LIVE: Entry[Started | None] = Entry("_live", None)
FIRST: Entry[Started | None] = Entry("_first", None)
LOOKING: Entry[Looking | None] = Entry("_looking", None)
SWEEP: Entry[Sweep | None] = Entry("_sweep", None)
# Whether locks changed after the plan was made.
RELOCKED: Entry[bool] = Entry("_relocked", False)

# Widgets that hold their own entry.
PLAIN: Entry[bool] = Entry("plain_slider", False)
AUTO: Entry[bool] = Entry("measure_at_once", True)
FORETELL: Entry[bool] = Entry("measure_to_predict", True)
PRECISION: Entry[float] = Entry("precision", 0.0)
SIZE_LIMIT: Entry[float | None] = Entry("size_limit", None)
BITOPS_LIMIT: Entry[float | None] = Entry("bitops_limit", None)


def chosen_target() -> Target:
    """Return what the model is to run on."""
    return target(TARGET.get())


def widths() -> tuple[int, ...]:
    """Return the target's widths that are offered: all, where none of them was chosen."""
    every, chosen = chosen_target().widths, WIDTHS.get()
    return every if chosen == MENU else tuple(w for w in every if w in chosen) or every


def value(unit: str) -> float | None:
    """Return the budget in a unit, or None before any was chosen."""
    return BITS.get() if unit == AVERAGE else VALUES.get().get(unit)


def choose_value(unit: str, value: float) -> None:
    """Choose the budget in a unit."""
    if unit == AVERAGE:
        BITS.set(value)
    else:
        VALUES.set({**VALUES.get(), unit: value})

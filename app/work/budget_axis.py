"""The budgets that the slider goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.state.budget import AVERAGE, SIZE
from lrp.engine.layers import Layer
from quant.allocation.budget import Choices, Limits, combine, from_average, from_size
from quant.allocation.infeasible import require_feasible
from quant.primitives.bits import MENU

ROWS = 121


@dataclass(frozen=True)
class Axis:
    """The budgets a slider goes through, in one unit.

    Attributes:
        unit: "average", "size" (MB of the layers' weights) or "bitops" (10^9 of one image).
        values: (T,), in that unit, ascending.
        limits: (T,), with what else is limited.
    """

    unit: str
    values: tuple[float, ...]
    limits: tuple[Limits, ...]

    def row(self, value: float) -> int:
        """Return the row nearest to a value."""
        return int(np.abs(np.array(self.values) - value).argmin())


def axis_of(layers: Sequence[Layer], choices: Choices, unit: str, other: Limits) -> Axis:
    """Lay out the budgets that can be met, from the lowest to what the widest widths take.

    Raises:
        Infeasible: `other` is below what the lowest widths need.
    """
    require_feasible(choices, other)
    least, most = choices.least, _most(choices)
    if unit == AVERAGE:
        values = np.linspace(MENU[0], MENU[-1], ROWS)
        values = values[values >= choices.least_average - 1e-9]
        found = [from_average(layers, value) for value in values]
    elif unit == SIZE:
        rows = ROWS if most.weight_bits > least.weight_bits else 1
        values = np.linspace(least.weight_bits, most.weight_bits, rows) / 8e6
        found = [from_size(value * 1e6) for value in values]
    else:
        rows = ROWS if most.bitops > least.bitops else 1
        values = np.geomspace(least.bitops, most.bitops, rows) / 1e9
        found = [Limits(bitops=value * 1e9) for value in values]
    return Axis(unit, tuple(values.tolist()), tuple(combine(one, other) for one in found))


def _most(choices: Choices) -> Limits:
    return Limits(
        float(choices.parameters @ choices.weight.max(1)),
        float(choices.macs @ (choices.weight * choices.activation).max(1)),
    )

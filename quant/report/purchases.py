"""How a budget is spent step by step: which layer gains which bits, at what price, for what."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from lrp.engine.layers import Layer
from quant.allocation.budget import Choices, Limits, offer
from quant.allocation.objectives import Losses
from quant.allocation.path import BudgetPlan, budget_plan
from quant.primitives.bits import MENU, Allocation
from quant.primitives.formats import label, price, prices
from quant.report.drawing import units

ROWS = 61  # budgets on the way to an allocation


@dataclass(frozen=True)
class Purchase:
    """Bits that one layer gained at a row of the plan, what they cost and what they gave.

    Attributes:
        what: "weights", "second operand" or "activations".
        size: bytes;  bitops: of one image, with the layer's other width as it then is.
        gain: expected loss less than before.
    """

    row: int
    layer: str
    what: str
    before: int
    after: int
    size: float
    bitops: float
    gain: float

    def __str__(self) -> str:
        cost = [f"+{units.size(self.size)}"] if self.size else []
        cost.append(f"+{units.large(self.bitops)} BitOps")
        bits = f"{label(self.before)} → {label(self.after)}"
        unit = " bits" * ({self.before, self.after} <= set(MENU))
        return f"{self.layer} {self.what} {bits}{unit} ({', '.join(cost)})"


def bought(
    layers: Sequence[Layer], plan: BudgetPlan, losses: Losses | None = None
) -> list[Purchase]:
    """List what was bought along the path, row by row, in the order of the layers.

    Args:
        losses: those the plan was made with, for the gains; 0 without.
    """
    changed = np.diff(plan.weight, axis=0) | np.diff(plan.activation, axis=0)
    return [
        purchase
        for row, index in np.argwhere(changed).tolist()
        for purchase in _purchases(layers[index], index, row + 1, plan, losses)
    ]


def _purchases(
    layer: Layer, index: int, row: int, plan: BudgetPlan, losses: Losses | None
) -> list[Purchase]:
    """List one layer's gains at one row: of its weights first, then of its activations."""
    (w0, w1), (a0, a1) = (
        bits[row - 1 : row + 1, index].tolist() for bits in (plan.weight, plan.activation)
    )
    what = "second operand" if layer.kind == "matmul" else "weights"
    # Of each side: the bytes and the BitOps that one bit more of it costs.
    sides = (
        (what, "weight", w0, w1, layer.parameters / 8, layer.macs * price(a0)),
        ("activations", "activation", a0, a1, 0.0, layer.macs * price(w1)),
    )
    return [
        Purchase(row, layer.name, what, old, new, (price(new) - price(old)) * size,
                 (price(new) - price(old)) * work, _gain(losses, side, index, old, new))
        for what, side, old, new, size, work in sides
        if old != new
    ]  # fmt: skip


def _gain(losses: Losses | None, side: str, index: int, before: int, after: int) -> float:
    if losses is None:
        return 0.0
    return losses.of_side(side, index, before) - losses.of_side(side, index, after)


def way_to(layers: Sequence[Layer], allocation: Allocation, losses: Losses) -> BudgetPlan:
    """Return the path of growing budgets from the lowest widths to an allocation, its last row.

    No layer ever has more bits than the allocation gives it; within that, each budget is spent so
    that the least is lost. An allocation of whole bits begins with the fewest that losses are known
    of, one with other formats with the cheapest of its own.

    Raises:
        ValueError: there are no losses at some of its widths, or they are of other layers.
    """
    losses.of(allocation)
    choices = _up_to(layers, allocation, losses)
    pairs = np.array([(b.weight, b.activation) for b in (allocation[la.name] for la in layers)])
    size, work = choices.parameters @ prices(pairs[:, 0]), choices.macs @ prices(pairs).prod(1)
    least = choices.least
    limits = [
        Limits(
            least.weight_bits + share * (size - least.weight_bits),
            least.bitops + share * (work - least.bitops),
        )
        for share in np.linspace(0, 1, ROWS).tolist()
    ]
    plan = budget_plan(choices, losses, limits)
    # A layer whose losses rise with its bits may be left below its own: the last row is exact.
    weight, activation = plan.weight.copy(), plan.activation.copy()
    weight[-1], activation[-1] = pairs.T
    return replace(plan, weight=weight, activation=activation)


def _up_to(layers: Sequence[Layer], allocation: Allocation, losses: Losses) -> Choices:
    """Return as choices of each layer what costs at most its own widths, on either side."""
    whole = set(MENU) >= {width for bits in allocation.values() for width in vars(bits).values()}
    rows = []
    for layer in layers:
        alike = [allocation[one.name] for one in layers if one.is_product == layer.is_product]
        own, sides = allocation[layer.name], []
        for side in ("weight", "activation"):
            known = {*losses.widths} & {*MENU} if whole else {getattr(b, side) for b in alike}
            most = getattr(own, side)
            below = sorted((w for w in known if price(w) < price(most)), key=price)
            sides.append([*below, most])
        rows.append(list(product(*sides)))
    longest = max(map(len, rows))
    pairs = np.array([row + row[-1:] * (longest - len(row)) for row in rows])
    return replace(offer(layers), weight=pairs[..., 0], activation=pairs[..., 1])

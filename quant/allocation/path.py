"""The whole path of budgets at once, with a bound on what any allocation could do at each.

Nested, bits never fall as the budget grows. The budget in the middle is spent first, between the
fewest and the most bits; then the middles of both halves, each between its neighbours; and so on.
Then spans between fixed rows are laid anew, which other rows begin, and kept where they lose less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quant.allocation.bounds import Priced, price
from quant.allocation.budget import Choices, Limits
from quant.allocation.infeasible import require_feasible
from quant.allocation.knapsack import Knapsack
from quant.allocation.local_search import improve
from quant.allocation.objectives import Losses
from quant.primitives.bits import Allocation, LayerBits

SPAN = 32  # budgets between the rows kept when spans are laid anew


@dataclass(frozen=True)
class Solution:
    """An allocation and how good it is known to be.

    Attributes:
        objective: what the losses are made of.
        average_bits: the greatest uniform width that is within the limits, whole or not.
        limits: the budget.
        loss: what the allocation is expected to cost.
        bound: no allocation within the limits, of the same choices, has less.
    """

    allocation: Allocation
    objective: str
    average_bits: float
    limits: Limits
    loss: float
    bound: float

    @property
    def gap(self) -> float:
        """How far the loss may be above the least, relative to it; 0 is proven best."""
        return float(relative_gap(np.array(self.loss), np.array(self.bound)))


@dataclass(frozen=True, eq=False)
class BudgetPlan:
    """What T budgets buy, one row a budget, for L layers.

    Attributes:
        names: of the layers, in order.
        limits: (T,) budgets.
        weight, activation: (T, L) bits.
        weight_bits, bitops: (T,) spent.
        loss: (T,) expected.
        bound: (T,) no allocation within the limits loses less, nested or not.
        average_bits: (T,) the greatest uniform width that is within the limits, whole or not.
        objective: what the losses are made of.
    """

    names: tuple[str, ...]
    limits: tuple[Limits, ...]
    weight: np.ndarray
    activation: np.ndarray
    weight_bits: np.ndarray
    bitops: np.ndarray
    loss: np.ndarray
    bound: np.ndarray
    average_bits: np.ndarray
    objective: str

    @property
    def gap(self) -> np.ndarray:
        """How far each row's loss may be above the least, relative to it: (T,)."""
        return relative_gap(self.loss, self.bound)

    def allocation(self, row: int) -> Allocation:
        """Return what one budget buys."""
        pairs = zip(self.weight[row].tolist(), self.activation[row].tolist(), strict=True)
        return {name: LayerBits(*bits) for name, bits in zip(self.names, pairs, strict=True)}

    def solution(self, row: int) -> Solution:
        """Return what one budget buys, and how good it is known to be."""
        return Solution(
            self.allocation(row),
            self.objective,
            float(self.average_bits[row]),
            self.limits[row],
            float(self.loss[row]),
            float(self.bound[row]),
        )


def relative_gap(loss: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return (loss - bound) / |loss|, 0 where they are equal."""
    above = loss - bound
    return np.divide(above, np.abs(loss), out=np.zeros_like(above), where=above > 0)


def budget_plan(
    choices: Choices, losses: Losses, limits: Sequence[Limits], nested: bool = True
) -> BudgetPlan:
    """Spend every budget so that little is lost, with a bound on how much less could be.

    Args:
        limits: T budgets. Nested, neither limit may fall from one to the next.
        nested: bits of no layer fall from row to row; else each row is as good as it can be made.

    Raises:
        Infeasible: a budget that the choices cannot meet.
        ValueError: no budgets, falling limits, or losses that do not fit the choices.
    """
    if not limits:
        raise ValueError("no budgets: a plan needs at least one")
    for one in limits:
        require_feasible(choices, one)
    knapsack = Knapsack.of(choices, losses)
    budgets = price(knapsack, *knapsack.room(limits))
    if nested and ((np.diff(budgets.size) < 0).any() or (np.diff(budgets.work) < 0).any()):
        raise ValueError("a budget is below the one before it: nested bits need growing budgets")
    picks = _nested(knapsack, budgets) if nested else _separate(knapsack, budgets)
    size, work, loss = knapsack.spent(picks)
    layers = np.arange(len(choices.names))
    return BudgetPlan(
        names=choices.names,
        limits=tuple(limits),
        weight=knapsack.weight[layers, picks].astype(np.int16),
        activation=knapsack.activation[layers, picks].astype(np.int16),
        weight_bits=size,
        bitops=work,
        loss=loss,
        bound=np.minimum(budgets.bound, loss),  # they meet but for rounding
        average_bits=np.array([choices.average(one) for one in limits]),
        objective=losses.objective,
    )


def _separate(knapsack: Knapsack, budgets: Priced) -> np.ndarray:
    """Return picks (T, L), each row for itself."""
    shape = (len(budgets.size), 1)
    low, high = np.tile(knapsack.lowest, shape), np.tile(knapsack.highest, shape)
    return _never_worse(knapsack, budgets, improve(knapsack, budgets, low, high))


def _nested(knapsack: Knapsack, budgets: Priced) -> np.ndarray:
    """Return picks (T, L) whose bits never fall."""
    count = len(budgets.size)
    # a row before the first and one after the last, for what lies between all others
    fixed = np.array([0, count + 1])
    picks = np.empty((count + 2, len(knapsack.loss)), dtype=int)
    picks[fixed] = knapsack.lowest, knapsack.highest
    picks = _halved(knapsack, budgets, picks, fixed)
    fixed = np.unique(np.r_[0, np.arange(SPAN // 2, count + 1, SPAN), count + 1])
    again = _halved(knapsack, budgets, picks, fixed)
    lost = [knapsack.spent(found[1:-1])[2] / _scale(budgets.bound) for found in (picks, again)]
    for low, high in pairwise(fixed):
        if lost[1][low : high - 1].sum() < lost[0][low : high - 1].sum():
            picks[low + 1 : high] = again[low + 1 : high]
    return _never_worse(knapsack, budgets, picks[1:-1])


def _scale(bound: np.ndarray) -> np.ndarray:
    """Return what makes losses of small and large budgets comparable."""
    return np.maximum(np.abs(bound), np.finfo(float).tiny)


def _halved(
    knapsack: Knapsack, budgets: Priced, picks: np.ndarray, fixed: np.ndarray
) -> np.ndarray:
    """Fill in the rows between the fixed ones of (T + 2, L), the middle ones first."""
    picks = picks.copy()
    while True:
        wide = np.diff(fixed) > 1
        low, high = fixed[:-1][wide], fixed[1:][wide]
        if not len(low):
            return picks
        middle = (low + high) // 2
        picks[middle] = improve(knapsack, budgets.at(middle - 1), picks[low], picks[high])
        fixed = np.sort(np.concatenate([fixed, middle]))


def _never_worse(knapsack: Knapsack, budgets: Priced, picks: np.ndarray) -> np.ndarray:
    """Keep the row before where it fits and loses less."""
    size, work, loss = knapsack.spent(picks)
    for row in range(1, len(picks)):
        fits = size[row - 1] <= budgets.size[row] and work[row - 1] <= budgets.work[row]
        if fits and loss[row - 1] < loss[row]:
            for table in (picks, size, work, loss):
                table[row] = table[row - 1]
    return picks

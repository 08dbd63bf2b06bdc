"""Near-best picks for many budgets at once: what their prices choose, then exchanges.

At good prices, every layer's priced loss above its least adds to the distance from the bound, so
whatever is near the bound is near what the prices choose. Only the cheapest changes are tried,
every set of up to three together.
"""

from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from quant.allocation.bounds import Priced
from quant.allocation.knapsack import Knapsack
from quant.primitives.formats import prices

CHANGES, AT_ONCE = 24, 3  # looked at for each budget, and made together
ROUNDS = 40
RAISES, FIRST_RAISE = 40, 0.005  # of prices, by twice as much each time


def improve(knapsack: Knapsack, budgets: Priced, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return picks (T, L) within T budgets that lose little, between `low` and `high`.

    Args:
        low, high: (T, L) picks with the fewest and the most bits allowed, on both sides; `low`
            is within the budget.
    """
    inside = _between(knapsack, low, high)
    priced = _priced(knapsack, budgets, inside)
    picks = _affordable(knapsack, budgets, inside, priced.argmin(2), low)
    rows = np.arange(len(picks))  # those that may still get better
    for _ in range(ROUNDS):
        before = picks[rows]
        picks[rows] = _exchange(knapsack, budgets.at(rows), priced[rows], before)
        rows = rows[(picks[rows] != before).any(1)]
        if not len(rows):
            break
    return picks


def _between(knapsack: Knapsack, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mark the choices (T, L, P) whose bits lie between those of two picks, on both sides."""
    layers = np.arange(len(knapsack.loss))
    inside = np.ones((*low.shape, knapsack.loss.shape[1]), dtype=bool)
    for bits in map(prices, (knapsack.weight, knapsack.activation)):
        inside &= bits >= bits[layers, low][..., None]
        inside &= bits <= bits[layers, high][..., None]
    return inside


def _priced(knapsack: Knapsack, budgets: Priced, inside: np.ndarray) -> np.ndarray:
    """Return loss plus the price of size and work (T, L, P), infinite outside."""
    priced = budgets.size_price[:, None, None] * knapsack.size
    priced += budgets.work_price[:, None, None] * knapsack.work
    priced += knapsack.loss
    priced[~inside] = np.inf
    return priced


def _affordable(
    knapsack: Knapsack, budgets: Priced, inside: np.ndarray, picks: np.ndarray, low: np.ndarray
) -> np.ndarray:
    """Raise the prices of what is exceeded until the picks are within the budget."""
    floor = np.ptp(knapsack.loss) * 1e-9 / max(knapsack.size.max(), knapsack.work.max(), 1.0)
    rows, raised = np.arange(len(picks)), budgets
    for share in FIRST_RAISE * 2.0 ** np.arange(RAISES):
        size, work, _ = knapsack.spent(picks[rows])
        over = (size > raised.size) | (work > raised.work)
        if not over.any():
            return picks
        dearer = raised._replace(
            size_price=_raise(raised.size_price, size > raised.size, share, floor),
            work_price=_raise(raised.work_price, work > raised.work, share, floor),
        )
        rows, raised = rows[over], dearer.at(over)
        picks[rows] = _priced(knapsack, raised, inside[rows]).argmin(2)
    picks[rows] = low[rows]
    return picks


def _raise(price: np.ndarray, exceeded: np.ndarray, share: float, floor: float) -> np.ndarray:
    return np.where(exceeded, np.maximum(price, floor) * (1 + share), price)


class _Changes(NamedTuple):
    """K changes of one layer's choice for each of T budgets, (T, K), and what each would add."""

    layer: np.ndarray
    choice: np.ndarray
    size: np.ndarray
    work: np.ndarray
    loss: np.ndarray


def _exchange(
    knapsack: Knapsack, budgets: Priced, priced: np.ndarray, picks: np.ndarray
) -> np.ndarray:
    """Return picks (T, L) with the set of changes made that lowers each row's loss most, if any."""
    changes = _cheapest(knapsack, priced, picks)
    size, work, _ = knapsack.spent(picks)
    least, better = np.zeros(len(picks)), picks.copy()
    tried = changes.layer.shape[1]
    for count in range(1, min(AT_ONCE, tried) + 1):
        sets = _sets(tried, count)
        added = _added(changes, sets, budgets.size - size, budgets.work - work)
        best = added.argmin(1)
        lowest = np.take_along_axis(added, best[:, None], 1)[:, 0]
        rows = np.flatnonzero(lowest < least)
        least[rows], better[rows] = lowest[rows], picks[rows]
        for change in sets[:, best[rows]]:
            better[rows, changes.layer[rows, change]] = changes.choice[rows, change]
    return better


def _cheapest(knapsack: Knapsack, priced: np.ndarray, picks: np.ndarray) -> _Changes:
    """Return the changes that add the least priced loss."""
    added = priced - np.take_along_axis(priced, picks[..., None], 2)
    np.put_along_axis(added, picks[..., None], np.inf, 2)
    added = added.reshape(len(picks), -1)
    count = min(CHANGES, added.shape[1])
    cheapest = added.argpartition(count - 1, 1)[:, :count]
    layer, choice = np.divmod(cheapest, priced.shape[2])
    possible = np.isfinite(np.take_along_axis(added, cheapest, 1))
    old = np.take_along_axis(picks, layer, 1)
    tables = (knapsack.size, knapsack.work, knapsack.loss)
    return _Changes(
        layer,
        choice,
        *(np.where(possible, table[layer, choice] - table[layer, old], np.inf) for table in tables),
    )


def _added(
    changes: _Changes, sets: np.ndarray, size_room: np.ndarray, work_room: np.ndarray
) -> np.ndarray:
    """Return the loss that sets (C, N) of changes add, (T, N); infinite where there is no room."""
    fits = _summed(changes.size, sets) <= size_room[:, None]
    fits &= _summed(changes.work, sets) <= work_room[:, None]
    for one, other in combinations(sets, 2):
        fits &= changes.layer[:, one] != changes.layer[:, other]
    return np.where(fits, _summed(changes.loss, sets), np.inf)


@cache
def _sets(changes: int, count: int) -> np.ndarray:
    """Return all sets of `count` changes, (count, N)."""
    return np.array(list(combinations(range(changes), count))).T


def _summed(table: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Sum a table (T, K) over each of the sets (C, N), (T, N)."""
    total = table[:, sets[0]]
    for change in sets[1:]:
        total = total + table[:, change]
    return total

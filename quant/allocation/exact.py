"""Spend one budget exactly: a multiple-choice knapsack with two limits, solved by HiGHS."""

import math
import time

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from quant.allocation.bounds import Priced, price
from quant.allocation.budget import Choices, Limits
from quant.allocation.infeasible import require_feasible
from quant.allocation.knapsack import UNIT, Knapsack
from quant.allocation.local_search import improve
from quant.allocation.objectives import Losses
from quant.allocation.path import Solution
from quant.primitives.bits import LayerBits

TRIES = 4  # of HiGHS, whose tolerances may let a limit be exceeded by a little
FINEST = 1e6  # the loss in HiGHS's units: it stops at an absolute gap of 1e-6
LARGEST = 100.0  # coefficient of a limit


def exact(choices: Choices, losses: Losses, limits: Limits, time_limit: float = 20.0) -> Solution:
    """Find the allocation with the least loss within the limits, and prove it.

    minimise sum_i loss_i(w_i, a_i)  subject to  sum_i P_i w_i <= S  and  sum_i MAC_i w_i a_i <= W.
    A near-best allocation and the bound of its prices leave few choices: one whose priced loss
    is above its layer's least by more than lies between the two is in no better allocation.

    Args:
        time_limit: seconds for HiGHS; where they do not suffice, the best found is returned with
            what is proven.

    Raises:
        Infeasible: the choices cannot meet the limits.
        ValueError: the losses do not fit the choices, or no time.
    """
    if not time_limit > 0:
        raise ValueError(f"a time limit of {time_limit} seconds: use more than 0")
    require_feasible(choices, limits)
    knapsack = Knapsack.of(choices, losses)
    budget = price(knapsack, *knapsack.room([limits]))
    near = improve(knapsack, budget, knapsack.lowest[None], knapsack.highest[None])[0]
    picks, bound = _search(knapsack, budget, near, time_limit)
    loss = float(knapsack.spent(picks)[2])
    bits = np.stack([knapsack.weight, knapsack.activation])[:, np.arange(len(picks)), picks]
    allocation = {
        name: LayerBits(*pair) for name, pair in zip(choices.names, bits.T.tolist(), strict=True)
    }
    return Solution(
        allocation, losses.objective, choices.average(limits), limits, loss, min(bound, loss)
    )


def _search(
    knapsack: Knapsack, budget: Priced, near: np.ndarray, seconds: float
) -> tuple[np.ndarray, float]:
    """Return the best picks (L,) and the bound; `near` are picks within the budget."""
    loss, bound = float(knapsack.spent(near)[2]), float(budget.bound[0])
    possible = _promising(knapsack, budget, loss)
    room = np.array([budget.size[0], budget.work[0]])
    allowed, until = room, time.monotonic() + seconds
    for attempt in range(TRIES):
        left = max(1e-3, until - time.monotonic())
        picks, proven = _solve(knapsack, possible, allowed, abs(loss), left)
        if attempt == 0:  # later ones have less room than there is
            bound = max(bound, proven)
        if picks is None:
            return near, bound
        size, work, lost = knapsack.spent(picks)
        over = np.array([size, work]) - room
        if (over <= 0).all():
            return (picks if lost < loss else near), bound
        allowed = allowed - np.maximum(over, 0)
    return near, bound


def _promising(knapsack: Knapsack, budget: Priced, loss: float) -> np.ndarray:
    """Mark the choices (L, P) that may be in an allocation that loses less than `loss`."""
    paid = budget.size_price * knapsack.size, budget.work_price * knapsack.work
    priced = knapsack.loss + paid[0] + paid[1]
    least = priced.min(1)
    bound = least.sum() - (budget.size_price * budget.size + budget.work_price * budget.work)[0]
    rounding = 1e-9 * (abs(loss) + np.abs(least).sum())
    return (priced - least[:, None] <= loss - bound + rounding) & ~knapsack.dominated()


def _solve(
    knapsack: Knapsack, possible: np.ndarray, room: np.ndarray, scale: float, seconds: float
) -> tuple[np.ndarray | None, float]:
    """Run HiGHS over the possible choices: picks (L,), if any were found, and the bound proven."""
    layer, choice = np.nonzero(possible)
    loss, least = _above_least(knapsack.loss, possible)
    unit = (scale or loss.max() or 1.0) / FINEST
    rows = [_limit(table, possible, limit) for table, limit in
            zip((knapsack.size, knapsack.work), room, strict=True)]  # fmt: skip
    columns = np.arange(len(layer))
    one_each = csr_array((np.ones(len(layer)), (layer, columns)), (len(possible), len(layer)))
    result = milp(
        loss / unit,
        integrality=np.ones_like(loss),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), *rows],
        options={"mip_rel_gap": 0.0, "time_limit": seconds},
    )
    bound = getattr(result, "mip_dual_bound", None)
    proven = -math.inf if bound is None else least + float(bound) * unit
    if result.x is None:
        return None, proven
    shares = np.zeros(possible.shape)
    shares[layer, choice] = result.x
    return shares.argmax(1), proven


def _above_least(table: np.ndarray, possible: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what each possible choice has above its layer's least, and the sum of those."""
    least = np.where(possible, table, np.inf).min(1)
    return (table - least[:, None])[possible], float(least.sum())


def _limit(table: np.ndarray, possible: np.ndarray, limit: float) -> LinearConstraint:
    """Limit what the possible choices spend, in the largest whole unit that they have in common."""
    above, least = _above_least(table, possible)
    unit = float(np.gcd.reduce((above / UNIT).astype(np.int64))) * UNIT or 1.0
    room = math.floor((limit - least) / unit)
    shrink = max(1.0, above.max() / unit / LARGEST)
    return LinearConstraint(above / unit / shrink, ub=room / shrink)

"""Prices of size and of work, and the bounds they prove, for many budgets at once.

At prices (p, q) no allocation within (S, W) loses less than sum_i min_c (loss + p size + q work)
- p S - q W: the Lagrangian relaxation of a knapsack, whose best bound is that of its linear
program (Geoffrion 1974). For a fixed mix of p and q the best level for every budget follows from
the layers' lower convex hulls of loss over mixed cost, their steps sorted by slope.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from quant.allocation.knapsack import Knapsack

COARSE, FINE = 13, 64  # mixes tried over all their range, and where the best ones lie
WIDEST = 6.0  # the mixes' logits reach this far, and both ends
CHUNK = 200_000  # numbers in one table, to stay in the cache


class Priced(NamedTuple):
    """T budgets, what they are worth at the margin and what that proves.

    Attributes:
        size, work: (T,) limits, in weight bits and bit operations.
        bound: (T,) no allocation within the limits loses less.
        size_price, work_price: (T,) loss per weight bit and per bit operation that prove it.
    """

    size: np.ndarray
    work: np.ndarray
    bound: np.ndarray
    size_price: np.ndarray
    work_price: np.ndarray

    def at(self, rows: np.ndarray) -> "Priced":
        """Return some of the budgets."""
        return Priced(*(of_all[rows] for of_all in self))


def price(knapsack: Knapsack, size: np.ndarray, work: np.ndarray) -> Priced:
    """Find the best prices for limits (T,) of size and of work that can be met."""
    undominated = _without_dominated(knapsack)
    # Where several mixes are best the first is taken. The middle ones stand first, so that the
    # fine mixes, which span the best ones, lie close together.
    logits = np.array(sorted([*np.linspace(-WIDEST, WIDEST, COARSE), -np.inf, np.inf], key=abs))
    coarse = _relaxed(undominated, size, work, logits)
    best = logits[coarse.bound.argmax(0)]
    step = 2 * WIDEST / (COARSE - 1)
    low, high = np.clip([best.min() - step, best.max() + step], -WIDEST, WIDEST)
    fine = _relaxed(undominated, size, work, np.linspace(low, high, FINE))
    every = [np.concatenate(tables) for tables in zip(coarse, fine, strict=True)]
    row = every[0].argmax(0)
    return Priced(size, work, *(np.take_along_axis(table, row[None], 0)[0] for table in every))


def _without_dominated(knapsack: Knapsack) -> Knapsack:
    """Keep as many columns as any layer has choices that no other beats."""
    dominated = knapsack.dominated()
    columns = dominated.argsort(1, kind="stable")[:, : (~dominated).sum(1).max()]
    return Knapsack(*(np.take_along_axis(table, columns, 1) for table in knapsack))


class _Relaxed(NamedTuple):
    """What A mixes of size and work into one cost prove of T budgets: (A, T) each, as `Priced`."""

    bound: np.ndarray
    size_price: np.ndarray
    work_price: np.ndarray


def _relaxed(
    knapsack: Knapsack, size: np.ndarray, work: np.ndarray, logits: np.ndarray
) -> _Relaxed:
    """Solve the relaxation for mixes whose share of size has these logits (A,)."""
    shares = 1 / (1 + np.exp(-logits))
    # in shares of the most there is, so that a mix means the same for every model
    per_size = shares / max(knapsack.size.max(1).sum(), 1.0)
    per_work = (1 - shares) / max(knapsack.work.max(1).sum(), 1.0)
    chunks = max(1, min(len(logits), len(logits) * knapsack.loss.size // CHUNK))
    frontiers = (
        frontier
        for part in np.array_split(np.arange(len(logits)), chunks)
        for frontier in _frontiers(knapsack, per_size[part], per_work[part])
    )
    budgets = per_size[:, None] * size + per_work[:, None] * work
    bound, price = np.empty_like(budgets), np.empty_like(budgets)
    for row, (costs, losses, slopes) in enumerate(frontiers):
        steps = np.searchsorted(costs, budgets[row], "right") - 1
        bound[row] = np.interp(budgets[row], costs, losses)
        price[row] = -np.append(slopes, 0.0)[steps.clip(0, len(slopes))]
    return _Relaxed(bound, price * per_size[:, None], price * per_work[:, None])


def _frontiers(
    knapsack: Knapsack, per_size: np.ndarray, per_work: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield for each of A mixes (A,) the least loss of all layers at every cost: it falls, convex.

    Costs and losses (N + 1,) of its corners, by cost, and the slopes (N,) between them.
    """
    cost = per_size[:, None, None] * knapsack.size + per_work[:, None, None] * knapsack.work
    start, rises, falls, slopes = _hulls(cost, np.broadcast_to(knapsack.loss, cost.shape))
    cheapest, lowest = _taken(cost, start).sum(1), knapsack.loss.min(1).sum()
    for base, rise, fall, slope in zip(cheapest, rises, falls, slopes, strict=True):
        order = slope.argsort(kind="stable")
        costs = np.concatenate([[base], base + rise[order].cumsum()])
        # summed from the least loss up: the small losses at the end must not drown in large ones
        losses = np.concatenate([lowest - fall[order][::-1].cumsum()[::-1], [lowest]])
        yield costs, losses, slope[order]


def _hulls(cost: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, ...]:
    """Walk each layer's lower convex hull, from the cheapest choice to the least loss.

    Args:
        cost, loss: (A, L, P).

    Returns:
        The cheapest choices (A, L); what each step of each layer adds to the cost and to the loss,
        and its slope, (A, L * steps) each: all 0 where a hull has ended.
    """
    at = start = np.where(cost <= cost.min(2, keepdims=True), loss, np.inf).argmin(2)
    rises, falls, slopes = ([np.zeros(at.shape)] for _ in range(3))
    while True:
        rise, fall = cost - _taken(cost, at)[..., None], loss - _taken(loss, at)[..., None]
        slope = np.divide(fall, rise, out=np.zeros_like(cost), where=(rise > 0) & (fall < 0))
        to = slope.argmin(2)
        steepest = _taken(slope, to)
        steeper = steepest < 0
        if not steeper.any():
            return start, *(np.concatenate(steps, 1) for steps in (rises, falls, slopes))
        slopes.append(steepest)  # 0 where none is steeper
        for steps, table in ((rises, rise), (falls, fall)):
            steps.append(np.where(steeper, _taken(table, to), 0.0))
        at = np.where(steeper, to, at)


def _taken(table: np.ndarray, picks: np.ndarray) -> np.ndarray:
    return np.take_along_axis(table, picks[..., None], 2)[..., 0]

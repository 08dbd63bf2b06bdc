"""Prices of size and of work, and the bounds they prove, for many budgets at once.

At prices (p, q) no allocation within (S, W) loses less than sum_i min_c (loss + p size + q work)
- p S - q W: the Lagrangian relaxation of a knapsack, whose best bound is that of its linear
program (Geoffrion 1974). For a fixed mix of p and q the best level for every budget follows from
the layers' lower convex hulls of loss over mixed cost, their steps sorted by slope.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from quant.allocation.knapsack import Knapsack

COARSE, FINE = 13, 64  # mixes tried over all their range, and where the best ones lie
WIDEST = 6.0  # the mixes' logits reach this far, and both ends
CHUNK = 200_000  # numbers in one table, to stay in the cache


@dataclass(frozen=True, eq=False)
class Priced:
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

    def at(self, rows: np.ndarray) -> Priced:
        """Return some of the budgets."""
        return Priced(*(getattr(self, field.name)[rows] for field in fields(self)))


def price(knapsack: Knapsack, size: np.ndarray, work: np.ndarray) -> Priced:
    """Find the best prices for limits (T,) of size and of work that can be met."""
    kept = _without_dominated(knapsack)
    # where any mix will do, the first is taken: the middle one keeps the range of the rest narrow
    tried = sorted([*np.linspace(-WIDEST, WIDEST, COARSE), -np.inf, np.inf], key=abs)
    coarse = _best(kept, size, work, np.array(tried))
    step = 2 * WIDEST / (COARSE - 1)
    low, high = np.clip([coarse[3].min() - step, coarse[3].max() + step], -WIDEST, WIDEST)
    fine = _best(kept, size, work, np.linspace(low, high, FINE))
    best = np.where(fine[0] > coarse[0], fine, coarse)
    return Priced(size, work, *best[:3])


def _without_dominated(knapsack: Knapsack) -> Knapsack:
    """Keep as many columns as any layer has choices that no other beats."""
    dominated = knapsack.dominated()
    columns = dominated.argsort(1, kind="stable")[:, : (~dominated).sum(1).max()]
    tables = ("weight", "activation", "size", "work", "loss")
    return Knapsack(*(np.take_along_axis(getattr(knapsack, t), columns, 1) for t in tables))


def _best(knapsack: Knapsack, size: np.ndarray, work: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return bound, prices of size and of work, and logit (4, T) of the best of some mixes."""
    shares = 1 / (1 + np.exp(-logits))
    # in shares of the most there is, so that a mix means the same for every model
    units = shares / max(knapsack.size.max(1).sum(), 1.0)
    others = (1 - shares) / max(knapsack.work.max(1).sum(), 1.0)
    found = np.empty((2, len(logits), len(size)))
    for part in np.array_split(np.arange(len(logits)), _chunks(len(logits), knapsack)):
        for mix, frontier in zip(
            part, _frontiers(knapsack, units[part], others[part]), strict=True
        ):
            found[:, mix] = _along(*frontier, units[mix] * size + others[mix] * work)
    best, rows = found[0].argmax(0), np.arange(len(size))
    bound, level = found[:, best, rows]
    return np.array([bound, level * units[best], level * others[best], logits[best]])


def _chunks(mixes: int, knapsack: Knapsack) -> int:
    return max(1, min(mixes, mixes * knapsack.loss.size // CHUNK))


Frontier = tuple[np.ndarray, np.ndarray, np.ndarray]


def _frontiers(knapsack: Knapsack, size: np.ndarray, work: np.ndarray) -> list[Frontier]:
    """Return for each of A mixes (A,) the least loss at every mixed cost.

    A frontier is corners' costs (N + 1,) and losses (N + 1,), and slopes (N,) between them.
    """
    cost = size[:, None, None] * knapsack.size + work[:, None, None] * knapsack.work  # (A, L, P)
    start, steps = _hulls(cost, np.broadcast_to(knapsack.loss, cost.shape))
    least = _taken(cost, start).sum(1)
    lowest = knapsack.loss.min(1).sum()
    frontiers = []
    for base, rise, fall, slope in zip(least, *steps, strict=True):
        order = slope.argsort(kind="stable")
        costs = np.concatenate([[base], base + rise[order].cumsum()])
        # summed from the least loss up: the small losses at the end must not drown in large ones
        losses = np.concatenate([lowest - fall[order][::-1].cumsum()[::-1], [lowest]])
        frontiers.append((costs, losses, slope[order]))
    return frontiers


def _hulls(cost: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Walk each layer's lower convex hull, from the cheapest choice to the least loss.

    Returns the cheapest choices (A, L), and all steps' costs, losses and slopes (A, L * steps).
    """
    at = start = np.where(cost <= cost.min(2, keepdims=True), loss, np.inf).argmin(2)
    steps = [np.zeros((3, *at.shape))]
    while True:
        rise, fall = cost - _taken(cost, at)[..., None], loss - _taken(loss, at)[..., None]
        slope = np.divide(fall, rise, out=np.zeros_like(cost), where=(rise > 0) & (fall < 0))
        to = slope.argmin(2)
        steepest = _taken(slope, to)
        if not (steepest < 0).any():
            rises, falls, slopes = np.concatenate(steps, 2)
            return start, (rises, falls, slopes)
        moves = steepest < 0
        taken = (_taken(rise, to), _taken(fall, to), steepest)
        steps.append(np.where(moves, taken, 0.0))
        at = np.where(moves, to, at)


def _taken(table: np.ndarray, picks: np.ndarray) -> np.ndarray:
    return np.take_along_axis(table, picks[..., None], 2)[..., 0]


def _along(
    costs: np.ndarray, losses: np.ndarray, slopes: np.ndarray, budgets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least loss and the price of cost at each budget."""
    taken = np.clip(np.searchsorted(costs, budgets, "right") - 1, 0, len(slopes))
    return np.interp(budgets, costs, losses), -np.append(slopes, 0.0)[taken]

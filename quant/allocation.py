"""Spend a bit budget over the layers: exactly, within a size and a BitOps limit, locks honoured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from lrp.layers import Layer
from quant.qparams import MAX_BITS, MIN_BITS, check_bits

if TYPE_CHECKING:
    from quant.budget import Limits

MENU = tuple(range(MIN_BITS, MAX_BITS + 1))
OBJECTIVES = ("lrp",)


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer. An attention product's second operand (k or v) takes `weight`."""

    weight: int
    activation: int


Allocation = dict[str, LayerBits]


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


def relative_gap(loss: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Return (loss - bound) / |loss|, 0 where they are equal."""
    above = loss - bound
    return np.divide(above, np.abs(loss), out=np.zeros_like(above), where=above > 0)


def uniform(
    layers: Sequence[Layer], weight_bits: int, activation_bits: int, ends: int | None = None
) -> Allocation:
    """Give every layer the same bits; an attention product has activations on both sides.

    `ends` are the bits of the first and the last layer, which are often spared.
    """
    for bits in (weight_bits, activation_bits, weight_bits if ends is None else ends):
        check_bits(bits)
    allocation = {
        layer.name: LayerBits(
            activation_bits if layer.kind == "matmul" else weight_bits, activation_bits
        )
        for layer in layers
    }
    if ends is not None:
        allocation |= {layer.name: LayerBits(ends, ends) for layer in (layers[0], layers[-1])}
    return allocation


def menu_for(average_bits: float) -> tuple[int, ...]:
    """Return the widths offered at a budget: two below to two above, within 2 to 8.

    Our reading: LRP-QViT mixes {2..6} for an average of 4 and {4..8} for one of 6.
    """
    low, high = math.floor(average_bits) - 2, math.ceil(average_bits) + 2
    return tuple(b for b in MENU if low <= b <= high)


def allocate(
    layers: Sequence[Layer],
    scores: Mapping[str, float],
    average_bits: float,
    menu: Sequence[int] | None = None,
    locks: Mapping[str, int] | None = None,
) -> Solution:
    """Choose each layer's bits b_i (weights and activations alike) for the least weighted error.

    minimise sum_i Omega_i 4^-b_i  subject to  sum_i P_i b_i <= B sum_i P_i  and
    sum_i MAC_i b_i^2 <= B^2 sum_i MAC_i. Our reading: 4^-b is how a uniform quantizer's squared
    error falls with its bits. A multiple-choice knapsack with two limits, solved by HiGHS.

    Args:
        scores: Omega_i by layer name, not negative.
        average_bits: the budget B; size and BitOps stay at or below those of uniform B bits.
        menu: the widths offered (default `menu_for`).
        locks: bits of layers fixed by hand, in the menu or not.

    Raises:
        ValueError: bad scores, an unknown lock, a budget outside 2 to 8, or one that the locks
            and the menu cannot meet.
    """
    from quant import budget

    choices = check_budget(layers, average_bits, menu, locks)
    for layer in layers:
        if not (math.isfinite(scores.get(layer.name, math.nan)) and scores[layer.name] >= 0):
            raise ValueError(f"no usable score for {layer.name!r}: it must be finite and >= 0")
    chosen, gap = _solve(layers, scores, average_bits, choices)
    allocation = {la.name: LayerBits(b, b) for la, b in zip(layers, chosen, strict=True)}
    loss = sum(scores[la.name] * 4.0**-b for la, b in zip(layers, chosen, strict=True))
    limits = budget.from_average(layers, average_bits)
    return Solution(allocation, "lrp", average_bits, limits, loss, loss * (1 - gap))


def check_budget(
    layers: Sequence[Layer],
    average_bits: float,
    menu: Sequence[int] | None = None,
    locks: Mapping[str, int] | None = None,
) -> list[tuple[int, ...]]:
    """Return the widths each layer may take; arguments and errors are those of `allocate`."""
    if not MIN_BITS <= average_bits <= MAX_BITS:
        raise ValueError(f"average bits {average_bits}: use {MIN_BITS} to {MAX_BITS}")
    menu = tuple(menu_for(average_bits) if menu is None else menu)
    locks = locks or {}
    if not menu:
        raise ValueError("the menu of widths is empty: offer at least one")
    for bits in (*menu, *locks.values()):
        check_bits(bits)
    unknown = set(locks) - {layer.name for layer in layers}
    if unknown:
        raise ValueError(f"cannot lock {min(unknown)!r}: this model has no such layer")
    choices = [(locks[la.name],) if la.name in locks else menu for la in layers]
    _check_feasible(layers, choices, average_bits)
    return choices


def _limits(layers: Sequence[Layer]) -> tuple[np.ndarray, np.ndarray]:
    """Return each layer's share of the weights and of the multiply-accumulates."""
    weights = np.array([la.parameters for la in layers], dtype=float)
    macs = np.array([la.macs for la in layers], dtype=float)
    return weights / weights.sum(), macs / macs.sum()


def _check_feasible(
    layers: Sequence[Layer], choices: Sequence[Sequence[int]], average_bits: float
) -> None:
    least = np.array([min(c) for c in choices], dtype=float)
    weights, macs = _limits(layers)
    needed = max(float(weights @ least), math.sqrt(float(macs @ least**2)))
    if needed > average_bits + 1e-9:
        least_budget = math.ceil(needed * 100 - 1e-6) / 100
        raise ValueError(
            f"no allocation averages {average_bits:g} bits: the locks and the smallest widths "
            f"already need {least_budget:g}; raise the budget or unlock a layer"
        )


def _solve(
    layers: Sequence[Layer],
    scores: Mapping[str, float],
    average_bits: float,
    choices: Sequence[Sequence[int]],
) -> tuple[list[int], float]:
    owner = np.repeat(np.arange(len(layers)), [len(c) for c in choices])
    bits = np.array([b for c in choices for b in c], dtype=float)
    value = np.array([scores[la.name] for la in layers])[owner] * 4.0**-bits
    # HiGHS stops at absolute tolerances of 1e-6: scale the errors far above them.
    value = value * (1e6 / max(value.max(), np.finfo(float).tiny))
    weights, macs = _limits(layers)
    one_each = (np.arange(len(layers))[:, None] == owner).astype(float)
    result = milp(
        value,
        integrality=np.ones_like(value),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(weights[owner] * bits, ub=average_bits + 1e-9),
            LinearConstraint(macs[owner] * bits**2, ub=average_bits**2 + 1e-9),
        ],
        options={"mip_rel_gap": 0.0, "time_limit": 20.0},
    )
    if result.x is None:
        raise RuntimeError(f"the solver gave no allocation: {result.message}")
    chosen = [int(bits[owner == i][result.x[owner == i].argmax()]) for i in range(len(layers))]
    bound = result.mip_dual_bound if result.mip_dual_bound is not None else result.fun
    gap = max(0.0, (result.fun - bound) / max(abs(result.fun), 1e-12))
    return chosen, float(gap)

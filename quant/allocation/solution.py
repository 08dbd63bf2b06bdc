"""An allocation that spent a budget, and how good it is known to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quant.allocation.budget import Limits
from quant.primitives.bits import Allocation


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

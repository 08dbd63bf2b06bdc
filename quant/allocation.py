"""Allocations are data: bits by layer, and what is known of one that spent a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrp.engine.layers import Layer
from quant.qparams import MAX_BITS, MIN_BITS, check_bits

if TYPE_CHECKING:
    from quant.budget import Limits

MENU = tuple(range(MIN_BITS, MAX_BITS + 1))


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

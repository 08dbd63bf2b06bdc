"""A bit budget: its limits, and the widths each layer may take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from lrp.engine.layers import Layer
from quant.primitives.bits import MENU, LayerBits
from quant.primitives.qparams import MAX_BITS, MIN_BITS, check_bits

ROUNDING = 1e-12  # relative: limits are products of floats, what is spent is a whole number


@dataclass(frozen=True)
class Limits:
    """What one budget allows, in all; infinite where nothing is asked.

    Attributes:
        weight_bits: sum over layers of parameters * weight bits.
        bitops: sum over layers of MACs * weight bits * activation bits, for one image.
    """

    weight_bits: float = math.inf
    bitops: float = math.inf


def from_average(layers: Sequence[Layer], average: float) -> Limits:
    """Return the limits of uniform `average` bits B, not necessarily whole: B sum P, B^2 sum MAC.

    Raises:
        ValueError: not 2 to 8.
    """
    if not MIN_BITS <= average <= MAX_BITS:
        raise ValueError(f"average bits {average}: use {MIN_BITS} to {MAX_BITS}")
    return Limits(
        average * sum(layer.parameters for layer in layers),
        average**2 * sum(layer.macs for layer in layers),
    )


def from_size(weight_bytes: float) -> Limits:
    """Return the limit of that many bytes for the layers' weights; BitOps are free."""
    return Limits(weight_bits=8 * weight_bytes)


def combine(first: Limits, second: Limits) -> Limits:
    """Return the tighter of both, limit by limit."""
    return Limits(min(first.weight_bits, second.weight_bits), min(first.bitops, second.bitops))


@dataclass(frozen=True, eq=False)
class Choices:
    """The widths that each of L layers may take: P pairs a layer, one of them lowest in both.

    Attributes:
        names: of the layers, in order.
        parameters, macs: (L,).
        weight, activation: (L, P) bits of each pair; a locked layer's pair stands P times.
        locks: layers fixed by hand.
        menu: the widths offered to the others, ascending.
    """

    names: tuple[str, ...]
    parameters: np.ndarray
    macs: np.ndarray
    weight: np.ndarray
    activation: np.ndarray
    locks: Mapping[str, LayerBits]
    menu: tuple[int, ...]

    @cached_property
    def least(self) -> Limits:
        """The least that can be spent, of both at once."""
        return Limits(
            float(self.parameters @ self.weight.min(1)),
            float(self.macs @ (self.weight * self.activation).min(1)),
        )

    def averages(self, limits: Limits) -> tuple[float, float]:
        """Return the uniform widths, whole or not, of that size and of those BitOps."""
        weights, macs = self.parameters.sum(), self.macs.sum()
        return (
            limits.weight_bits / weights if weights else 0.0,
            math.sqrt(limits.bitops / macs) if macs else 0.0,
        )

    def average(self, limits: Limits) -> float:
        """Return the greatest uniform width, whole or not, that is within the limits and 8 bits."""
        size, work = self.averages(limits)
        return min(size or MAX_BITS, work or MAX_BITS, float(MAX_BITS))

    @property
    def least_average(self) -> float:
        """The least average bits that can be met, rounded up to 0.01."""
        return math.ceil(max(MIN_BITS, *self.averages(self.least)) * 100 - 1e-6) / 100


def offer(
    layers: Sequence[Layer],
    menu: Sequence[int] = MENU,
    locks: Mapping[str, LayerBits | int] | None = None,
    tied: bool = True,
) -> Choices:
    """Return the bits that each layer may take.

    Args:
        menu: the widths offered.
        locks: bits of layers fixed by hand, in the menu or not; a number locks weights and
            activations alike.
        tied: whether weights and activations of a layer take the same width. An attention
            product's second operand counts as weights.

    Raises:
        ValueError: an empty menu, an unknown layer, or widths that are not 2 to 8.
    """
    fixed = {name: _both(bits) for name, bits in (locks or {}).items()}
    widths = tuple(sorted(set(menu)))
    _check(layers, widths, fixed)
    offered = list(zip(widths, widths, strict=True)) if tied else list(product(widths, widths))
    locked = {name: [(b.weight, b.activation)] * len(offered) for name, b in fixed.items()}
    pairs = np.array([locked.get(layer.name, offered) for layer in layers])
    return Choices(
        names=tuple(layer.name for layer in layers),
        parameters=np.array([layer.parameters for layer in layers], dtype=float),
        macs=np.array([layer.macs for layer in layers], dtype=float),
        weight=pairs[..., 0],
        activation=pairs[..., 1],
        locks=fixed,
        menu=widths,
    )


def _both(bits: LayerBits | int) -> LayerBits:
    return bits if isinstance(bits, LayerBits) else LayerBits(bits, bits)


def _check(layers: Sequence[Layer], menu: Sequence[int], locks: Mapping[str, LayerBits]) -> None:
    if not menu:
        raise ValueError("the menu of widths is empty: offer at least one")
    for width in menu:
        check_bits(width)
    for name, bits in locks.items():
        if all(name != layer.name for layer in layers):
            raise ValueError(f"cannot lock {name!r}: this model has no such layer")
        bits.check()

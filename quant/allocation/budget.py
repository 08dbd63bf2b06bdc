"""A bit budget: its limits, the widths each layer may take, and what is in the way of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, product

import numpy as np

from lrp.engine.layers import Layer
from quant.primitives.bits import MENU, LayerBits
from quant.primitives.qparams import MAX_BITS, MIN_BITS, check_bits

SIZE, BITOPS = "size", "BitOps"
NAMED = 3  # locks in a message
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


class Infeasible(ValueError):
    """No allocation is within the limits.

    Attributes:
        limits: those in the way: "size", "BitOps" or both.
        locks: the fewest locks to open so that all limits can be met; empty if none are enough.
        nearest: the limits asked for, each raised to the least that can be met.
        average: the least average bits that can be met, rounded up to 0.01; above 8 if none can.
    """

    def __init__(
        self,
        message: str,
        limits: tuple[str, ...],
        locks: Mapping[str, LayerBits],
        nearest: Limits,
        average: float,
    ) -> None:
        super().__init__(message)
        self.limits, self.locks = limits, dict(locks)
        self.nearest, self.average = nearest, average


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

    def check(self, limits: Limits) -> None:
        """Check that some allocation is within the limits.

        Raises:
            Infeasible: none is.
            ValueError: a limit is not a number.
        """
        if math.isnan(limits.weight_bits) or math.isnan(limits.bitops):
            raise ValueError(f"{limits}: a limit must be a number")
        if self.least.weight_bits > limits.weight_bits * (1 + ROUNDING) or (
            self.least.bitops > limits.bitops * (1 + ROUNDING)
        ):
            raise _infeasible(self, limits)


def offer(
    layers: Sequence[Layer],
    menu: Sequence[int] = MENU,
    locks: Mapping[str, LayerBits | int] | None = None,
    tied: bool = True,
) -> Choices:
    """Say which bits each layer may take.

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


def _infeasible(choices: Choices, limits: Limits) -> Infeasible:
    """Find out what is in the way, limit by limit."""
    least = choices.least
    size, work = _saved(choices)
    excess = {
        SIZE: (least.weight_bits - limits.weight_bits * (1 + ROUNDING), size),
        BITOPS: (least.bitops - limits.bitops * (1 + ROUNDING), work),
    }
    to_open = {name: _to_open(*found) for name, found in excess.items() if found[0] > 0}
    names = {name for locks in to_open.values() for name in locks} if all(to_open.values()) else {}
    return Infeasible(
        "; ".join(_complaint(choices, limits, name, locks) for name, locks in to_open.items()),
        tuple(to_open),
        {name: bits for name, bits in choices.locks.items() if name in names},
        Limits(max(limits.weight_bits, least.weight_bits), max(limits.bitops, least.bitops)),
        choices.least_average,
    )


def _saved(choices: Choices) -> tuple[dict[str, float], dict[str, float]]:
    """Return the weight bits and the bit operations that opening each lock could save."""
    rows = dict(zip(choices.names, zip(choices.parameters, choices.macs, strict=True), strict=True))
    low, locks = choices.menu[0], choices.locks.items()
    return (
        {name: rows[name][0] * (bits.weight - low) for name, bits in locks},
        {name: rows[name][1] * (bits.weight * bits.activation - low**2) for name, bits in locks},
    )


def _to_open(excess: float, saved: Mapping[str, float]) -> list[str]:
    """Return the fewest locks that save `excess` when opened, or [] if all together do not."""
    ranked = sorted((name for name in saved if saved[name] > 0), key=lambda n: -saved[n])
    totals = list(accumulate(saved[name] for name in ranked))
    enough = [count for count, total in enumerate(totals, 1) if total >= excess]
    return ranked[: enough[0]] if enough else []


def _complaint(choices: Choices, limits: Limits, limit: str, to_open: list[str]) -> str:
    """Say what one limit would need, and what could be done."""
    needed, given = _amount(choices, choices.least, limit), _amount(choices, limits, limit, -1)
    names = [f"{name} ({choices.locks[name].in_words()})" for name in to_open[:NAMED]]
    if len(to_open) > NAMED:
        names.append(f"{len(to_open) - NAMED} more")
    if names:
        remedy = f"unlock {', '.join(names)}, or raise the budget"
    elif choices.locks:
        remedy = "raise the budget: no unlocking is enough"
    else:
        remedy = "raise the budget, or offer lower widths"
    lowest = f"{choices.menu[0]} bits in every layer"
    held = f"the locks, and {choices.menu[0]} bits elsewhere," if choices.locks else lowest
    return f"{limit}: {held} need {needed}, the budget gives {given}; {remedy}"


def _amount(choices: Choices, spent: Limits, limit: str, direction: int = 1) -> str:
    """Write a size or BitOps, rounded up or down, with the uniform width that takes as much."""
    size, work = (_rounded(bits, direction) for bits in choices.averages(spent))
    if limit == SIZE:
        return f"{size} bits a weight ({_rounded(spent.weight_bits / 8e6, direction)} MB)"
    return f"{_rounded(spent.bitops / 1e9, direction)} GBitOps (uniform {work} bits)"


def _rounded(value: float, direction: int) -> str:
    """Write three digits of a number, not above it (-1) or not below it (1)."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{direction * math.ceil(direction * value / step - 1e-9) * step:.4g}"

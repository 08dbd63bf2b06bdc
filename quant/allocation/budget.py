"""A bit budget: its limits, and the widths each layer may take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lrp.engine.layers import Layer
from quant.primitives.bits import LayerBits
from quant.primitives.formats import check_width, label, prices
from quant.primitives.targets import ANY, Pair, Target

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


def from_average(layers: Sequence[Layer], average: float, target: Target = ANY) -> Limits:
    """Return the limits of uniform `average` bits B, not necessarily whole: B sum P, B^2 sum MAC.

    Raises:
        ValueError: fewer or more than the target's widths have.
    """
    if not target.narrowest <= average <= target.widest:
        raise ValueError(f"average bits {average}: use {target.narrowest:g} to {target.widest:g}")
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
        weight, activation: (L, P) widths of each pair; a layer with fewer has its last one more
            than once.
        locks: layers fixed by hand.
        target: what the model is to run on.
        menu: the widths offered to the others, of the target's, by price.
        cheapest: (L, 2) widths of the cheapest pair that each layer would be offered unlocked.
    """

    names: tuple[str, ...]
    parameters: np.ndarray
    macs: np.ndarray
    weight: np.ndarray
    activation: np.ndarray
    locks: Mapping[str, LayerBits]
    target: Target
    menu: tuple[int, ...]
    cheapest: np.ndarray

    @cached_property
    def size(self) -> np.ndarray:
        """Weight bits that each choice takes, (L, P): multiples of a quarter."""
        spent: np.ndarray = self.parameters[:, None] * prices(self.weight)
        return spent

    @cached_property
    def work(self) -> np.ndarray:
        """Bit operations of each choice for one image, (L, P): multiples of a sixteenth."""
        spent: np.ndarray = self.macs[:, None] * prices(self.weight) * prices(self.activation)
        return spent

    @cached_property
    def least(self) -> Limits:
        """The least that can be spent, of both at once."""
        return Limits(float(self.size.min(1).sum()), float(self.work.min(1).sum()))

    def averages(self, limits: Limits) -> tuple[float, float]:
        """Return the uniform widths, whole or not, of that size and of those BitOps."""
        weights, macs = self.parameters.sum(), self.macs.sum()
        return (
            limits.weight_bits / weights if weights else 0.0,
            math.sqrt(limits.bitops / macs) if macs else 0.0,
        )

    def average(self, limits: Limits) -> float:
        """Return the greatest uniform width, whole or not, within the limits and the target's."""
        size, work = self.averages(limits)
        most = self.target.widest
        return min(size or most, work or most, most)

    @property
    def least_average(self) -> float:
        """The least average bits that can be met, rounded up to 0.01."""
        return math.ceil(max(1, *self.averages(self.least)) * 100 - 1e-6) / 100


def offer(
    layers: Sequence[Layer],
    menu: Sequence[int] | None = None,
    locks: Mapping[str, LayerBits | int] | None = None,
    tied: bool = True,
    target: Target = ANY,
) -> Choices:
    """Return the bits that each layer may take.

    Args:
        menu: the widths offered, of the target's; None is all of them.
        locks: bits of layers fixed by hand, in the menu or not: a pair of the target's, or float;
            a number locks weights and activations alike.
        tied: whether weights and activations of a layer take the same width, where the target
            has such pairs. An attention product's second operand counts as weights.
        target: what the model is to run on.

    Raises:
        ValueError: an empty menu, an unknown layer, or widths that the target has not.
    """
    fixed = {name: _both(bits) for name, bits in (locks or {}).items()}
    widths = _menu(target, menu)
    _check(layers, target, fixed)
    offered = [_offered(target.of(layer), target, widths, tied) for layer in layers]
    locked = {name: [(bits.weight, bits.activation)] for name, bits in fixed.items()}
    pairs = [locked.get(la.name, row) for la, row in zip(layers, offered, strict=True)]
    longest = max(map(len, pairs))
    table = np.array([row + row[-1:] * (longest - len(row)) for row in pairs])
    return Choices(
        names=tuple(layer.name for layer in layers),
        parameters=np.array([layer.parameters for layer in layers], dtype=float),
        macs=np.array([layer.macs for layer in layers], dtype=float),
        weight=table[..., 0],
        activation=table[..., 1],
        locks=fixed,
        target=target,
        menu=widths,
        cheapest=np.array([row[0] for row in offered]),
    )


def _menu(target: Target, menu: Sequence[int] | None) -> tuple[int, ...]:
    """Return the target's widths that are wanted, by price."""
    if menu is None:
        return target.widths
    if not menu:
        raise ValueError("the menu of widths is empty: offer at least one")
    for width in menu:
        check_width(width)
        if width not in target.widths:
            raise ValueError(f"{label(width)}: {_has(target, target.widths)}")
    return tuple(width for width in target.widths if width in menu)


def _has(target: Target, widths: Sequence[int]) -> str:
    return f"{target.label} has {', '.join(map(label, widths))} only"


def _offered(every: Sequence[Pair], target: Target, menu: Sequence[int], tied: bool) -> list[Pair]:
    """Return the pairs of a layer whose widths are in the menu; all where the menu has none."""
    inside = [pair for pair in every if set(pair) <= set(menu)] or list(every)
    alike = [pair for pair in inside if pair[0] == pair[1]]
    return alike if tied and target.tieable else inside


def _both(bits: LayerBits | int) -> LayerBits:
    return bits if isinstance(bits, LayerBits) else LayerBits(bits, bits)


def _check(layers: Sequence[Layer], target: Target, locks: Mapping[str, LayerBits]) -> None:
    by_name = {layer.name: layer for layer in layers}
    for name, bits in locks.items():
        if name not in by_name:
            raise ValueError(f"cannot lock {name!r}: this model has no such layer")
        bits.check()
        pairs = target.of(by_name[name])
        if not bits.is_float and (bits.weight, bits.activation) not in pairs:
            weights, inputs = (dict.fromkeys(map(label, side)) for side in zip(*pairs, strict=True))
            raise ValueError(
                f"{name} cannot be {bits.name}: {target.label} has weights of "
                f"{', '.join(weights)} there and inputs of {', '.join(inputs)}"
            )

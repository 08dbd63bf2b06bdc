"""Where calibration holds each width that layers may take, for what a target has."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from quant.calibration.passes import pass_of
from quant.primitives.bits import MENU, LayerBits
from quant.primitives.formats import FLOAT, price
from quant.primitives.targets import Pair, Target


class Sides(NamedTuple):
    """The passes that hold a width on the two sides of a layer; None where it is not used there.

    Attributes:
        weights: of weights, those on inputs that are quantized least; of an attention product's
            second operand.
        inputs: of inputs; of an attention product's first operand.
    """

    weights: int | None
    inputs: int | None


# By width: where it is held for a layer with weights, and for an attention product.
Widths = Mapping[int, tuple[Sides, Sides]]
PLAIN: Widths = {width: (Sides(MENU[-1], width), Sides(width, width)) for width in MENU}


def widths_of(target: Target) -> Widths:
    """Return where the widths are held that a target's layers may take, by price.

    Integers on both sides are those of `PLAIN`, whatever else there is; float is held nowhere.
    """
    if set(target.widths) <= {*MENU, FLOAT}:
        return PLAIN
    return {
        width: (
            Sides(_weights(width, target.pairs), _inputs(width, target.pairs)),
            Sides(_second(width, target.products), _inputs(width, target.products)),
        )
        for width in target.widths
        if width != FLOAT
    }


def passes_with(widths: Widths) -> set[int]:
    """Return the passes that hold these widths, by their numbers."""
    numbers = {number for both in widths.values() for sides in both for number in sides}
    return {number for number in numbers if number is not None}


def _weights(width: int, pairs: Iterable[Pair]) -> int | None:
    """Return the pass of weights at a width, on the dearest inputs that they may meet."""
    inputs = [activation for weight, activation in pairs if weight == width]
    return pass_of(LayerBits(width, max(inputs, key=price))) if inputs else None


def _inputs(width: int, pairs: Iterable[Pair]) -> int | None:
    return width if any(width == activation for _, activation in pairs) else None


def _second(width: int, pairs: Iterable[Pair]) -> int | None:
    return width if any(width == weight for weight, _ in pairs) else None

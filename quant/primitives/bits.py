"""Bits of layers: an allocation is data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lrp.engine.layers import Layer
from quant.primitives.qparams import MAX_BITS, MIN_BITS, check_bits

MENU = tuple(range(MIN_BITS, MAX_BITS + 1))


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer. An attention product's second operand (k or v) takes `weight`."""

    weight: int
    activation: int

    def __str__(self) -> str:
        return f"W{self.weight}A{self.activation}"

    def in_words(self, unit: str = "bits") -> str:
        """Return "4 bits" where both are alike, else "W4A8"."""
        return f"{self.weight} {unit}" if self.weight == self.activation else str(self)

    @classmethod
    def read(cls, text: str) -> "LayerBits":
        """Read a pair such as "W4A8".

        Raises:
            ValueError: it is none, or has bits we have not.
        """
        match = re.fullmatch(r"[Ww](\d+)[Aa](\d+)", text)
        if match is None:
            raise ValueError(f"{text!r} is no width: write weight and activation bits, as W4A8")
        bits = cls(int(match[1]), int(match[2]))
        bits.check()
        return bits

    def check(self) -> None:
        """Check that both are widths we quantize to.

        Raises:
            ValueError: one is not a whole number from 2 to 8.
        """
        check_bits(self.weight)
        check_bits(self.activation)


Allocation = dict[str, LayerBits]


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

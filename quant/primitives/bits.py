"""Bits of layers: an allocation is data."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lrp.engine.layers import Layer
from quant.primitives.formats import (
    DYNAMIC,
    FLOAT,
    HALF,
    INTEGERS,
    check_width,
    is_name,
    label,
    plain,
    read_width,
)

MENU = INTEGERS


@dataclass(frozen=True)
class LayerBits:
    """Widths of one layer (`quant.primitives.formats`): bits, or formats that have a name.

    An attention product's second operand (k or v) takes `weight`.
    """

    weight: int
    activation: int

    def __str__(self) -> str:
        if self.weight == self.activation > HALF:
            return label(self.weight)
        return f"W{label(self.weight)}A{label(self.activation)}"

    def in_words(self, unit: str = "bits") -> str:
        """Return "4 bits" or "MXFP4" where both are alike, else "W4A8"."""
        if self.weight != self.activation:
            return str(self)
        return f"{self.weight} {unit}" if self.weight in MENU else self.name

    @property
    def name(self) -> str:
        """What both sides are called where they are alike, else as `__str__`."""
        return label(self.weight) if self.weight == self.activation else str(self)

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.weight == self.activation == FLOAT

    def plain(self) -> dict[str, int | str]:
        """Return both as files hold them."""
        return {"weight": plain(self.weight), "activation": plain(self.activation)}

    @classmethod
    def read(cls, text: str) -> "LayerBits":
        """Read a pair such as "W4A8", or a format for both, such as "FP8" or "float".

        Raises:
            ValueError: it is none, or has widths we have not.
        """
        if is_name(text) and not text.isdecimal():
            return cls(read_width(text), read_width(text))
        if re.fullmatch(r"[Ww]\w+[Aa]\w+", text) is None:
            raise ValueError(f"{text!r} is no width: write weight and activation bits, as W4A8")
        cuts = [place for place in range(2, len(text)) if text[place] in "Aa"]
        pairs = [(text[1:cut], text[cut + 1 :]) for cut in cuts]
        known = [pair for pair in pairs if all(map(is_name, pair))]
        return cls(*map(read_width, (known or pairs)[0]))

    def check(self) -> None:
        """Check that both are widths we have.

        Raises:
            ValueError: one is not.
        """
        check_width(self.weight)
        check_width(self.activation)


Allocation = dict[str, LayerBits]


def quantized(allocation: Allocation) -> Allocation:
    """Return the layers that are not in float on both sides."""
    return {name: bits for name, bits in allocation.items() if not bits.is_float}


def uniform(
    layers: Sequence[Layer], weight_bits: int, activation_bits: int, ends: int | None = None
) -> Allocation:
    """Give every layer the same bits; an attention product has activations on both sides.

    A range a token is known of linear layers only: attention products and convolutions stay in
    float.

    `ends` are the bits of the first and the last layer, which are often spared.
    """
    whole = LayerBits(FLOAT, FLOAT)
    for bits in (weight_bits, activation_bits, weight_bits if ends is None else ends):
        check_width(bits)
    allocation = {
        layer.name: whole
        if activation_bits == DYNAMIC and layer.kind != "linear"
        else LayerBits(activation_bits if layer.is_product else weight_bits, activation_bits)
        for layer in layers
    }
    if ends is not None:
        allocation |= {layer.name: LayerBits(ends, ends) for layer in (layers[0], layers[-1])}
    return allocation

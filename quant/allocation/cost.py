"""What an allocation costs: bytes of the model and bit operations of one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from lrp.engine.layers import Layer
from quant.primitives.bits import MENU, Allocation, LayerBits
from quant.primitives.formats import BF16, DYNAMIC, FLOAT, FORMATS, FP8, HALF, NVFP4, price

SCALE_BYTES = 4  # a scale is a float32
UNSCALED = (HALF, BF16, FLOAT)
OWN_RANGE = (*MENU, FP8, NVFP4)  # inputs whose range was chosen at calibration, and is stored


@dataclass(frozen=True)
class Cost:
    """Cost of one configuration.

    Attributes:
        size_bytes: the whole model: layers' weights at their bits, everything else (biases,
            LayerNorm, embeddings) as float32. Scales of rows and tables are not counted, as in the
            literature; scales of blocks are part of a format's bits.
        weight_bytes: the layers' weights alone.
        bitops: sum over layers of MACs * weight bits * activation bits, for one image.
        average_bits: weight bits a weight, on average.
        file_bytes: what a file holds: `size_bytes`, and every scale, zero point and table.
    """

    size_bytes: float
    weight_bytes: float
    bitops: float
    average_bits: float
    file_bytes: float = 0.0


@dataclass(frozen=True)
class CostModel:
    """What the costs of a model are counted from.

    Attributes:
        layers: whose weights an allocation gives bits to.
        others: how many parameters no layer's weights account for; they stay in float32.
        rows: of each layer's weight, by name: each has a scale.
    """

    layers: Sequence[Layer]
    others: int
    rows: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, layers: Sequence[Layer]) -> "CostModel":
        """Count the parameters of `model` that are not weights of its `layers`."""
        every = sum(parameter.numel() for parameter in model.parameters())
        named = dict(model.named_parameters(remove_duplicate=False))
        weights = {layer.name: named.get(f"{layer.name}.weight") for layer in layers}
        rows = {name: len(weight) for name, weight in weights.items() if weight is not None}
        return cls(layers, every - sum(layer.parameters for layer in layers), rows)

    def cost(self, allocation: Allocation) -> Cost:
        """Return the cost of `allocation`; layers it does not name stay at 32 bits."""
        whole = LayerBits(FLOAT, FLOAT)
        pairs = [(layer, allocation.get(layer.name, whole)) for layer in self.layers]
        weight_bits = sum(layer.parameters * price(bits.weight) for layer, bits in pairs)
        bitops = sum(
            layer.macs * price(bits.weight) * price(bits.activation) for layer, bits in pairs
        )
        added = sum(self._added(layer, bits) for layer, bits in pairs)
        return self._cost(weight_bits / 8, bitops, weight_bits / self._weights, added)

    def uniform(self, average_bits: float) -> Cost:
        """Return the cost of every layer at `average_bits`, which need not be whole."""
        macs = sum(layer.macs for layer in self.layers)
        nearest = min(MENU, key=lambda width: abs(width - average_bits))
        even = LayerBits(nearest, nearest)
        added = sum(self._added(layer, even) for layer in self.layers)
        weight_bytes, bitops = self._weights * average_bits / 8, macs * average_bits**2
        return self._cost(weight_bytes, bitops, average_bits, added)

    def _added(self, layer: Layer, bits: LayerBits) -> float:
        """Return the bytes of a layer's scales, zero points and tables."""
        inputs = (SCALE_BYTES + 1) * (bits.activation in OWN_RANGE)
        if layer.is_product:
            return inputs + (SCALE_BYTES + 1) * (bits.weight in OWN_RANGE)
        return inputs + scale_bytes(bits.weight, self.rows.get(layer.name, 0))

    @property
    def _weights(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    def _cost(self, weight_bytes: float, bitops: float, average_bits: float, added: float) -> Cost:
        size_bytes = weight_bytes + self.others * FLOAT / 8
        return Cost(size_bytes, weight_bytes, bitops, average_bits, size_bytes + added)


def scale_bytes(width: int, rows: int) -> float:
    """Return the bytes of the scales, zero points and table of a weight of so many rows.

    An integer weight has a scale and a zero point a row, an FP8 one a scale a row, a palette a
    scale a row and one table of float32; NVFP4 one scale besides those of its blocks.
    """
    if width in MENU:
        return rows * (SCALE_BYTES + width / 8)
    if width in UNSCALED or width == DYNAMIC or FORMATS[width].block:
        return SCALE_BYTES * (width == NVFP4)
    return rows * SCALE_BYTES + SCALE_BYTES * 2 ** FORMATS[width].palette * (width != FP8)

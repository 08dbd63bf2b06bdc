"""What an allocation costs: bytes of the model and bit operations of one image."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lrp.engine.layers import Layer
from quant.primitives.bits import Allocation, LayerBits

FLOAT_BITS = 32


@dataclass(frozen=True)
class Cost:
    """Cost of one configuration.

    Attributes:
        size_bytes: the whole model: layers' weights at their bits, everything else (biases,
            LayerNorm, embeddings) as float32. Scales are not counted, as in the literature.
        weight_bytes: the layers' weights alone.
        bitops: sum over layers of MACs * weight bits * activation bits, for one image.
        average_bits: weight bits a weight, on average.
    """

    size_bytes: float
    weight_bytes: float
    bitops: float
    average_bits: float


@dataclass(frozen=True)
class CostModel:
    """What the costs of a model are counted from.

    Attributes:
        layers: whose weights an allocation gives bits to.
        others: how many parameters no layer's weights account for; they stay in float32.
    """

    layers: Sequence[Layer]
    others: int

    @classmethod
    def of(cls, model: nn.Module, layers: Sequence[Layer]) -> "CostModel":
        """Count the parameters of `model` that are not weights of its `layers`."""
        every = sum(parameter.numel() for parameter in model.parameters())
        return cls(layers, every - sum(layer.parameters for layer in layers))

    def cost(self, allocation: Allocation) -> Cost:
        """Return the cost of `allocation`; layers it does not name stay at 32 bits."""
        whole = LayerBits(FLOAT_BITS, FLOAT_BITS)
        pairs = [(layer, allocation.get(layer.name, whole)) for layer in self.layers]
        weight_bits = sum(layer.parameters * bits.weight for layer, bits in pairs)
        bitops = sum(layer.macs * bits.weight * bits.activation for layer, bits in pairs)
        return self._cost(weight_bits / 8, bitops, weight_bits / self._weights)

    def uniform(self, average_bits: float) -> Cost:
        """Return the cost of every layer at `average_bits`, which need not be whole."""
        macs = sum(layer.macs for layer in self.layers)
        return self._cost(self._weights * average_bits / 8, macs * average_bits**2, average_bits)

    @property
    def _weights(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    def _cost(self, weight_bytes: float, bitops: float, average_bits: float) -> Cost:
        size_bytes = weight_bytes + self.others * FLOAT_BITS / 8
        return Cost(size_bytes, weight_bytes, bitops, average_bits)

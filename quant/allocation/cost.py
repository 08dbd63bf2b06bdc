"""What an allocation costs: bytes of the model and bit operations of one image."""

from __future__ import annotations

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


def other_parameters(model: nn.Module, layers: Sequence[Layer]) -> int:
    """Count the parameters that no layer's weights account for."""
    return sum(p.numel() for p in model.parameters()) - sum(la.parameters for la in layers)


def cost(layers: Sequence[Layer], allocation: Allocation, others: int) -> Cost:
    """Cost of `allocation`; layers it does not name stay at 32 bits.

    Args:
        others: parameters kept as float32 (`other_parameters`).
    """
    whole = LayerBits(FLOAT_BITS, FLOAT_BITS)
    pairs = [(layer, allocation.get(layer.name, whole)) for layer in layers]
    weight_bits = sum(layer.parameters * bits.weight for layer, bits in pairs)
    weights = sum(layer.parameters for layer in layers)
    return Cost(
        size_bytes=weight_bits / 8 + others * FLOAT_BITS / 8,
        weight_bytes=weight_bits / 8,
        bitops=sum(layer.macs * bits.weight * bits.activation for layer, bits in pairs),
        average_bits=weight_bits / weights,
    )


def uniform_cost(layers: Sequence[Layer], average_bits: float, others: int) -> Cost:
    """Cost of every layer at `average_bits`, which need not be whole."""
    weights = sum(layer.parameters for layer in layers)
    weight_bytes = weights * average_bits / 8
    return Cost(
        size_bytes=weight_bytes + others * FLOAT_BITS / 8,
        weight_bytes=weight_bytes,
        bitops=sum(layer.macs for layer in layers) * average_bits**2,
        average_bits=average_bits,
    )

"""Quantized layers: what calibration finds for one layer, and how it computes."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from quant.primitives.quantizers import Quantizer
from quant.primitives.transforms import Transform


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight as integers: value = scale * codes.

    Attributes:
        codes: (K, C) int8; the zero point is inside.
        scale: (K,).
        bias: (K,), float, corrected where the preset says so.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor

    @property
    def values(self) -> Tensor:
        """The weight the integers stand for, (K, C)."""
        return self.codes * self.scale[:, None]


@dataclass(frozen=True, eq=False)
class FloatWeight:
    """A weight in a format that is no plain integer.

    Attributes:
        values: (K, C), which the format holds exactly.
        bias: (K,), as of `Rounded`.
    """

    values: Tensor
    bias: Tensor


Weight = Rounded | FloatWeight


@dataclass(frozen=True, eq=False)
class QuantizedLinear:
    """A linear layer on quantized inputs and weights; a convolution on its patches as rows."""

    quantizer: Quantizer
    weight: Weight
    transform: Transform | None = None

    def encode(self, x: Tensor) -> Tensor:
        """Return the input (..., C) as the products see it, transformed and quantized."""
        return self.quantizer(x if self.transform is None else self.transform(x))

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(self.encode(x), self.weight.values, self.weight.bias)


@dataclass(frozen=True, eq=False)
class QuantizedProduct:
    """An attention product, quantized on both sides."""

    first: Quantizer
    second: Quantizer

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        return self.first(first) @ self.second(second)

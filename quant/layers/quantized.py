"""Quantized layers: what calibration finds for one layer, and how it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lrp.engine.interpreter import UnsupportedOperation
from quant.primitives.quantizers import Quantizer
from quant.primitives.transforms import Transform

Pair = int | tuple[int, ...]


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
class QuantizedLinear:
    """A linear layer on quantized inputs and weights; a convolution on its patches as rows."""

    quantizer: Quantizer
    weight: Rounded
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


def patches(
    images: Tensor,
    kernel: Sequence[int],
    stride: Pair = 1,
    padding: str | Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cut images (B, C, H, W) into what a convolution multiplies: (B, L, C kh kw).

    Raises:
        UnsupportedOperation: the convolution is grouped.
    """
    if groups != 1:
        raise UnsupportedOperation(f"a convolution in {groups} groups: only groups=1 is handled")
    if isinstance(padding, str):
        padding = (0, 0) if padding == "valid" else tuple(size // 2 for size in kernel)
    return F.unfold(images, tuple(kernel), dilation, padding, stride).transpose(1, 2)


def convolve(
    layer: Callable[[Tensor], Tensor], images: Tensor, kernel: Sequence[int], *args: Any, **kw: Any
) -> Tensor:
    """Run a convolution as the linear `layer` on its patches; arguments are those of `patches`."""
    output = layer(patches(images, kernel, *args, **kw))  # (B, L, K)
    one = images.new_empty(1, 1, *images.shape[2:])
    shape = F.conv2d(one.to("meta"), one.new_empty(1, 1, *kernel, device="meta"), None, *args, **kw)
    return output.transpose(1, 2).unflatten(2, shape.shape[2:])

"""Watch what each layer of a calibrated model sees in float, to measure its quantizer by.

The float model is the rewritten one (`quant.calibration.survey`), as the passes see it: one
layer's error is not mixed up with that of the layers before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter
from quant.calibration.calibration import Calibration
from quant.calibration.passes import Plan
from quant.calibration.survey import Affine
from quant.layers.quantized import patches

ROWS, PRODUCTS = 2048, 48  # of a layer's input, of an attention product's images or windows


@dataclass(frozen=True, eq=False)
class Seen:
    """A layer as the float model ran it.

    Attributes:
        operands: the input (n, C), a convolution's patches as rows; or both factors of an
            attention product, (S, h, N, d) and so on.
        affine: weight (K, C) and bias (K,); None for an attention product.
    """

    name: str
    operands: tuple[Tensor, ...]
    affine: Affine | None = None


class Watch(Interpreter):
    """Run the rewritten float model and tell `hear` of each of its layers."""

    def __init__(self, model: nn.Module, plan: Plan, hear: Callable[[Seen], None]) -> None:
        super().__init__(model)
        self.plan, self.hear, self.names = plan, hear, set(plan.layers)

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        return super().run(images)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        name = self.layer_name(weight)
        if name in self.names:
            weight, bias = self.plan.weights.get(name, (weight, bias))
            self._tell(name, input.flatten(0, -2), weight, bias)
        return F.linear(input, weight, bias)

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        name = self.layer_name(weight)
        if name in self.names:
            rows = patches(input, weight.shape[2:], *args, **kwargs).flatten(0, 1)
            self._tell(name, rows, weight.flatten(1), bias)
        return F.conv2d(input, weight, bias, *args, **kwargs)

    def _tell(self, name: str, rows: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        chosen = _some(rows, ROWS)
        self.hear(Seen(name, (chosen,), (weight, weight[:, 0] * 0 if bias is None else bias)))

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        name = self.scope.next_product()
        if name in self.names:
            self.hear(Seen(name, (_some(input, PRODUCTS), _some(other, PRODUCTS))))
        return torch.matmul(input, other)


def _some(x: Tensor, count: int) -> Tensor:
    """Draw at most `count` rows, the same ones of equally long operands."""
    if len(x) <= count:
        return x
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:count]
    return x[chosen.to(x.device)]


def look(calibration: Calibration, images: Tensor, name: str) -> Seen:
    """Return what one layer sees of `images` (B, 3, H, W).

    Raises:
        ValueError: the model has no such layer.
    """
    found: list[Seen] = []
    watch = Watch(calibration.model, calibration.plan(), found.append)
    watch.run(images)
    for seen in found:
        if seen.name == name:
            return seen
    raise ValueError(f"no layer {name!r} in this model: choose one of its layers")

"""Run a float model as if its layers computed with integers, without touching it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lrp.engine.interpreter import Interpreter, Linear
from quant.calibration.calibration import Calibration
from quant.layers.runtime import Arithmetic
from quant.primitives.bits import Allocation, quantized


class QuantizedModel(Interpreter):
    """A model with the layers of `allocation` quantized; `run(images)` gives the logits.

    The model is shared and never changed, so several quantized models can run on one float model,
    in one thread each. A calibration pass the allocation needs and no one made yet is made here.

    Attributes:
        arithmetic: how many layers multiply integers, and why others do not.

    Raises:
        ValueError: the allocation names a layer the model has not, or a width we have not.
    """

    def __init__(self, calibration: Calibration, allocation: Allocation) -> None:
        taken = quantized(allocation)
        super().__init__(calibration.turned.model if taken else calibration.model)
        self.layers: Mapping[str, Callable[..., Tensor]] = calibration.running(taken)
        self.float = calibration.untouched(allocation)
        self.stream = calibration.stream(allocation)
        self.arithmetic = Arithmetic.of(self.layers.values())

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        return super().run(images)

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        if name in self.layers:
            return form.by_rows(self.layers[name], input)
        return form.apply(input, *self.float.get(name, (weight, bias)))

    def passed(self, name: str, output: Tensor) -> Tensor:
        return self.stream[name](output) if name in self.stream else output

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        layer = self.layers.get(name)
        return torch.matmul(input, other) if layer is None else layer(input, other)

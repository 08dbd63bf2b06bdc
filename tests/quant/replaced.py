"""The float model with one layer's output replaced, run from the first layer to the last."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lrp.engine.interpreter import Convolution, Interpreter, Linear
from quant.calibration.calibration import Calibration

Change = Callable[..., Tensor]  # from a layer's output and operands to another output


class Replaced(Interpreter):
    """The rewritten float model; `name` gives what `change` makes of its output and operands.

    Attributes:
        outputs, operands: of every layer, a convolution's input as the image it is.
    """

    def __init__(self, calibration: Calibration, name: str = "", change: Change | None = None):
        super().__init__(calibration.turned.model)
        self.weights = calibration.surveyed().weights
        self.name, self.change = name, change
        self.outputs: dict[str, Tensor] = {}
        self.operands: dict[str, tuple[Tensor, ...]] = {}

    def given(self, name: str, output: Tensor, *operands: Tensor) -> Tensor:
        self.operands[name] = operands
        if name == self.name and self.change is not None:
            output = self.change(output, *operands)
        self.outputs[name] = output
        return output

    def weigh(self, name: str, form: Linear, input: Tensor, *affine: Any) -> Tensor:
        output = form.apply(input, *self.weights.get(name, affine))
        return self.given(name, output, input)

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        return self.given(name, torch.matmul(input, other), input, other)


def one_quantized(calibration: Calibration, name: str, side: str, width: int) -> Change:
    """Return what quantizing one operand of a layer at `width` makes of the layer's output.

    Weights are those of the widest pass. An input is quantized in the basis its pass chose and
    brought back; the float weight reads it. What a corrected bias makes up for is not taken off.
    """
    if name in calibration.stored(width).products:
        return _product(calibration, name, side, width)
    return _linear(calibration, name, side, width)


def _product(calibration: Calibration, name: str, side: str, width: int) -> Change:
    first, second = (calibration.stored(width).operand(name, which) for which in (0, 1))

    def change(output: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return a @ second(b) if side == "weight" else first(a) @ b

    return change


def _linear(calibration: Calibration, name: str, side: str, width: int) -> Change:
    layer = calibration.turned.model.get_submodule(name)
    weight, bias = calibration.surveyed().weights.get(name, (layer.weight.flatten(1), layer.bias))
    pass_width = 8 if side == "weight" else width
    solved = calibration.stored(pass_width).solved(name, width)
    turned, rounded = solved.transform, solved.weights[width]

    def change(output: Tensor, x: Tensor) -> Tensor:
        whole = isinstance(layer, nn.Conv2d)  # an image, cut into rows and put together again
        rows = Convolution(layer.kernel_size, layer.stride).rows(x) if whole else x
        moved = rows if turned is None else turned(rows)
        if side == "weight":
            found = moved @ (rounded.codes * rounded.scale[:, None]).T + rounded.bias
        else:
            coded = solved.quantizer(moved)
            back = coded if turned is None else turned.inverse(coded)
            found = back @ weight.T + (0 if bias is None else bias)
        return found.transpose(1, 2).reshape(output.shape) if whole else found

    return change

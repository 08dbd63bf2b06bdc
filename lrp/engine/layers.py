"""List the quantizable layers of a model: the spine every other module is keyed by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrp.engine.interpreter import Convolution, Interpreter, Linear, require_frozen

_BLOCK = re.compile(r"^(?:.*\.)?blocks\w*\.\d+(?=\.|$)")


@dataclass(frozen=True)
class Layer:
    """One matrix product of a model.

    Attributes:
        name: timm's dotted name; attention products are `<attention module>.matmul1` (q k^T)
            and `.matmul2` (attention times v).
        kind: "linear", "conv2d" or "matmul".
        role: the last part of the name, such as "qkv" or "fc1".
        block: dotted name of the transformer block, "" outside any.
        parameters: number of weights (0 for an attention product), without the bias.
        macs: multiply-accumulates for one image.
    """

    name: str
    kind: str
    role: str
    block: str
    parameters: int
    macs: int


def block_of(name: str) -> str:
    """Return the dotted name of the transformer block that `name` lies in, or ""."""
    match = _BLOCK.match(name)
    return match.group(0) if match else ""


def list_layers(model: nn.Module, input_size: tuple[int, int, int]) -> tuple[Layer, ...]:
    """List the layers of `model` in the order they run, for images of `input_size` (3, H, W).

    Only products of something that depends on the image count: a position bias computed from
    constants is not a layer.

    Raises:
        ValueError: a parameter requires a gradient.
    """
    require_frozen(model)
    parameter = next(model.parameters())
    interpreter = _Lister(model)
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype)
        interpreter.run(image.requires_grad_())
    return tuple(interpreter.layers.values())


class _Lister(Interpreter):
    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.layers: dict[str, Layer] = {}

    def _record(self, name: str, kind: str, parameters: int, macs: int) -> None:
        role = name.rpartition(".")[2]
        if name in self.layers:  # a layer run twice on one image: its work adds up
            macs += self.layers[name].macs
        self.layers[name] = Layer(name, kind, role, block_of(name), parameters, macs)

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        output = form.apply(input, weight, bias)
        if input.requires_grad:
            kind = "conv2d" if isinstance(form, Convolution) else "linear"
            macs = output.numel() * math.prod(weight.shape[1:])
            self._record(name, kind, weight.numel(), macs)
        return output

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        output = torch.matmul(input, other)
        if input.requires_grad and other.requires_grad:
            self._record(name, "matmul", 0, output.numel() * input.shape[-1])
        return output

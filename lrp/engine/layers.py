"""List the quantizable layers of a model: the spine every other module is keyed by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.engine.interpreter import Interpreter, require_frozen

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

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        output = F.linear(input, weight, bias)
        if input.requires_grad:
            macs = output.numel() * weight.shape[1]
            self._record(self.layer_name(weight), "linear", weight.numel(), macs)
        return output

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        output = F.conv2d(input, weight, bias, *args, **kwargs)
        if input.requires_grad:
            macs = output.numel() * math.prod(weight.shape[1:])
            self._record(self.layer_name(weight), "conv2d", weight.numel(), macs)
        return output

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        name = self.scope.next_product()
        output = torch.matmul(input, other)
        if input.requires_grad and other.requires_grad:
            self._record(name, "matmul", 0, output.numel() * input.shape[-1])
        return output

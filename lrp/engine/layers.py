"""List the quantizable layers of a model: the spine every other module is keyed by."""

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor, nn

from lrp.engine.interpreter import Convolution, Interpreter, Linear, require_frozen
from lrp.engine.names import block_of, is_within, owner_of, role_of


class Stage(Enum):
    """What a layer does in its block, or in the model."""

    INPUTS = "makes queries, keys or values"
    SCORES = "multiplies queries and keys"
    MIX = "multiplies attention and values"
    INNER = "is the first layer of an MLP"
    OUTER = "is the last layer of an MLP"
    HEAD = "gives logits"


_STAGES = {
    **dict.fromkeys(("qkv", "q", "k", "v", "kv", "q_proj", "k_proj", "v_proj"), Stage.INPUTS),
    **dict.fromkeys(("fc1", "fc1_g", "fc1_x"), Stage.INNER),
    **{"fc2": Stage.OUTER, "matmul1": Stage.SCORES, "matmul2": Stage.MIX},
}


@dataclass(frozen=True)
class Layer:
    """One matrix product of a model.

    Attributes:
        name: the key of everything that is known of the layer (`lrp.engine.names`).
        kind: "linear", "conv2d" or "matmul".
        role: the last part of the name, such as "qkv" or "fc1".
        block: dotted name of the transformer block, "" outside any.
        parameters: number of weights (0 for an attention product), without the bias.
        macs: multiply-accumulates for one image.
        attention: dotted name of the attention it is in, "" outside any. An attention is the
            innermost module around a product that has layers with weights as well, whatever it
            is called; no block as a whole is one.
    """

    name: str
    kind: str
    role: str
    block: str
    parameters: int
    macs: int
    attention: str = ""

    @property
    def is_product(self) -> bool:
        """Whether it multiplies two activations, and has no weights."""
        return self.kind == "matmul"

    @property
    def stage(self) -> Stage | None:
        """What it does, where that is one of `Stage`."""
        return Stage.HEAD if self.name.startswith("head") else _STAGES.get(self.role)


_known: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, ...], tuple[Layer, ...]]]
_known = weakref.WeakKeyDictionary()


def list_layers(model: nn.Module, input_size: tuple[int, int, int]) -> tuple[Layer, ...]:
    """List the layers of `model` in the order they run, for images of `input_size` (3, H, W).

    Only products of something that depends on the image count: a position bias computed from
    constants is not a layer. A model runs for this once, and its layers are remembered.

    Raises:
        ValueError: a parameter requires a gradient.
    """
    require_frozen(model)
    known = _known.setdefault(model, {})
    if input_size not in known:
        known[input_size] = _list_layers(model, input_size)
    return known[input_size]


def _list_layers(model: nn.Module, input_size: tuple[int, ...]) -> tuple[Layer, ...]:
    parameter = next(model.parameters())
    interpreter = _Lister(model)
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype)
        interpreter.run(image.requires_grad_())
    layers = interpreter.layers.values()
    return tuple(replace(la, attention=_attention(la, layers)) for la in layers)


def _attention(layer: Layer, layers: Iterable[Layer]) -> str:
    around = {_around(other, layers) for other in layers if other.is_product}
    inside = [module for module in around if module and is_within(layer.name, module)]
    return max(inside, key=len, default="")


def _around(product: Layer, layers: Iterable[Layer]) -> str:
    """Return the attention that a product is of; "" where it is of a block or of the model."""
    weights = [layer.name for layer in layers if not layer.is_product]
    module = owner_of(product.name)
    while module not in ("", product.block):
        if any(is_within(name, module) for name in weights):
            return module
        module = owner_of(module)
    return ""


class _Lister(Interpreter):
    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.layers: dict[str, Layer] = {}

    def _record(self, name: str, kind: str, parameters: int, macs: int) -> None:
        if name in self.layers:  # a layer run twice on one image: its work adds up
            macs += self.layers[name].macs
        self.layers[name] = Layer(name, kind, role_of(name), block_of(name), parameters, macs)

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

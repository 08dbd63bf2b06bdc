"""Find the residual stream of a model, and fit its quantizers: what integer chips quantize too.

Beside the inputs of matrix products, such chips keep as integers what a block adds to its input,
x + f(x), and what a LayerNorm or RMSNorm gives. Here each is one tensor with one range. A norm's
output is quantized as the model computes it; whatever a layer that reads it does to its input (turn
it, rescale it, quantize it) comes after.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lrp.engine.interpreter import Interpreter, Linear
from lrp.engine.names import is_sum
from quant.calibration.origins import COPIES, MOVES, tensors
from quant.primitives.qparams import choose_qparams
from quant.primitives.quantizers import Uniform

_FOLLOWED = MOVES | COPIES | {"mean"}  # the mean: tokens are pooled


def stream_of(model: nn.Module, image: Tensor) -> tuple[str, ...]:
    """Name the residual sums and the normalisations of a model's stream, in the order they run.

    A sum of two tensors of as many dimensions, over the images of a batch, is of the stream where a
    normalisation, a layer with weights or another such sum reads it: straight, or through what only
    moves or pools its values. (Scores plus a bias go into a softmax, turned queries into a
    product.) A normalisation is of the stream where it reads the stream or what such a sum reads,
    or where such a sum reads it.

    Args:
        image: (1, 3, H, W).
    """
    survey = _Survey(model)
    survey.run(torch.cat([image, image]))  # two, to tell a batch from what is one for all
    return survey.stream()


def fit_stream(x: Tensor, bits: int) -> Uniform:
    """Fit a tensor's quantizer: one range, of all that calibration saw.

    Raises:
        ValueError: a value is not finite.
    """
    return Uniform(choose_qparams(x.min(), x.max(), bits))


class _Survey(Interpreter):
    """Note which sums and normalisations read which others."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._sources = WeakTensorKeyDictionary()  # of a tensor: names whose values it holds
        self._reads: dict[str, frozenset[str]] = {}  # by name, in the order they run
        self._weighed: set[str] = set()  # what layers with weights read
        self._operands: tuple[Any, ...] = ()  # of the sum or normalisation that runs

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        return super().run(images)

    def _held(self, *values: Any) -> frozenset[str]:
        found = (self._sources.get(value) for value in tensors(values))
        return frozenset().union(*(names for names in found if names))

    def add(self, input: Any, other: Any, **kwargs: Any) -> Tensor:
        self._operands = input, other
        return super().add(input, other, **kwargs)

    def layer_norm(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._operands = (input,)
        return super().layer_norm(input, *args, **kwargs)

    def rms_norm(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._operands = (input,)
        return super().rms_norm(input, *args, **kwargs)

    def passed(self, name: str, output: Tensor) -> Tensor:
        operands, self._operands = list(tensors(self._operands)), ()
        alike = {x.dim() for x in operands} == {output.dim()} and len(output) == 2
        if not is_sum(name) or (len(operands) == 2 and alike):
            self._reads[name] = self._held(*operands)
            self._sources[output] = frozenset({name})
        return output

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        self._weighed |= self._held(input)
        output = super().weigh(name, form, input, weight, bias)
        self._sources[output] = frozenset({name})
        return output

    def other(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        if args and getattr(func, "__name__", "") in _FOLLOWED:
            held = self._held(*tensors(args[0]))
            for tensor in tensors(output) if held else ():
                self._sources[tensor] = held
        return output

    def stream(self) -> tuple[str, ...]:
        read, sums = set(self._weighed), set[str]()
        for name in reversed(self._reads):  # what reads runs after what it reads
            if not is_sum(name) or name in read:
                read |= self._reads[name]
            if is_sum(name) and name in read:
                sums.add(name)
        added = frozenset().union(*(self._reads[name] for name in sums))
        found: dict[str, None] = {}
        for name, reads in self._reads.items():
            near = name in added or reads & (added | found.keys())
            if name in sums or (near and not is_sum(name)):
                found[name] = None
        return tuple(found)

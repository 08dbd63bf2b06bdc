"""Quantized layers made ready to run: as integers where the machine has them, else simulated."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from quant.layers.integer import Encoder, IntegerLinear, reason
from quant.layers.quantized import (
    FloatWeight,
    QuantizedLinear,
    QuantizedProduct,
    Rounded,
    Weight,
)
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Codebook, Quantizer, Scaled, Uniform, by_size

Multiply = Callable[[Tensor], Tensor]
KEPT_BYTES = 1 << 29


class RunningLinear:
    """A linear layer ready to run on (..., C).

    Args:
        integers: multiply integers where the input's levels are integers (`quant.layers.integer`).
    """

    def __init__(self, layer: QuantizedLinear, integers: bool) -> None:
        encoder, weight = encoder_of(layer.quantizer), layer.weight
        self._transform = layer.transform
        self.reason = _why_not(encoder, weight) if integers else "simulation was asked for"
        if encoder is None or isinstance(weight, FloatWeight):
            self._multiply = _in_floats(layer.quantizer, weight)
        else:
            scaled = isinstance(layer.quantizer, Scaled)
            self._multiply = _in_codes(encoder, weight, self.reason is None, scaled)
        self.nbytes = weight.values.numel() * (1 if self.reason is None else 4)

    def __call__(self, x: Tensor) -> Tensor:
        return self._multiply(x if self._transform is None else self._transform(x))


class RunningProduct:
    """An attention product ready to run; its integers are held as floats, which is exact."""

    nbytes = 0

    def __init__(self, layer: QuantizedProduct) -> None:
        self._first, self._second = (_operand(q) for q in (layer.first, layer.second))

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        return self._first(first) @ self._second(second)


RunningLayer = RunningLinear | RunningProduct


def running(layer: QuantizedLinear | QuantizedProduct, integers: bool) -> RunningLayer:
    """Return a layer ready to run; `integers` as of `RunningLinear`."""
    if isinstance(layer, QuantizedProduct):
        return RunningProduct(layer)
    return RunningLinear(layer, integers)


class Cache:
    """Layers by key, made once for all threads, the longest unused dropped beyond `limit` bytes."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._layers: OrderedDict[Hashable, RunningLayer] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        with self._lock:
            return sum(layer.nbytes for layer in self._layers.values())

    def get(self, key: Hashable, make: Callable[[], RunningLayer]) -> RunningLayer:
        """Return the layer of `key`, made by `make` if it is not kept."""
        with self._lock:
            if key not in self._layers:
                self._layers[key] = make()
            self._layers.move_to_end(key)
            while len(self._layers) > 1 and self.nbytes > self._limit:
                self._layers.popitem(last=False)
            return self._layers[key]


def _why_not(encoder: Encoder | None, weight: Weight) -> str | None:
    """Return why a layer cannot multiply integers; None where it can."""
    if encoder is None:
        return "the input's levels are no integers"
    if isinstance(weight, FloatWeight):
        return "the weights are no integers"
    code, largest = 2**encoder.bits - 1, int(weight.codes.int().abs().max())
    return reason(weight.codes.device, code, largest)


def _in_floats(quantizer: Quantizer, weight: Weight) -> Multiply:
    values = weight.values
    return lambda x: F.linear(quantizer(x), values, weight.bias)


def _in_codes(encoder: Encoder, weight: Rounded, integers: bool, scaled: bool) -> Multiply:
    """Multiply codes; rows that are `scaled` are encoded by their size, and so are their sums."""
    if scaled:
        plain = replace(weight, bias=torch.zeros_like(weight.bias))
        by_codes = _in_codes(encoder, plain, integers, False)
        return lambda x: _scaled(by_codes, weight.bias, x)
    if integers:
        return IntegerLinear(weight.codes, weight.scale, weight.bias, encoder)
    return _simulated(encoder, weight)


def _scaled(multiply: Multiply, bias: Tensor, x: Tensor) -> Tensor:
    rows, sizes = by_size(x)
    return multiply(rows).mul_(sizes).add_(bias)


def _simulated(encoder: Encoder, weight: Rounded) -> Multiply:
    """Multiply integers held as floats: the sums of `IntegerLinear`, below 2^24 to the last bit."""
    codes, scale = weight.codes.float(), weight.scale * encoder.scale
    return lambda x: F.linear(encoder.centred(x), codes).mul_(scale).add_(weight.bias)


@dataclass(frozen=True)
class Arithmetic:
    """How a quantized model's layers with weights are multiplied.

    Attributes:
        integers: how many multiply integers.
        simulated: how many compute in floating point, by the reason.
    """

    integers: int
    simulated: dict[str, int]

    @classmethod
    def of(cls, layers: Iterable[object]) -> "Arithmetic":
        """Count over layers that are ready to run; attention products are always in floats."""
        reasons = Counter(layer.reason for layer in layers if isinstance(layer, RunningLinear))
        integers = reasons.pop(None, 0)
        return cls(integers, {str(reason): count for reason, count in reasons.items()})

    def __str__(self) -> str:
        simulated = sum(self.simulated.values())
        if not (self.integers and simulated):
            return "integers" if self.integers else "simulated"
        return f"integers in {self.integers} of {self.integers + simulated}"


def encoder_of(quantizer: Quantizer) -> Encoder | None:
    """Return what gives a quantizer's integer codes; None for one whose levels are no integers.

    Of scaled rows, they are the codes of rows of size 1.
    """
    if isinstance(quantizer, Scaled):
        return encoder_of(quantizer.levels)
    if isinstance(quantizer, Codebook):
        table = quantizer.table.to(torch.uint8)
        return Encoder(quantizer.step, quantizer.zero_point, 8, table)
    if isinstance(quantizer, Uniform) and quantizer.qparams.scale.dim() == 0:
        q = quantizer.qparams
        return Encoder(float(q.scale), int(q.zero_point), q.bits)
    return None


def _operand(quantizer: Quantizer) -> Quantizer | Callable[[Tensor], Tensor]:
    if isinstance(quantizer, Uniform) and quantizer.qparams.scale.dim() == 3:
        return _PerHead(quantizer.qparams)
    return quantizer


class _PerHead:
    """Fake-quantize (B, h, N, d) head by head: plain numbers are quicker than tensors of them."""

    def __init__(self, q: QParams) -> None:
        scales, zeros = q.scale.flatten().tolist(), q.zero_point.flatten().tolist()
        self._heads = [(s, -z, q.levels - z) for s, z in zip(scales, zeros, strict=True)]

    def __call__(self, x: Tensor) -> Tensor:
        encoded = _heads_apart(x)
        for head, (scale, low, high) in enumerate(self._heads):
            part = torch.mul(x[:, head], 1 / scale, out=encoded[:, head])
            part.round_().clamp_(low, high).mul_(scale)
        return encoded


def _heads_apart(x: Tensor) -> Tensor:
    """Return room for (B, h, N, d), or its transpose, where each head lies in one piece."""
    if x.stride(-1) <= x.stride(-2):
        return x.new_empty(x.shape)
    return x.new_empty(*x.shape[:-2], x.shape[-1], x.shape[-2]).transpose(-2, -1)

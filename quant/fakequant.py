"""Run a float model as if its layers computed with integers, without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp.interpreter import Interpreter
from quant.allocation import Allocation, LayerBits
from quant.calibration import Calibration
from quant.qparams import check_bits, quantize_weight
from quant.quantizers import Quantizer, fit_per_channel
from quant.reparameterise import reparameterise


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """One layer, ready to run: its operands' quantizers and, where it has them, its weights."""

    operands: tuple[Quantizer, ...]
    weight: Tensor | None = None
    bias: Tensor | None = None


class QuantizedModel(Interpreter):
    """`model` with every layer of `allocation` fake-quantized; `run(images)` gives the logits.

    Weights are quantized here, once. The model is shared and never changed, so several quantized
    models can run on one float model, in one thread each.

    Args:
        clip: standard deviations that post-LayerNorm scales are clipped to, in the layers where
            that lowers the output error; None never clips (RepQ-ViT's form).

    Raises:
        ValueError: the allocation names a layer that was not calibrated, or a width we have not.
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: Calibration,
        allocation: Allocation,
        clip: float | None = 2.0,
    ) -> None:
        super().__init__(model)
        missing = [name for name in allocation if name not in calibration.samples]
        if missing:
            raise ValueError(f"no layer {missing[0]!r} in this model: check the allocation")
        self.layers = {
            name: prepare(model, calibration, name, bits, clip) for name, bits in allocation.items()
        }

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        return super().run(images)

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        layer = self.layers.get(self.layer_name(weight))
        if layer is None:
            return F.linear(input, weight, bias)
        assert layer.weight is not None
        return F.linear(layer.operands[0](input), layer.weight, layer.bias)

    def conv2d(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        layer = self.layers.get(self.layer_name(weight))
        if layer is None:
            return F.conv2d(input, weight, bias, *args, **kwargs)
        assert layer.weight is not None
        return F.conv2d(layer.operands[0](input), layer.weight, layer.bias, *args, **kwargs)

    def matmul(self, input: Tensor, other: Tensor) -> Tensor:
        layer = self.layers.get(self.scope.next_product())
        if layer is None:
            return torch.matmul(input, other)
        first, second = layer.operands
        return torch.matmul(first(input), second(other))


@torch.no_grad()
def prepare(
    model: nn.Module,
    calibration: Calibration,
    name: str,
    bits: LayerBits,
    clip: float | None = 2.0,
) -> QuantizedLayer:
    """Fit the quantizers of the layer called `name` and quantize its weights.

    Raises:
        ValueError: a width is not 2 to 8.
    """
    check_bits(bits.weight)
    check_bits(bits.activation)
    samples = calibration.samples[name]
    if len(samples) == 2:  # an attention product: its second operand stands where weights do
        first, second = samples
        return QuantizedLayer((first.fit(bits.activation), second.fit(bits.weight)))
    module = cast(Any, model.get_submodule(name))
    weight, bias = module.weight.detach(), module.bias
    if samples[0].kind == "channels":
        return _prepare_post_norm(samples[0].values, weight, bias, bits, clip)
    quantizer = samples[0].fit(bits.activation)
    return QuantizedLayer((quantizer,), quantize_weight(weight, bits.weight), bias)


def _prepare_post_norm(
    rows: Tensor, weight: Tensor, bias: Tensor | None, bits: LayerBits, clip: float | None
) -> QuantizedLayer:
    """Reparameterise; keep the clipping only where it lowers the layer's output error.

    At few bits clipping spares the weight columns more than its saturation costs; at many bits
    it is the other way round. `rows` (n, C) of the layer's input decide.
    """
    channels = fit_per_channel(rows, bits.activation)
    expected = F.linear(rows, weight, bias)
    candidates = []
    for limit in dict.fromkeys((None, clip)):
        quantizer = reparameterise(channels, limit)
        quantized = quantize_weight(quantizer.weight(weight), bits.weight)
        layer = QuantizedLayer((quantizer,), quantized, quantizer.bias(weight, bias))
        error = F.linear(quantizer(rows), quantized, layer.bias) - expected
        candidates.append((float(error.square().mean()), layer))
    return min(candidates, key=lambda pair: pair[0])[1]

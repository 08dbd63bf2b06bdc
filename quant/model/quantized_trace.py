"""Trace a quantized model, so that its heatmap can be laid beside the float model's."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from lrp.engine.interpreter import Convolution, Linear, UnsupportedOperation
from lrp.propagation.rules import ATTN_LRP, Rules
from lrp.propagation.trace import Trace
from quant.calibration.calibration import Calibration
from quant.calibration.origins import Affine
from quant.calibration.turning import unturned
from quant.layers.quantized import QuantizedLinear, QuantizedProduct
from quant.layers.runtime import RunningLinear, RunningProduct
from quant.primitives.bits import Allocation, quantized
from quant.primitives.transforms import restored, transformed


class QuantizedTrace(Trace):
    """One forward pass of `QuantizedModel` with the tape of `Trace`.

    Values are those of the quantized model's own layers, to the last bit: a difference of 1e-7 is
    enough to round elsewhere, and moves the logits as far as the quantization itself does.

    Rules such as z-plus see the signs of inputs and weights, so on the tape both are in the basis
    the float model has them in: with T a layer's transform, its input is x^ = T^-1(Q(T(x))) and
    its weight the integer weight taken back through T; where residual streams are turned
    (`quant.calibration.turning`), what layers read and write is turned back too. Relevance passes
    rounding straight through: of R_x^ = x^ G the input takes R_x = x G, and what rounding adds,
    (x^ - x) G, ends there, as it comes from nowhere in the image (our reading).

    Attention stays as `quant.calibration.survey` rewrites it: q and k, and v and what reads it, are
    turned per head, and keys and values lose their mean. Products of the turned are those of the
    plain and softmax does not see a shift of the keys, so under ATTN_LRP blocks and pixels of the
    rewritten model have the float model's relevance. `operands` of attention products are the
    turned ones. LRP_QVIT and CHEFER divide by attention scores, so what rounding adds to one near
    zero outweighs everything: their maps do not survive 6 bits, and say nothing here.

    Args:
        calibration: on the device of `images`.
        allocation: what it leaves out stays in float.

    Raises:
        ValueError: as `QuantizedModel` and `Trace` do.
        UnsupportedOperation: the patches of a quantized convolution overlap.
    """

    def __init__(
        self,
        images: Tensor,
        calibration: Calibration,
        allocation: Allocation,
        rules: Rules = ATTN_LRP,
    ) -> None:
        allocation = quantized(allocation)
        self._ready = calibration.running(allocation)
        self._quantized = calibration.layers(allocation)
        self._affine = calibration.untouched(allocation) | {
            name: restored(layer.transform, (layer.weight.values, layer.weight.bias))
            for name, layer in self._quantized.items()
            if isinstance(layer, QuantizedLinear)
        }
        self._stream = calibration.stream(allocation)
        turned = calibration.turned if allocation else unturned(calibration.model)
        self._reads, self._writes = turned.reads, turned.writes
        super().__init__(turned.model, images, rules)

    def weigh(
        self, name: str, form: Linear, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        known = weight.flatten(1), weight.new_zeros(len(weight)) if bias is None else bias
        affine = self._affine.get(name, known)
        x = self._reads[name](input) if name in self._reads else input
        if name in self._quantized:
            rounded, value = self._computed(name, form, input)
            x = _through(x, rounded)
        else:
            value = form.apply(input.detach(), *affine)
        rows, shift = self._plain(name, affine)
        output = super().weigh(name, form, x, rows.view(weight.shape), shift)
        return _through(self._written(name, form, output), value)

    def _plain(self, name: str, affine: Affine) -> Affine:
        """Return a layer's weight and bias as they are with no stream turned."""
        if name in self._reads:
            affine = transformed(self._reads[name], affine)
        if name in self._writes:
            turn = self._writes[name]
            affine = turn @ affine[0], turn @ affine[1]
        return affine

    def _written(self, name: str, form: Linear, output: Tensor) -> Tensor:
        """Return an output turned as the stream that it goes to."""
        if name not in self._writes:
            return output
        turned = form.as_rows(output) @ self._writes[name]
        return form.laid(turned, output.shape[2:])

    def passed(self, name: str, output: Tensor) -> Tensor:
        if name not in self._stream:
            return output
        return _through(output, self._stream[name](output.detach()))

    @torch.no_grad()
    def _computed(self, name: str, form: Linear, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x^ and the output of a layer with weights."""
        if isinstance(form, Convolution) and not _tiles(form):
            raise UnsupportedOperation(f"patches of {name!r} overlap: only such as tile are traced")
        layer, ready = self._quantized[name], cast(RunningLinear, self._ready[name])
        assert isinstance(layer, QuantizedLinear)
        rounded = layer.encode(form.rows(x))
        if layer.transform is not None:
            rounded = layer.transform.inverse(rounded)
        if name in self._reads:
            rounded = self._reads[name](rounded)
        if isinstance(form, Convolution):
            rounded = F.fold(rounded.transpose(1, 2), x.shape[2:], form.kernel, stride=form.kernel)
        return rounded, form.by_rows(ready, x)

    def multiply(self, name: str, input: Tensor, other: Tensor) -> Tensor:
        layer = self._quantized.get(name)
        if not isinstance(layer, QuantizedProduct):
            return super().multiply(name, input, other)
        with torch.no_grad():
            first, second = layer.first(input), layer.second(other)
            value = cast(RunningProduct, self._ready[name])(input, other)
        output = super().multiply(name, _through(input, first), _through(other, second))
        return _through(output, value)


def _tiles(form: Convolution) -> bool:
    """Return whether a convolution reads each pixel at most once."""
    stride = (form.stride, form.stride) if isinstance(form.stride, int) else form.stride
    return tuple(stride) == form.kernel and form.padding in (0, (0, 0), "valid")


class _Through(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _through(x: Tensor, value: Tensor) -> Tensor:
    """Return `value`, and let gradients pass to x as if it were that."""
    return _Through.apply(x, value)

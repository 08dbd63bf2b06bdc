"""Quantized layers as parameters to learn: codes, scales, biases and the ranges of inputs.

Rounding passes gradients on as if it were not there (straight-through, arXiv:1308.3432); what lies
beyond the ends of a range passes none on.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quant.layers.quantized import QuantizedLinear, QuantizedProduct, Rounded
from quant.primitives.qparams import QParams
from quant.primitives.quantizers import Codebook, Quantizer, Scaled, Uniform, by_size

RATES = {"codes": 1e-2, "stretch": 2e-3, "scale": 2e-3, "bias": 1e-3}  # of Adam, at the start


class LearnedQuantizer(nn.Module):
    """f Q(x / f) for a quantizer Q: the range is stretched by f, which is learned (LSQ).

    Only `Uniform` and `Codebook` are stretched, and the levels of `Scaled` if they are such; others
    stay as they are.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self._scaled = isinstance(quantizer, Scaled)
        self._quantizer = quantizer.levels if isinstance(quantizer, Scaled) else quantizer
        self._ends = _ends(self._quantizer)
        like = torch.zeros(()) if self._ends is None else torch.zeros_like(self._ends[0])
        self.stretch = nn.Parameter(like)  # the logarithm of f

    def forward(self, x: Tensor) -> Tensor:
        if not self._scaled:
            return self._rounded(x)
        rows, sizes = by_size(x)
        return self._rounded(rows) * sizes

    def _rounded(self, x: Tensor) -> Tensor:
        if self._ends is None:
            return x + (self._quantizer(x) - x).detach()
        factor = self.stretch.exp()
        scaled = x / factor
        inside = scaled.clamp(*self._ends)
        return factor * (inside + (self._quantizer(scaled.detach()) - inside).detach())

    def made(self) -> Quantizer:
        """Return the quantizer as it is by now."""
        made = _stretched(self._quantizer, self.stretch.detach().exp())
        return Scaled(made) if self._scaled else made


def _stretched(quantizer: Quantizer, factor: Tensor) -> Quantizer:
    if isinstance(quantizer, Uniform):
        q = quantizer.qparams
        return Uniform(QParams(q.scale * factor, q.zero_point, q.bits))
    if isinstance(quantizer, Codebook):
        return replace(quantizer, step=quantizer.step * float(factor))
    return quantizer


def _ends(quantizer: Quantizer) -> tuple[Tensor, Tensor] | None:
    """Return the least and the greatest level, which broadcast to an input."""
    if isinstance(quantizer, Uniform):
        q = quantizer.qparams
        return -q.zero_point * q.scale, (q.levels - q.zero_point) * q.scale
    if isinstance(quantizer, Codebook):
        levels = (quantizer.table - quantizer.zero_point) * quantizer.step
        return levels[0], levels[-1]
    return None


class LearnedLinear(nn.Module):
    """A linear layer whose codes are learned as real numbers, and rounded as it runs.

    Codes stay within those that their row has; a weight that is no integers keeps its values.
    """

    def __init__(self, layer: QuantizedLinear) -> None:
        super().__init__()
        self._layer, self.input = layer, LearnedQuantizer(layer.quantizer)
        self.bias = nn.Parameter(layer.weight.bias.clone())
        if isinstance(layer.weight, Rounded):
            codes = layer.weight.codes.to(layer.weight.scale.dtype)
            self._low, self._high = codes.aminmax(dim=1, keepdim=True)
            self.codes = nn.Parameter(codes)
            self.scale = nn.Parameter(torch.zeros_like(layer.weight.scale))  # a logarithm, too

    def _weight(self) -> Tensor:
        weight = self._layer.weight
        if not isinstance(weight, Rounded):
            return weight.values
        rounded = self.codes.clamp(self._low, self._high).round()
        rounded = self.codes + (rounded - self.codes).detach()  # straight through ends as well
        return rounded * (weight.scale * self.scale.exp())[:, None]

    def forward(self, x: Tensor) -> Tensor:
        transform = self._layer.transform
        x = self.input(x if transform is None else transform(x))
        return F.linear(x, self._weight(), self.bias)

    @torch.no_grad()
    def made(self) -> QuantizedLinear:
        """Return the layer as it is by now."""
        weight, bias = self._layer.weight, self.bias.detach().clone()
        if isinstance(weight, Rounded):
            codes = self.codes.clamp(self._low, self._high).round()
            scale = weight.scale * self.scale.exp()
            weight = Rounded(codes.to(weight.codes.dtype), scale, bias)
        else:
            weight = replace(weight, bias=bias)
        return QuantizedLinear(self.input.made(), weight, self._layer.transform)


class LearnedProduct(nn.Module):
    """An attention product whose operands' ranges are learned."""

    def __init__(self, layer: QuantizedProduct) -> None:
        super().__init__()
        self.first, self.second = LearnedQuantizer(layer.first), LearnedQuantizer(layer.second)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.first(first) @ self.second(second)

    def made(self) -> QuantizedProduct:
        """Return the product as it is by now."""
        return QuantizedProduct(self.first.made(), self.second.made())


Learned = LearnedLinear | LearnedProduct


def learned(layer: QuantizedLinear | QuantizedProduct) -> Learned:
    """Return a layer as parameters, which give what it gives until they are changed."""
    return LearnedLinear(layer) if isinstance(layer, QuantizedLinear) else LearnedProduct(layer)


def parameters(layers: Mapping[str, Learned]) -> list[dict[str, object]]:
    """Return the parameters of layers in groups for an optimizer, with their rates."""
    named = [pair for layer in layers.values() for pair in layer.named_parameters()]
    return [
        {"params": [p for name, p in named if name.rpartition(".")[2] == kind], "lr": rate}
        for kind, rate in RATES.items()
    ]
